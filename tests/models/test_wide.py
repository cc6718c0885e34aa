"""The wide path counts n-grams and words as a reader would, and weighs them as scikit-learn does."""

import itertools
import re
import keras
import numpy as np
import pytest
from keras import layers
from sklearn.linear_model import LogisticRegression
from pipeline.models import wide

TOKENS = ["[PAD]", "[START]", *"abcdefgh", *"ABC", "Ġa", "Ġbc", "ĠBC", "!", "Ġ!!", "9"]
A, B, C, WORD_A, WORD_BC, WORD_BC_LOUD, SIGN, SIGNS, NINE = 2, 3, 4, 13, 14, 15, 16, 17, 18
MESSAGES = [
    [1, WORD_A, B, C, WORD_A, B],
    [1],
    [1, WORD_BC, SIGN, C, NINE],
    [1, WORD_BC_LOUD, SIGNS, SIGN, WORD_A],
    [1, WORD_A, 6, B, 7],
    [1, WORD_BC, A, WORD_BC],
]
SPAM = np.array([1, 0, 0, 1, 1, 0], np.float32)
ORDERS = (1, 2, 3, 4)


def rectangle(messages, width=6):
    return np.array([ids + [0] * (width - len(ids)) for ids in messages], np.int32)


def reader():
    found = wide.Ngrams(len(TOKENS))
    found.build((None, None))
    found.fold(TOKENS)
    return found


def hashes(messages, width=6):
    return keras.ops.convert_to_numpy(reader()(rectangle(messages, width)))


def counter():
    found = wide.Shape(len(TOKENS))
    found.build((None, None))
    found.fold(TOKENS)
    return found


def deep(tokens):
    return layers.Dense(1)(layers.GlobalAveragePooling1D()(layers.Embedding(len(TOKENS), 2)(tokens)))


def network(share=1.0):
    tokens = layers.Input((None,), dtype="int32")
    own = wide.Ngrams(len(TOKENS)), wide.Shape(len(TOKENS))
    ngrams, shape = (layer(tokens) for layer in own)
    for layer in own:
        layer.fold(TOKENS)
    return keras.Model(tokens, wide.Blend(share)(wide.Wide()(ngrams, shape), deep(tokens)))


def slow_ngrams(ids):
    """All runs of one to four ids, in capitals or not."""
    small = [TOKENS[i].lower() for i in ids]
    return [tuple(small[i : i + n]) for n in ORDERS for i in range(len(ids) - n + 1)]


def slow_words(ids):
    """What stands between spaces, letters and digits apart from signs."""
    written = "".join(TOKENS[i].lower() for i in ids[1:]).replace("ġ", " ")
    return ["[start]", *re.findall(r"\w+|[^\w\s]+", written)]


# ---- n-grams


def test_every_run_of_one_to_four_tokens_has_its_own_hash_and_no_other_has():
    of_ngram = {}
    for ids, found in zip(MESSAGES, hashes(MESSAGES), strict=True):
        for n, end in itertools.product(ORDERS, range(6)):
            value = found[end, n - 1]
            if n - 1 <= end < len(ids):
                ngram = tuple(TOKENS[i].lower() for i in ids[end - n + 1 : end + 1])
                of_ngram.setdefault(ngram, set()).add(int(value))
            else:
                assert value == wide.NONE
    assert set(of_ngram) == {ngram for ids in MESSAGES for ngram in slow_ngrams(ids)}
    assert all(len(values) == 1 for values in of_ngram.values())
    assert len(set.union(*of_ngram.values())) == len(of_ngram)


def words_of(messages, width=6):
    """The hashes of each message's words."""
    return [row[row != wide.NONE].tolist() for row in hashes(messages, width)[:, :, -1]]


@pytest.mark.parametrize("width", [6, 9])
def test_every_word_has_its_own_hash_where_it_ends(width):
    of_word = {}
    for ids, found in zip(MESSAGES, words_of(MESSAGES, width), strict=True):
        for word, value in zip(slow_words(ids), found, strict=True):
            of_word.setdefault(word, set()).add(value)
    assert set(of_word) == {"[start]", "abc", "ab", "bc", "!", "c9", "!!!", "a", "aebf", "bca"}
    assert all(len(values) == 1 for values in of_word.values())
    assert len(set.union(*of_word.values())) == len(of_word)


def test_a_word_is_the_same_however_it_was_cut_and_another_in_another_order():
    last = [found[-1] for found in words_of([[1, WORD_BC, A], [1, SIGN, B, C, A], [1, SIGN, A, C, B]])]
    assert last[0] == last[1] != last[2]


def test_of_a_word_beyond_measure_the_end_is_read():
    long = [1, WORD_A, *[B] * 30]
    assert words_of([long], 40)[0][1] == words_of([[1, WORD_BC, *[B] * 30]], 40)[0][1]


def test_case_alone_makes_no_difference():
    assert hashes([[1, 2, 3, 4]]).tolist() == hashes([[1, 10, 11, 12]]).tolist()
    assert hashes([[1, 2, 3, 5]]).tolist() != hashes([[1, 10, 11, 12]]).tolist()
    assert words_of([[1, WORD_BC]]) == words_of([[1, WORD_BC_LOUD]])


def test_hashes_are_spread_over_the_buckets_as_chance_would():
    many = wide.Ngrams(600)
    many.build((None, None))
    many.fold([f"token {i}" for i in range(600)])
    found = keras.ops.convert_to_numpy(many(np.random.default_rng(1).integers(2, 600, (400, 50))))
    distinct = np.unique(found[found != wide.NONE])
    by_chance = wide.BUCKETS * (1 - (1 - 1 / wide.BUCKETS) ** len(distinct))
    assert len(distinct) > 30_000
    assert len(np.unique(distinct % wide.BUCKETS)) == pytest.approx(by_chance, rel=0.01)


# ---- shape


def shape_of(ids):
    """Logarithms of one more than the characters of each kind, counted one by one."""
    written = "".join(TOKENS[i] for i in ids[1:]).replace("Ġ", " ")
    signs = re.sub(r"[\w\s]", "", written)
    kinds = "[a-z]", "[A-Z]", "[0-9]", " ", "!", "[£$]"
    return np.log1p([*(len(re.findall(kind, written)) for kind in kinds), len(signs)])


@pytest.mark.parametrize("width", [6, 9])
def test_shape_counts_characters_of_each_kind_whatever_the_padding(width):
    found = keras.ops.convert_to_numpy(counter()(rectangle(MESSAGES, width)))
    assert found == pytest.approx(np.array([shape_of(ids) for ids in MESSAGES]), abs=1e-6)
    assert (found[:, [0, 1, 2, 3, 4, 6]].max(axis=0) > 0).all()


def test_a_pound_is_counted_in_the_tokenizers_alphabet_of_bytes():
    found = wide.Shape(3)
    found.build((None, None))
    found.fold(["[PAD]", "[START]", "ĠÂ£5"])
    assert np.expm1(found(np.array([[1, 2, 2]]))[0]) == pytest.approx([0, 0, 2, 2, 0, 2, 0], abs=1e-5)


# ---- the fit


def weighed(bags):
    """TF-IDF of each bag, by its names, over the length that it has if none comes twice."""
    names = sorted({name for bag in bags for name in bag})
    idf = {n: np.log((1 + len(bags)) / (1 + sum(n in bag for bag in bags))) + 1 for n in names}
    length = [np.sqrt(sum(idf[n] ** 2 for n in bag)) for bag in bags]
    rows = np.array([[bag.count(n) * idf[n] for n in names] for bag in bags])
    return rows / np.array(length)[:, None]


def oracle():
    """The logits of MESSAGES, by dictionaries and scikit-learn."""
    views = [weighed([view(ids) for ids in MESSAGES]) for view in (slow_ngrams, slow_words)]
    shapes = np.array([shape_of(ids) for ids in MESSAGES])
    rows = np.hstack([*views, wide.SHAPE * (shapes - shapes.mean(axis=0)) / (shapes.std(axis=0) + 1e-9)])
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


def test_blend_is_the_deep_path_alone_until_the_wide_one_is_fitted_and_then_the_weighted_mean():
    wide_logit, deep_logit = np.array([[2.0], [-4.0]]), np.array([[1.0], [8.0]])
    blend = wide.Blend(0.75)
    assert blend(wide_logit, deep_logit).numpy().tolist() == deep_logit.tolist()
    blend.fitted.assign(1)
    assert blend(wide_logit, deep_logit).numpy().tolist() == [[1.75], [-1.0]]


def test_fit_lets_the_wide_path_speak():
    model = network(0.5)
    before = model(rectangle(MESSAGES)).numpy()
    wide.fit(model, [(rectangle(MESSAGES), SPAM)])
    assert model(rectangle(MESSAGES)).numpy()[:, 0] == pytest.approx((before[:, 0] + oracle()) / 2, abs=2e-3)


def test_gradients_leave_the_wide_path_alone():
    model = network(0.5)
    assert [weight.path.split("/")[-1] for weight in model.trainable_weights] == [
        "embeddings",
        "kernel",
        "bias",
    ]
