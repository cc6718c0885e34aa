"""The linear baseline learns words and fragments, the same each time, and keeps the order of the rows."""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from pipeline.models.baseline import baseline_scorer
from pipeline.models.baseline import out_of_fold_scores
from tests.harness.small_project import MESSAGES

ROWS = pd.read_csv(MESSAGES)
TEXTS, SPAM = ROWS["body"].tolist(), (ROWS["kind"] == 1).to_numpy()
TRAIN, TEST = np.arange(90) % 3 > 0, np.arange(90) % 3 == 0


def chosen(rows):
    return [text for text, row in zip(TEXTS, rows, strict=True) if row]


def test_it_separates_messages_by_a_word_of_spam():
    train = [f"{word} {i} of many" for i in range(20) for word in ("lunch", "prize")]
    labels = np.array([False, True] * 20)
    ham, spam = baseline_scorer(train, labels)(["lunch at one", "a prize for you"])
    assert ham < 0.5 < spam


def test_it_knows_a_fragment_of_a_word_that_it_has_not_seen():
    train = [f"{word} {i} of many" for i in range(20) for word in ("lunchtime", "prizewinner")]
    labels = np.array([False, True] * 20)
    ham, spam = baseline_scorer(train, labels)(["lunches", "prizes"])
    assert ham < spam


def test_it_learns_from_the_hand_written_messages():
    scores = baseline_scorer(chosen(TRAIN), SPAM[TRAIN])(chosen(TEST))
    assert scores.shape == (30,)
    assert ((scores > 0) & (scores < 1)).all()
    assert roc_auc_score(SPAM[TEST], scores) > 0.8


def test_each_list_of_texts_gets_its_scores_in_its_own_order():
    parts = TEXTS[:7], TEXTS[60:71], TEXTS[:7][::-1]
    first, second, reversed_first = map(baseline_scorer(chosen(TRAIN), SPAM[TRAIN]), parts)
    assert (len(first), len(second)) == (7, 11)
    assert first.tolist() == reversed_first[::-1].tolist()
    assert np.mean(first) < np.mean(second)  # the file's first rows are ham, the later ones spam


def test_it_is_the_same_each_time():
    once, again = (baseline_scorer(chosen(TRAIN), SPAM[TRAIN])(TEXTS) for _ in range(2))
    assert once.tolist() == again.tolist()


def test_out_of_fold_no_text_is_scored_by_a_model_that_saw_its_group():
    rng = np.random.default_rng(1)  # pairs of words that nothing explains but their own other half
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 9)) for _ in range(60)]
    texts, labels = np.repeat(words, 2).tolist(), np.repeat(rng.random(60) < 0.5, 2)
    together = out_of_fold_scores(texts, labels, np.arange(120) // 2)
    apart = out_of_fold_scores(texts, labels, np.arange(120))
    assert np.mean((together > 0.5) == labels) < 0.7 < np.mean((apart > 0.5) == labels)


def test_out_of_fold_scores_stand_in_the_order_of_the_texts_and_are_the_same_each_time():
    scores = out_of_fold_scores(TEXTS, SPAM, np.arange(len(TEXTS)))
    assert roc_auc_score(SPAM, scores) > 0.8
    assert scores.tolist() == out_of_fold_scores(TEXTS, SPAM, np.arange(len(TEXTS))).tolist()
