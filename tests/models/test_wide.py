"""The wide path is TF-IDF and logistic regression as scikit-learn computes them."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.linear_model import LogisticRegression

from pipeline.models import wide
from pipeline.models.wide import Blend, Wide, fit_wide_layers
from pipeline.models.wide_features import Ngrams, Shape
from tests.harness.token_messages import MESSAGES, TOKENS, ngrams_of, padded, shape_of, words_of

SPAM = np.array([1, 0, 0, 1, 1, 0], np.float32)


def deep_path(token_ids):
    embedded = layers.Embedding(len(TOKENS), 2)(token_ids)
    return layers.Dense(1)(layers.GlobalAveragePooling1D()(embedded))


def new_network(share):
    token_ids = layers.Input((None,), dtype="int32")
    features = Ngrams(len(TOKENS)), Shape(len(TOKENS))
    ngrams, shape = (layer(token_ids) for layer in features)
    for layer in features:
        layer.set_tokens(TOKENS)
    return keras.Model(token_ids, Blend(share)(Wide()(ngrams, shape), deep_path(token_ids)))


def logits_of(model, width=6):
    return model(padded(MESSAGES, width)).numpy()[:, 0]


def tfidf_of(bags):
    """(n, names): TF-IDF over the length of the row, in which every occurrence counts alone."""
    names = sorted({name for bag in bags for name in bag})
    documents = {name: sum(name in bag for bag in bags) for name in names}
    idf = {name: np.log((1 + len(bags)) / (1 + documents[name])) + 1 for name in names}
    lengths = [np.sqrt(sum(idf[name] ** 2 for name in bag)) for bag in bags]
    rows = np.array([[bag.count(name) * idf[name] for name in names] for bag in bags])
    return rows / np.array(lengths)[:, None]


def expected_logits():
    """The logits of MESSAGES, by dictionaries and scikit-learn."""
    views = [tfidf_of([view(ids) for ids in MESSAGES]) for view in (ngrams_of, words_of)]
    shapes = np.array([shape_of(ids) for ids in MESSAGES])
    scaled = wide.SHAPE_SCALE * (shapes - shapes.mean(axis=0)) / (shapes.std(axis=0) + 1e-9)
    rows = np.hstack([*views, scaled])
    fitted = LogisticRegression(C=wide.INVERSE_REGULARIZATION, max_iter=1000).fit(rows, SPAM > 0)
    return fitted.decision_function(rows)


def test_logits_are_tfidf_and_logistic_regression():
    model = new_network(share=0.5)
    deep = {width: logits_of(model, width) for width in (6, 11)}
    batches = [(padded(MESSAGES[:4]), SPAM[:4]), (padded(MESSAGES[4:], 9), SPAM[4:])]
    fit_wide_layers(model, batches)
    for width, logits in deep.items():
        expected = (logits + expected_logits()) / 2
        assert logits_of(model, width) == pytest.approx(expected, abs=2e-3)


def test_a_network_without_a_wide_path_stays_as_it_is():
    token_ids = layers.Input((None,), dtype="int32")
    model = keras.Model(token_ids, deep_path(token_ids))
    before = [weight.tolist() for weight in model.get_weights()]
    fit_wide_layers(model, [(padded(MESSAGES), SPAM)])
    assert [weight.tolist() for weight in model.get_weights()] == before


def test_blend_is_the_deep_logit_until_the_wide_path_is_fitted():
    wide_logit, deep_logit = np.array([[2.0], [-4.0]]), np.array([[1.0], [8.0]])
    blend = Blend(share=0.75)
    assert blend(wide_logit, deep_logit).numpy().tolist() == deep_logit.tolist()
    blend.fitted.assign(1)
    assert blend(wide_logit, deep_logit).numpy().tolist() == [[1.75], [-1.0]]


def test_gradients_do_not_change_the_wide_path():
    names = [weight.path.split("/")[-1] for weight in new_network(0.5).trainable_weights]
    assert names == ["embeddings", "kernel", "bias"]
