"""The wide path counts n-grams as a reader would, and weighs them as scikit-learn does."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.linear_model import LogisticRegression

from pipeline import wide

TOKENS = ["[PAD]", "[START]", *"abcdefgh", *"ABC"]  # ids 10 to 12 are 2 to 4 in capitals
MESSAGES = [[1, 2, 3, 4, 2, 3], [1], [1, 5, 5, 5], [1, 9, 8, 7, 6], [1, 2, 6, 3, 7], [1, 4, 3, 2]]
SPAM = np.array([1, 0, 0, 1, 1, 0], np.float32)


def rectangle(messages, width=6):
    return np.array([ids + [0] * (width - len(ids)) for ids in messages], np.int32)


def reader():
    found = wide.Ngrams(len(TOKENS))
    found.build((None, None))
    found.fold(TOKENS)
    return found


def hashes(messages, width=6):
    return keras.ops.convert_to_numpy(reader()(rectangle(messages, width)))


def deep(tokens):
    return layers.Dense(1)(layers.GlobalAveragePooling1D()(layers.Embedding(len(TOKENS), 2)(tokens)))


def network(share=1.0):
    tokens = layers.Input((None,), dtype="int32")
    own = wide.Ngrams(len(TOKENS))
    ngrams = own(tokens)
    own.fold(TOKENS)
    return keras.Model(tokens, wide.Blend(share)(wide.Wide()(ngrams), deep(tokens)))


def slow_ngrams(ids):
    """All runs of one, two and three ids."""
    return [tuple(ids[i : i + n]) for n in (1, 2, 3) for i in range(len(ids) - n + 1)]


# ---- n-grams


def test_every_run_of_one_two_and_three_tokens_has_its_own_hash_and_no_other_has():
    of_ngram = {}
    for ids, found in zip(MESSAGES, hashes(MESSAGES), strict=True):
        for n, end in itertools.product((1, 2, 3), range(6)):
            value = found[end, n - 1]
            if n - 1 <= end < len(ids):
                of_ngram.setdefault(tuple(ids[end - n + 1 : end + 1]), set()).add(int(value))
            else:
                assert value == wide.NONE
    assert set(of_ngram) == {ngram for ids in MESSAGES for ngram in slow_ngrams(ids)}
    assert all(len(values) == 1 for values in of_ngram.values())
    assert len(set.union(*of_ngram.values())) == len(of_ngram)


def test_case_alone_makes_no_difference():
    assert hashes([[1, 2, 3, 4]]).tolist() == hashes([[1, 10, 11, 12]]).tolist()
    assert hashes([[1, 2, 3, 5]]).tolist() != hashes([[1, 10, 11, 12]]).tolist()


def test_hashes_are_spread_over_the_buckets_as_chance_would():
    many = wide.Ngrams(600)
    many.build((None, None))
    many.fold([f"token {i}" for i in range(600)])
    found = keras.ops.convert_to_numpy(many(np.random.default_rng(1).integers(2, 600, (400, 50))))
    distinct = np.unique(found[found != wide.NONE])
    by_chance = wide.BUCKETS * (1 - (1 - 1 / wide.BUCKETS) ** len(distinct))
    assert len(distinct) > 30_000
    assert len(np.unique(distinct % wide.BUCKETS)) == pytest.approx(by_chance, rel=0.01)


# ---- the fit


def oracle():
    """The logits of MESSAGES, by dictionaries and scikit-learn."""
    bags = [slow_ngrams(ids) for ids in MESSAGES]
    names = sorted({ngram for bag in bags for ngram in bag})
    idf = {n: np.log((1 + len(bags)) / (1 + sum(n in bag for bag in bags))) + 1 for n in names}
    rows = []
    for bag in bags:
        length = np.sqrt(sum(idf[n] ** 2 for n in bag))
        rows.append([bag.count(n) * idf[n] / length for n in names])
    fitted = LogisticRegression(C=wide.COST, max_iter=1000).fit(rows, SPAM > 0)
    return fitted.decision_function(rows)


@pytest.mark.parametrize("width", [6, 11])
def test_logits_are_those_of_tfidf_and_logistic_regression(width):
    model = network()
    wide.fit(model, [(rectangle(MESSAGES[:4]), SPAM[:4]), (rectangle(MESSAGES[4:], 9), SPAM[4:])])
    assert model(rectangle(MESSAGES, width)).numpy()[:, 0] == pytest.approx(oracle(), abs=2e-3)


def test_a_network_without_a_wide_path_is_left_alone():
    tokens = layers.Input((None,), dtype="int32")
    model = keras.Model(tokens, deep(tokens))
    before = [weight.tolist() for weight in model.get_weights()]
    wide.fit(model, [(rectangle(MESSAGES), SPAM)])
    assert [weight.tolist() for weight in model.get_weights()] == before


# ---- the blend


def test_blend_is_the_weighted_mean_and_in_training_the_deep_path_alone():
    wide_logit, deep_logit = np.array([[2.0], [-4.0]]), np.array([[1.0], [8.0]])
    blend = wide.Blend(0.75)
    assert blend(wide_logit, deep_logit).numpy().tolist() == [[1.75], [-1.0]]
    assert blend(wide_logit, deep_logit, training=True).numpy().tolist() == deep_logit.tolist()


def test_gradients_leave_the_wide_path_alone():
    model = network(0.5)
    assert [weight.path.split("/")[-1] for weight in model.trainable_weights] == [
        "embeddings",
        "kernel",
        "bias",
    ]
