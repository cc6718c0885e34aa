"""The wide path is TF-IDF and a linear SVM as scikit-learn computes them."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.svm import LinearSVC

from pipeline.models import wide
from pipeline.models.wide import Blend, Wide, fit_wide_layers
from pipeline.models.wide_features import Ngrams, Shape
from tests.harness.token_messages import (
    MESSAGES,
    SIGN,
    TOKENS,
    WORD_A,
    WORD_BC,
    A,
    C,
    ngrams_of,
    padded,
    shape_of,
    words_and_pairs_of,
)

SPAM = np.array([1, 0, 0, 1, 1, 0], np.float32)


def new_network(length_exponent):
    token_ids = layers.Input((None,), dtype="int32")
    features = Ngrams(len(TOKENS)), Shape(len(TOKENS))
    ngrams, shape = (layer(token_ids) for layer in features)
    for layer in features:
        layer.set_tokens(TOKENS)
    embedded = layers.Embedding(len(TOKENS), 2)(token_ids)
    deep = layers.Dense(1)(layers.GlobalAveragePooling1D()(embedded))
    return keras.Model(token_ids, Blend(share=0.75)(Wide(length_exponent)(ngrams, shape), deep))


def logits_of(model, width=6):
    return model(padded(MESSAGES, width)).numpy()[:, 0]


def tfidf_of(messages, view, length_exponent):
    """(n, names): TF-IDF whose length, in which every occurrence counts alone, is to a power."""
    counts = CountVectorizer(analyzer=view).fit_transform(messages).toarray()
    idf = TfidfTransformer().fit(counts).idf_
    length = np.sqrt(counts @ idf**2)
    relative = length / np.median(length)
    return counts * idf / (np.median(length) * relative**length_exponent)[:, None]


def expected_logits(copies, copies_spam, length_exponent):
    """The logits of MESSAGES by scikit-learn: the mean of the SVMs without and with the copies."""
    messages, spam = MESSAGES + copies, np.concatenate([SPAM, copies_spam])
    shapes = np.array([shape_of(ids) for ids in messages])
    scaled = wide.SHAPE_SCALE * (shapes - shapes.mean(axis=0)) / (shapes.std(axis=0) + 1e-9)
    views = (tfidf_of(messages, view, length_exponent) for view in (ngrams_of, words_and_pairs_of))
    rows = np.hstack([*views, scaled])
    margins = []
    for count in (len(MESSAGES), len(messages)):
        svm = LinearSVC(C=wide.INVERSE_REGULARIZATION, tol=wide.TOLERANCE, random_state=0)
        svm.fit(rows[:count], spam[:count] > 0)
        margins.append(svm.decision_function(rows[: len(MESSAGES)]))
    return wide.MARGIN_LOGIT * np.mean(margins, axis=0)


COPIES = [[1, WORD_A, A, SIGN, C], [1, WORD_BC, SIGN]]


@pytest.mark.parametrize(
    "length_exponent", [1.0, *(pytest.param(value, marks=pytest.mark.slow) for value in (0.6, 1.4))]
)
@pytest.mark.parametrize(
    ("copies", "copies_spam"), [([], np.zeros(0, np.float32)), (COPIES, SPAM[:2])]
)
def test_fitted_wide_path_is_tfidf_and_the_mean_of_linear_svms(
    copies, copies_spam, length_exponent
):
    model = new_network(length_exponent)
    deep = {width: logits_of(model, width) for width in (6, 11)}  # the wide path is not fitted
    batches = [(padded(MESSAGES[:4]), SPAM[:4]), (padded(MESSAGES[4:], 9), SPAM[4:])]
    fit_wide_layers(model, batches, [(padded(copies), copies_spam)] if copies else [])
    for width, logits in deep.items():
        expected = 0.25 * logits + 0.75 * expected_logits(copies, copies_spam, length_exponent)
        assert logits_of(model, width) == pytest.approx(expected, abs=1e-2)
