"""A split depends on one row and on time, and near-copies never straddle it."""

import itertools
import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.params import parse_params
from pipeline.preprocessing import near_duplicates
from pipeline.preprocessing.near_duplicates import NearCopies, campaign_keys
from pipeline.preprocessing.splits import (
    RETIRED_RANK,
    SPLIT_RANK,
    SplitParams,
    assign_splits,
    leaking_wordings,
    left_out_wordings,
    random_split_leak,
    split_figures,
    split_of_campaign,
)
from tests.harness.errors import error_of
from tests.harness.split_oracle import (
    CAMPAIGN,
    PARAMS,
    assigned,
    brute_force_split,
    campaign_texts,
    message_table,
    near_copy_pairs,
    with_params,
)

TEXTS = st.one_of(  # strangers, and near-copies of one campaign with a few characters changed
    st.text("abcdefgh ", min_size=5, max_size=40),
    st.builds(
        lambda start, new: CAMPAIGN[:start] + new + CAMPAIGN[start + len(new) :],
        st.integers(0, len(CAMPAIGN) - 8),
        st.text("xyz ", min_size=1, max_size=8),
    ),
)
ROWS = st.tuples(TEXTS, st.one_of(st.none(), st.integers(0, 40)))  # text, and day or None
DATED_TEXTS = st.lists(ROWS, min_size=2, max_size=24, unique_by=lambda row: row[0])
NO_PAIRS = np.zeros((0, 2), np.int64)


@pytest.fixture(scope="module")
def sms(sms_messages):
    """The default data with exact copies folded, as validate folds them."""
    groups = sms_messages.groupby("text", sort=False)
    return groups.first().reset_index().assign(copies=groups.size().to_numpy())


# ---- the split


@given(DATED_TEXTS)
@settings(derandomize=True, deadline=None, max_examples=25)
def test_split_equals_brute_force(rows):
    texts, days = map(list, zip(*rows, strict=True))
    assert assigned(texts) == brute_force_split(texts, PARAMS)
    assert assigned(texts, days=days) == brute_force_split(texts, PARAMS, days)
    assert not leaking_wordings(*assign_splits(message_table(texts, days), PARAMS)).any()


def test_split_of_real_messages_equals_brute_force(sms):
    params = with_params(salt="another")
    spam = sms["text"][sms["label"] == "spam"].tolist()[:200]
    texts = list(dict.fromkeys([*spam, *sms["text"].tolist()[:150], *campaign_texts(150, seed=5)]))
    expected = brute_force_split(texts, params)
    assert {split for split, _ in expected.values()} == {"train", "val", "test"}
    assert sum(left_out for _, left_out in expected.values()) > 5
    assert assigned(texts, params) == expected


def test_campaigns_are_split_by_the_shares():
    splits = [split_of_campaign("salt", f"{key:016x}", PARAMS.split) for key in range(4000)]
    shares = pd.Series(splits).value_counts(normalize=True).to_dict()
    assert shares == pytest.approx({"train": 0.7, "val": 0.15, "test": 0.15}, abs=0.03)


@given(DATED_TEXTS, st.data())
@settings(derandomize=True, deadline=None, max_examples=15)
def test_a_test_row_stays_in_test_forever(rows, data):
    texts, days = map(list, zip(*rows, strict=True))
    undated = {text: split for text, (split, _) in assigned(texts).items()}
    for size in data.draw(st.lists(st.integers(1, len(texts)), min_size=1, max_size=3)):
        for text, (split, left_out) in assigned(texts[:size], days=days[:size]).items():
            assert split in (undated[text], "newest")
            if undated[text] == "test":
                assert (split, left_out) == ("test", False)


def test_only_the_lower_split_loses_a_row():
    splits = ["train", "test", "val", "test", "val", "train", "newest"]
    ranks = np.array([*(SPLIT_RANK[name] for name in splits), RETIRED_RANK])
    pairs = np.array([[0, 1], [1, 2], [1, 3], [4, 5], [6, 7]])
    by_pairs = left_out_wordings(ranks, NearCopies(pairs=pairs, crowds=[]))
    assert np.flatnonzero(by_pairs).tolist() == [0, 2, 5, 7]
    crowd = np.array([0, 2, 6, 7])
    by_crowd = left_out_wordings(ranks, NearCopies(pairs=NO_PAIRS, crowds=[crowd]))
    assert np.flatnonzero(by_crowd).tolist() == [0, 6, 7]


def test_of_a_crowd_only_the_highest_split_stays(monkeypatch):
    monkeypatch.setattr(near_duplicates, "CROWD_SIZE", 9)
    rng = random.Random(3)
    words = ["".join(pair) for pair in itertools.product("bcdfgh", "aeiou")]
    crowd = {
        "dear customer your parcel from the {} depot is waiting for collection at the {} counter "
        "until friday evening please bring your identity card {}".format(*rng.choices(words, k=3))
        for _ in range(60)
    }
    rows, near_copies = assign_splits(message_table(sorted(crowd)), PARAMS)
    assert max(map(len, near_copies.crowds)) > 9
    assert rows["split"].nunique() > 1
    split = rows[~rows["left_out"]].set_index("text")["split"]
    assert all(split[a] == split[b] for a, b in near_copy_pairs(list(split.index)))
    figures = split_figures(rows, near_copies, 0.7)
    assert figures["leak"].value == 0
    assert figures["crowded"].value > 9
    assert split_figures(rows.assign(left_out=False), near_copies, 0.7)["leak"].value > 0


def test_a_campaign_of_many_numbers_is_one_wording():
    texts = [f"Your code is {i:06d}" for i in range(2000)]
    rows, near_copies = assign_splits(message_table(texts), PARAMS)
    assert rows["split"].nunique() == 1
    assert near_copies.pairs.shape == (0, 2)
    assert random_split_leak(rows, near_copies, 0.7, rows["label"].notna()) == 1


def test_real_messages_have_few_near_copies_and_no_leak(sms):
    rows, near_copies = assign_splits(sms, PARAMS)
    figures = split_figures(rows, near_copies, 0.7)
    assert 3 <= rows["left_out"].sum() <= 13
    assert (figures["leak"].value, figures["leak"].n) == (0, 4534)
    assert figures["random_split_leak.messages"].n == 4862
    assert figures["random_split_leak.spam"].n == 642


# ---- the leak of a random split


@pytest.mark.parametrize(
    ("pairs", "crowds", "messages_leak", "spam_leak"),
    [
        ([[0, 1]], [], 4 * (1 - 0.5**3) / 5, 1 - 0.5**3),  # rows 0, 1 and 2 are near-copies
        ([], [[0, 1]], 4 * (1 - 0.5**3) / 5, 1 - 0.5**3),
        ([], [], 3 * (1 - 0.5**2) / 5, 1 - 0.5**2),
    ],
)
def test_random_split_leak_by_hand(pairs, crowds, messages_leak, spam_leak):
    rows = pd.DataFrame({"wording": [0, 1, 1, 2], "copies": [1, 2, 1, 1]})
    spam = pd.Series([False, True, True, False])
    near_copies = NearCopies(np.array(pairs, int).reshape(-1, 2), [*map(np.array, crowds)])
    assert random_split_leak(rows, near_copies, 0.5, spam | True) == pytest.approx(messages_leak)
    assert random_split_leak(rows, near_copies, 0.5, spam) == pytest.approx(spam_leak)


# ---- time


@pytest.mark.parametrize(
    ("campaign_day", "other_day", "campaign_row", "other_row"),
    [
        (5, 5, ("train", True), ("val", False)),
        (5, 0, ("train", False), ("val", True)),  # the other has retired
        (17, 0, ("newest", False), ("val", True)),
        (17, 5, ("newest", True), ("val", False)),
        (5, 17, ("train", False), ("newest", True)),
    ],
)
def test_near_copy_of_a_retired_row_stays(campaign_day, other_day, campaign_row, other_row):
    variants = [f"{CAMPAIGN[:i]}x{CAMPAIGN[i:]}" for i in range(len(CAMPAIGN))]
    other = next(text for text in variants if len({*campaign_keys([CAMPAIGN, text])}) == 2)
    undated = {CAMPAIGN: ("train", True), other: ("val", False)}
    salted = (with_params(reservoir_rows=0, salt=str(salt)) for salt in itertools.count())
    params = next(params for params in salted if assigned([CAMPAIGN, other], params) == undated)
    texts = [CAMPAIGN, other, "see you at lunch", "on my way"]
    rows = assigned(texts, params, [campaign_day, other_day, 17, 17])
    assert (rows[CAMPAIGN], rows[other]) == (campaign_row, other_row)


def test_a_campaign_is_newest_only_if_none_of_it_is_used():
    texts = [f"Your code is {i:06d}" for i in range(4)]  # four rows of one wording
    assert assigned(texts)[texts[0]][0] in ("train", "val")

    def left_out(days, params=PARAMS):
        return assign_splits(message_table(texts, days), params)[0]["left_out"].tolist()

    assert left_out([10, 20, 20, None]) == [False, True, True, False]
    assert left_out([20, 20, 20, 20]) == [False] * 4
    assert left_out([0, 20, 20, 20], with_params(reservoir_rows=0)) == [True] + [False] * 3
    rows, near_copies = assign_splits(message_table(texts, [10, 20, 20, None]), PARAMS)
    assert leaking_wordings(rows.assign(left_out=False), near_copies).all()


def test_figures_count_retired_rows_separately():
    texts = campaign_texts(200, seed=25)
    days = [i % 40 for i in range(200)]
    rows, near_copies = assign_splits(message_table(texts, days), PARAMS)
    figures = {name: f.value for name, f in split_figures(rows, near_copies, 0.7).items()}
    expected = brute_force_split(texts, PARAMS, days)
    for name in SPLIT_RANK:
        left_out = [out for split, out in expected.values() if split == name]
        assert figures[f"{name}.rows"] == left_out.count(False)
        retired = figures.get(f"{name}.retired", 0)
        assert figures[f"{name}.left_out"] + retired == left_out.count(True)
    assert figures["train.retired"] + figures["val.retired"] > 50
    assert figures["newest.left_out"] > 0
    assert figures["leak"] == 0


# ---- params


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("newest_days", -1, "input should be greater than or equal to 0, not -1"),
        ("newest_days", 36_501, "input should be less than or equal to 36500, not 36501"),
        ("window_days", 0, "input should be greater than 0, not 0"),
        ("window_days", 36_501, "input should be less than or equal to 36500, not 36501"),
        ("reservoir_rows", -1, "input should be greater than or equal to 0, not -1"),
        ("reservoir_rows", 10**10, "input should be less than or equal to 1000000000, not 100"),
        ("salt", 2026, "input should be a valid string, not 2026"),
        ("split", {"train": 0.8, "val": 0.15, "test": 0.15}, "the shares must add up to 1"),
    ],
)
def test_params_out_of_range_are_refused(key, value, problem):
    error = error_of(parse_params, SplitParams, PARAMS.model_dump() | {key: value}, "section")
    assert error.startswith(f"section.{key}: {problem}")


def test_a_split_share_of_0_or_1_is_refused():
    section = PARAMS.model_dump() | {"split": {"train": 1, "val": 0, "test": 0}}
    assert error_of(parse_params, SplitParams, section, "section").splitlines() == [
        "section.split.train: input should be less than 1, not 1",
        "error: section.split.val: input should be greater than 0, not 0",
        "error: section.split.test: input should be greater than 0, not 0",
    ]
