"""The linear baseline learns words and parts of words, and keeps the order of the rows."""

import numpy as np
from sklearn.metrics import roc_auc_score

from pipeline.models.baseline import baseline_scorer, out_of_fold_scores
from tests.harness.labelled_messages import SPAM, TABLE

TRAIN = np.arange(90) % 3 > 0


def test_baseline_learns_parts_of_words():
    texts = [f"{word} {i} of many" for i in range(20) for word in ("lunchtime", "prizewinner")]
    ham, spam = baseline_scorer(texts, np.array([False, True] * 20))(["lunches", "prizes"])
    assert ham < spam


def test_baseline_scores_unseen_messages_in_their_order():
    score = baseline_scorer(TABLE["text"][TRAIN].tolist(), SPAM[TRAIN])
    unseen = TABLE["text"][~TRAIN].tolist()
    scores = score(unseen)
    assert scores.shape == (30,)
    assert ((scores > 0) & (scores < 1)).all()
    assert roc_auc_score(SPAM[~TRAIN], scores) > 0.8
    assert score(unseen[::-1]).tolist() == scores[::-1].tolist()
    assert score([]).shape == (0,)


def test_out_of_fold_models_never_see_the_group_of_a_text():
    random = np.random.default_rng(1)  # pairs of equal random words: only the other half tells
    words = ["".join(random.choice(list("abcdefghijklmnopqrstuvwxyz"), 9)) for _ in range(60)]
    texts = np.repeat(words, 2).tolist()
    labels = np.repeat(random.random(60) < 0.5, 2)
    grouped = out_of_fold_scores(texts, labels, np.arange(120) // 2)
    ungrouped = out_of_fold_scores(texts, labels, np.arange(120))
    assert np.mean((grouped > 0.5) == labels) < 0.7 < np.mean((ungrouped > 0.5) == labels)
