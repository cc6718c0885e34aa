"""A few wrong dates change nothing, and the reservoir keeps rows by the hash of their campaign."""

import numpy as np
import pandas as pd
import pytest

from pipeline.core.hashing import unit_hash
from pipeline.preprocessing.time_windows import newest_and_old, newest_rows, sample_reservoir
from tests.harness.split_oracle import received_at


def masks(days, newest_days, window_days):
    return [mask.tolist() for mask in newest_and_old(received_at(days), newest_days, window_days)]


def test_newest_and_old_rows_by_hand():
    days = [1, 10, None, 20.5, 21, 30, 30]
    newest, old = masks(days, newest_days=9.5, window_days=10)
    assert newest == [False, False, False, False, True, True, True]
    assert old == [True, True, False, False, False, False, False]


def test_with_no_newest_days_the_window_ends_at_the_last_date():
    newest, old = masks([1, 20, 30, 30, 31], newest_days=0, window_days=10)
    assert (newest, old) == ([False] * 5, [True, True, False, False, False])


@pytest.mark.parametrize("days", [[], [None, None]])
def test_undated_rows_are_neither_newest_nor_old(days):
    for mask in newest_and_old(received_at(days), 7, 1):
        assert mask.dtype == np.bool_
        assert mask.tolist() == [False] * len(days)


@pytest.mark.parametrize(("wrong", "rows"), [(1, 2), (1, 1000), (5, 5001)])
def test_one_wrong_date_in_a_thousand_changes_nothing(wrong, rows):
    days = [10.0] * (rows - wrong) + [27_000.0] * wrong
    assert masks(days, 7, 1) == [[True] * rows, [False] * rows]
    assert masks([2.0, *days], 7, 1)[0] == [False, *[True] * rows]


def campaign_rows(*keys):
    """Rows of these campaigns, in this order."""
    ids = [f"{number * 7919 % 1000:016x}" for number in range(len(keys))]
    index = range(50, 50 + len(ids))
    return pd.DataFrame({"message_id": ids, "campaign_key": list(keys)}, index=index)


def test_reservoir_takes_campaigns_by_hash_then_rows_by_id():
    rows = campaign_rows("b", "a", "c", "a", "b", "c", "a")
    order = sorted("abc", key=lambda key: unit_hash("reservoir", key))
    ids, keys = rows["message_id"].tolist(), rows["campaign_key"].tolist()
    expected = sorted(range(7), key=lambda i: (order.index(keys[i]), ids[i]))
    for size in range(9):
        assert sample_reservoir(rows, size) == expected[:size]
    assert sample_reservoir(campaign_rows(), 5) == []


def test_newest_rows_include_test_rows_as_new():
    rows = pd.DataFrame({"split": ["test", "test", "newest", "newest", "train", "val", "test"]})
    rows["received_at"] = received_at([19, 21, 20, 25, 22, None, None])
    assert newest_rows(rows).tolist() == [False, True, True, True, False, False, False]
    assert newest_rows(rows.assign(split="test")).tolist() == [False] * 7
    assert newest_rows(rows.iloc[:0]).tolist() == []
