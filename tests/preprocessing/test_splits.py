"""A split depends on one row and on time, and near-copies never straddle it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.params import parse_params
from pipeline.preprocessing import near_duplicates
from pipeline.preprocessing.near_duplicates import NearCopies
from pipeline.preprocessing.splits import (
    SPLIT_RANK,
    SplitParams,
    assign_splits,
    held_out_mask,
    leaking_wordings,
    random_split_leak,
    split_figures,
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


def near_copies_of(pairs, crowds):
    return NearCopies(np.array(pairs, int).reshape(-1, 2), [*map(np.array, crowds)])


@given(DATED_TEXTS)
@settings(derandomize=True, max_examples=25)
def test_split_equals_brute_force(rows):
    texts, days = map(list, zip(*rows, strict=True))
    assert assigned(texts) == brute_force_split(texts)
    assert assigned(texts, days=days) == brute_force_split(texts, days)
    assert not leaking_wordings(*assign_splits(message_table(texts, days), PARAMS)).any()


def test_of_a_crowd_only_the_highest_split_stays(monkeypatch):
    monkeypatch.setattr(near_duplicates, "CROWD_SIZE", 9)
    crowd = [f"{CAMPAIGN[:i]}x{CAMPAIGN[i:]}" for i in range(60)]
    rows, near_copies = assign_splits(message_table(crowd), PARAMS)
    assert max(map(len, near_copies.crowds)) > 9
    assert set(rows["split"]) == {"train", "test"}
    split = rows[~rows["left_out"]].set_index("text")["split"]
    assert all(split[a] == split[b] for a, b in near_copy_pairs(list(split.index)))
    assert not rows["left_out"][rows["split"] == "test"].any()
    figures = split_figures(rows, near_copies, 0.7)
    assert figures["leak"].value == 0
    assert figures["crowded"].value > 9


@pytest.mark.parametrize(
    ("pairs", "crowds", "leaking"),
    [([], [], [0]), ([[1, 2], [2, 3]], [], [0, 1, 2]), ([], [[1, 2], [2, 3]], [0, 1, 2])],
)
def test_wordings_that_are_used_in_two_splits_leak(pairs, crowds, leaking):
    rows = pd.DataFrame({"wording": [0, 0, 1, 2, 3, 3], "left_out": [False] * 5 + [True]})
    rows["split"] = ["train", "val", "test", "val", "val", "test"]
    assert np.flatnonzero(leaking_wordings(rows, near_copies_of(pairs, crowds))).tolist() == leaking


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
    near_copies = near_copies_of(pairs, crowds)
    assert random_split_leak(rows, near_copies, 0.5, spam | True) == pytest.approx(messages_leak)
    assert random_split_leak(rows, near_copies, 0.5, spam) == pytest.approx(spam_leak)


def test_splits_and_figures_over_time_equal_brute_force():
    texts = campaign_texts(200, seed=25)
    days = [i % 40 for i in range(200)]
    expected = brute_force_split(texts, days)
    assert assigned(texts, days=days) == expected
    rows, near_copies = assign_splits(message_table(texts, days), PARAMS)
    figures = {name: f.value for name, f in split_figures(rows, near_copies, 0.7).items()}
    for name in SPLIT_RANK:
        left_out = [out for split, out in expected.values() if split == name]
        assert figures[f"{name}.rows"] == left_out.count(False)
        retired = figures.get(f"{name}.retired", 0)
        assert figures[f"{name}.left_out"] + retired == left_out.count(True)
    assert figures["train.retired"] + figures["val.retired"] > 50
    assert figures["newest.left_out"] > 0
    assert figures["leak"] == 0


def test_shares_that_do_not_add_up_to_1_are_refused():
    section = PARAMS.model_dump() | {"split": {"train": 0.8, "val": 0.15, "test": 0.15}}
    line = "section.split: the shares must add up to 1"
    assert error_of(parse_params, SplitParams, section, "section") == line


def test_a_share_of_the_campaigns_is_held_out_whole():
    keys = np.repeat([f"{i:016x}" for i in range(2000)], 3)
    table = pd.DataFrame({"campaign_key": keys})
    held_out = held_out_mask(table, 0.3, 1)
    by_campaign = held_out.reshape(2000, 3)
    assert (by_campaign.all(axis=1) == by_campaign.any(axis=1)).all()
    assert by_campaign[:, 0].mean() == pytest.approx(0.3, abs=0.04)
    some = np.random.default_rng(2).random(6000) < 0.4  # other rows do not matter
    assert held_out_mask(table[some], 0.3, 1).tolist() == held_out[some].tolist()
    assert held_out_mask(table, 0.3, 2).tolist() != held_out.tolist()
