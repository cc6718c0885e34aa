"""A key depends on its masked text alone; near-copies are found without comparing all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.preprocessing import near_duplicates
from pipeline.preprocessing.near_duplicates import (
    KEY_SHINGLE,
    campaign_keys,
    find_near_copies,
    jaccard,
    number_wordings,
    shingles,
)
from pipeline.preprocessing.normalize import mask
from tests.harness.split_oracle import campaign_texts, near_copy_pairs

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.sampled_from(["", "seven 7", "eight ch", "nine char", "é" * 30, "\U0001f4b0" * 9]),
)


def test_similarity_is_that_of_all_substrings():
    assert shingles("abcdefg") == {"abcde", "bcdef", "cdefg"}
    assert shingles("abcd") == {"abcd"}
    assert shingles("") == {""}
    assert jaccard({"a", "b", "c"}, {"b", "c", "d", "e"}) == 0.4


# ---- campaign keys


def slow_key(text):
    """The smallest hash of the masked text's shingles, in Python integers modulo 2**64."""
    masked = mask(text).ljust(KEY_SHINGLE, "\0")
    keys = []
    for start in range(len(masked) - KEY_SHINGLE + 1):
        key = 0
        for character in masked[start : start + KEY_SHINGLE]:
            key = (key * 0x100000001B3 + ord(character)) % 2**64
        key = (key ^ (key >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        key = (key ^ (key >> 27)) * 0x94D049BB133111EB % 2**64
        keys.append(key ^ (key >> 31))
    return min(keys)


@given(st.lists(TEXTS, max_size=9), st.integers(1, 10))
@settings(derandomize=True, max_examples=30)
def test_a_key_depends_on_its_own_text_alone(texts, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "TEXTS_PER_CHUNK", chunk)
        keys = campaign_keys(texts)
    assert keys.dtype == np.uint64
    assert keys.tolist() == [slow_key(text) for text in texts]


# ---- near-copies


def test_near_copies_equal_brute_force():
    wordings, _ = number_wordings([*campaign_texts(300, seed=3), "", "a", "b", "free", "free "])
    expected = [[*map(wordings.index, pair)] for pair in near_copy_pairs(wordings)]
    assert len(expected) > 40
    near_copies = find_near_copies(wordings)
    assert near_copies.pairs.tolist() == expected
    assert near_copies.crowds == []
    assert find_near_copies([]).pairs.shape == (0, 2)


def test_a_large_group_is_a_crowd_without_pairs(monkeypatch):
    monkeypatch.setattr(near_duplicates, "CROWD_SIZE", 2)
    near_copies = find_near_copies(["call me now"] * 3 + ["something else", "something else"])
    assert near_copies.pairs.tolist() == [[3, 4]]
    assert {tuple(crowd) for crowd in near_copies.crowds} == {(0, 1, 2)}


def test_equal_masked_texts_have_one_number():
    wordings, number = number_wordings(["Code 123", "hello", "code  9", "HELLO", ""])
    assert wordings == ["code 0", "hello", ""]
    assert number.tolist() == [0, 1, 0, 1, 2]
    assert number_wordings([])[1].shape == (0,)
