"""What a campaign varies changes no key, and near-copies are found without looking at every pair."""

import itertools
import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.hashing import unit_hash
from pipeline.preprocessing import near_duplicates, normalize

ROOT = Path(__file__).parents[2]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.fixture(scope="module")
def real(sms_messages):
    """The first 400 messages of the default source, in its order."""
    return sms_messages["text"].tolist()[:400]


def slow_key(message):
    """The least hash over all shingles of the masked text, one at a time, in integers modulo 2**64."""
    masked = normalize.mask(message)
    masked += "\0" * (near_duplicates.KEY_SHINGLE - len(masked))
    keys = []
    for start in range(len(masked) - near_duplicates.KEY_SHINGLE + 1):
        h = 0
        for character in masked[start : start + near_duplicates.KEY_SHINGLE]:
            h = (h * 0x100000001B3 + ord(character)) % 2**64
        h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        h = (h ^ (h >> 27)) * 0x94D049BB133111EB % 2**64
        keys.append(h ^ (h >> 31))
    return min(keys)


def slow_near_copies(masked):
    sets = [near_duplicates.shingles(m) for m in masked]
    pairs = itertools.combinations(range(len(masked)), 2)
    return [[i, j] for i, j in pairs if len(sets[i] & sets[j]) / len(sets[i] | sets[j]) >= 0.8]


# ---- canonical, folded, masked


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("ＷＩＮ ①", "WIN 1"),
        ("fr\u200be\u2060e\u00ad", "free"),
        ("\ufeffhi\ufe0f", "hi"),
        ("e\u0301", "é"),
        ("e\u200b\u0301", "é"),
        ("ﬁne…", "fine..."),
        ("", ""),
        ("\u200b", ""),
        ("Kept As It IS\n", "Kept As It IS\n"),
        ("frее рrіzе", "free prize"),  # Cyrillic е, р and і
        ("ＷΟΝ", "WON"),  # fullwidth, and Greek capitals
        ("f r e e, p-r-i-z-e, w.o.n now", "free, prize, won now"),
        ("I am 4 u", "I am 4 u"),
        ("pr1ze b00ks fr33 v1@gra", "prize books fr33 v1@gra"),
        ("4pm gr8 call 0800 1234 W1234X", "4pm gr8 call 0800 1234 W1234X"),
    ],
)
def test_canonicalise_is_nfkc_without_what_nobody_sees_and_without_disguise(written, canonical):
    assert normalize.canonicalise(written) == canonical


@given(TEXTS)
@settings(derandomize=True, deadline=None)
def test_canonicalise_and_fold_change_nothing_the_second_time(written):
    assert normalize.canonicalise(normalize.canonicalise(written)) == normalize.canonicalise(
        written
    )
    assert normalize.fold(normalize.fold(written)) == normalize.fold(written)
    assert unicodedata.is_normalized("NFKC", normalize.canonicalise(written))


def test_fold_joins_case_and_white_space():
    assert normalize.fold("  Call\tNOW \n straße") == "call now strasse"


@pytest.mark.parametrize(
    ("written", "masked"),
    [
        ("WIN £1,000 now", "win £0,0 now"),
        ("see https://a.example/x?y=1 or WWW.b.example!", "see @ or @"),
        ("ｗｗｗ.c.example", "@"),
        ("call  0800\u200b123\n456", "call 0 0"),
        ("", ""),
        (" \u200b ", ""),
    ],
)
def test_mask_hides_digits_links_case_and_spacing(written, masked):
    assert normalize.mask(written) == masked


def test_shingles_are_all_runs_and_a_short_text_is_its_own():
    assert near_duplicates.shingles("abcdefg") == {"abcde", "bcdef", "cdefg"}
    assert near_duplicates.shingles("abcd") == {"abcd"}
    assert near_duplicates.shingles("") == {""}
    assert near_duplicates.shingles("aaaaaaa") == {"aaaaa"}


def test_jaccard_is_the_shared_share():
    assert near_duplicates.jaccard({"a", "b", "c"}, {"b", "c", "d", "e"}) == 0.4
    assert near_duplicates.jaccard({""}, {""}) == 1


# ---- campaign keys


def test_campaign_keys_are_what_the_slow_way_finds(real):
    odd = [
        "",
        "a",
        "1234567",
        "12345678",
        "seven 7",
        "eight ch",
        "nine char",
        "\U0001f4b0" * 9,
        "é" * 30,
    ]
    keys = near_duplicates.campaign_keys(real + odd)
    assert keys.dtype == np.uint64
    assert keys.tolist() == [slow_key(message) for message in real + odd]


@given(st.lists(TEXTS, max_size=9))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_a_key_depends_on_its_own_text_alone(messages):
    assert near_duplicates.campaign_keys(messages).tolist() == [
        near_duplicates.campaign_keys([m])[0] for m in messages
    ]


@pytest.mark.parametrize("chunk", [1, 2, 7, 399, 400])
def test_a_key_does_not_depend_on_the_chunks(real, monkeypatch, chunk):
    whole = near_duplicates.campaign_keys(real)
    monkeypatch.setattr(near_duplicates, "CHUNK", chunk)
    assert near_duplicates.campaign_keys(real).tolist() == whole.tolist()


@pytest.mark.parametrize(
    "variant",
    [
        "WIN £900 NOW at HTTP://PRIZE.example/a, call 08001234567 today",
        "win £5 now at www.other.example/b call 09 today".replace("b ", "b, "),
        "Win  £100\tnow at https://prize.example/zzz   call 1 today ",
        "W\u200bin £１００ now at https://prize.example/, call 0800 today",
    ],
)
def test_what_a_campaign_varies_changes_no_key(variant):
    original = "Win £100 now at https://prize.example/a, call 0800123 today"
    assert (
        near_duplicates.campaign_keys([variant])[0] == near_duplicates.campaign_keys([original])[0]
    )


def test_keys_are_shared_as_often_as_shingles_are():
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(4000)]
    shared, expected = [], []
    for start in range(0, 4000, 10):
        one = " ".join(words[start : start + 9])
        two = " ".join(words[start + 1 : start + 10])
        a, b = near_duplicates.campaign_keys([one, two])
        shared.append(a == b)
        expected.append(
            near_duplicates.jaccard(
                near_duplicates.shingles(one, 8), near_duplicates.shingles(two, 8)
            )
        )
    assert 0.7 < np.mean(expected) < 0.8
    assert np.mean(shared) == pytest.approx(
        np.mean(expected), abs=0.07
    )  # 3 standard deviations of 400


def test_a_share_is_uniform_and_a_function_of_salt_and_key():
    shares = [unit_hash("salt", f"{key:016x}") for key in range(4000)]
    assert 0 <= min(shares) < max(shares) < 1
    in_tenths = np.bincount([int(10 * share) for share in shares], minlength=10)
    assert in_tenths.min() > 330  # 400 expected, 19 the standard deviation
    assert in_tenths.max() < 470
    assert unit_hash("salt", "00") == unit_hash("salt", "00") != unit_hash("pepper", "00")


# ---- near-copies


def varied(messages, seed):
    """Each message as it is and with one to three of its characters changed."""
    rng = random.Random(seed)
    for message in messages:
        yield message
        letters = list(message)
        for at in rng.choices(range(len(letters)), k=rng.randint(1, 3)):
            letters[at] = rng.choice("abcdefghij")
        yield "".join(letters)


def test_near_copies_are_all_those_that_brute_force_finds(real):
    wordings, _ = near_duplicates.wordings(
        [*varied(real[:200], seed=3), *real, "", "a", "b", "free", "free "]
    )
    expected = slow_near_copies(wordings)
    assert len(expected) > 50
    assert near_duplicates.near_copies(wordings).pairs.tolist() == expected


def test_near_copies_of_few_texts_are_few():
    assert near_duplicates.near_copies([]).pairs.shape == (0, 2)
    assert near_duplicates.near_copies(["hello"]).pairs.shape == (0, 2)
    assert near_duplicates.near_copies(["", "a", "b"]).pairs.shape == (0, 2)
    assert near_duplicates.near_copies(
        ["call me now", "call me later", "call me now"]
    ).pairs.tolist() == [[0, 2]]


def test_wordings_number_equal_masked_texts_alike():
    wordings, number = near_duplicates.wordings(["Code 123", "hello", "code  9", "HELLO", ""])
    assert wordings == ["code 0", "hello", ""]
    assert number.tolist() == [0, 1, 0, 1, 2]
    assert near_duplicates.wordings([])[1].shape == (0,)
