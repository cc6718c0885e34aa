"""The layers hash n-grams and words, and count characters, as a slow reader of the text does."""

import itertools

import keras
import numpy as np
import pytest

from pipeline.models.wide import BUCKETS
from pipeline.models.wide_features import NO_FEATURE, ORDERS, Ngrams, Shape
from tests.harness import token_messages as toy
from tests.harness.token_messages import MESSAGES, TOKENS, padded


def layer_of(kind, tokens):
    layer = kind(len(tokens))
    layer.build((None, None))
    layer.set_tokens(tokens)
    return layer


def hashes_of(messages, width=6):
    return keras.ops.convert_to_numpy(layer_of(Ngrams, TOKENS)(padded(messages, width)))


def word_hashes_of(messages, width=9, feature=ORDERS):
    """The hashes of each message's words; those of its pairs of words are the next feature."""
    return [row[row != NO_FEATURE].tolist() for row in hashes_of(messages, width)[:, :, feature]]


def assert_one_hash_each(pairs, names):
    """Each name has one hash, and no two names share one. `pairs`: of names and hashes."""
    assert {name for name, _ in pairs} == names
    assert len(pairs) == len(names) == len({value for _, value in pairs})


def test_every_ngram_has_its_own_hash_where_it_ends():
    pairs = set()
    for ids, row in zip(MESSAGES, hashes_of(MESSAGES), strict=True):
        for n, end in itertools.product(toy.ORDERS, range(6)):
            if n - 1 <= end < len(ids):
                ngram = tuple(TOKENS[i].lower() for i in ids[end - n + 1 : end + 1])
                pairs.add((ngram, int(row[end, n - 1])))
            else:
                assert row[end, n - 1] == NO_FEATURE
    assert_one_hash_each(pairs, {ngram for ids in MESSAGES for ngram in toy.ngrams_of(ids)})


def test_every_word_has_its_own_hash():
    words = [word for ids in MESSAGES for word in toy.words_of(ids)]
    pairs = {*zip(words, itertools.chain(*word_hashes_of(MESSAGES)), strict=True)}
    names = {"[start]", "abc", "ab", "bc", "!", "c9", "!!!", "a", "aebf", "bca"}
    assert_one_hash_each(pairs, names)


def test_every_pair_of_words_has_its_own_hash():
    pairs = [pair for ids in MESSAGES for pair in itertools.pairwise(toy.words_of(ids))]
    hashes = word_hashes_of(MESSAGES, feature=ORDERS + 1)
    assert [len(row) for row in hashes] == [len(toy.words_of(ids)) - 1 for ids in MESSAGES]
    assert_one_hash_each({*zip(pairs, itertools.chain(*hashes), strict=True)}, set(pairs))


def test_a_word_is_the_same_however_it_is_cut():
    cuts = [toy.WORD_BC, toy.A], [toy.SIGN, toy.B, toy.C, toy.A], [toy.SIGN, toy.A, toy.C, toy.B]
    whole, cut, other_order = (row[-1] for row in word_hashes_of([[1, *ids] for ids in cuts]))
    assert whole == cut != other_order


def test_only_the_end_of_a_very_long_word_is_read():
    long_words = [[1, toy.WORD_A, *[toy.B] * 30], [1, toy.WORD_BC, *[toy.B] * 30]]
    one, other = (row[1] for row in word_hashes_of(long_words, width=40))
    assert one == other


def test_hashes_spread_over_the_buckets_like_random_numbers():
    layer = layer_of(Ngrams, [f"token {i}" for i in range(600)])
    hashes = layer(np.random.default_rng(1).integers(2, 600, (400, 50)))
    distinct = np.setdiff1d(hashes, NO_FEATURE)
    expected = BUCKETS * (1 - (1 - 1 / BUCKETS) ** len(distinct))
    assert len(distinct) > 30_000
    assert len(np.unique(distinct % BUCKETS)) == pytest.approx(expected, rel=0.01)


def test_shape_counts_characters_of_each_kind():
    shapes = layer_of(Shape, TOKENS)(padded(MESSAGES)).numpy()
    assert shapes == pytest.approx(np.array([toy.shape_of(ids) for ids in MESSAGES]), abs=1e-6)
    assert (shapes[:, [0, 1, 2, 3, 4, 6]].max(axis=0) > 0).all()
    layer = layer_of(Shape, ["[PAD]", "[START]", "ĠÂ£5"])  # the pound sign in the byte alphabet
    counts = np.expm1(layer(np.array([[1, 2, 2]]))[0])
    assert counts == pytest.approx([0, 0, 2, 2, 0, 2, 0], abs=1e-5)
