"""Time ends where nearly all clocks say so, and what is old stays by the hash of its campaign alone."""

import numpy as np
import pandas as pd
import pytest

from pipeline.core.hashing import unit_hash
from pipeline.preprocessing import time_windows
from pipeline.preprocessing.time_windows import ages, newest, reservoir


def received(*days):
    """A column of times, from days of January 2026 or None."""
    times = [day and pd.Timestamp("2025-12-31", tz="UTC") + pd.Timedelta(days=day) for day in days]
    return pd.Series(pd.DatetimeIndex(times, tz="UTC").as_unit("us"))


# ---- ages


def test_newest_and_old_rows_are_those_after_and_before_two_days():
    days = received(1, 10, None, 20.5, 21, 30, 30)
    of_newest, old = ages(days, newest_days=9.5, window_days=10)
    assert of_newest.tolist() == [False, False, False, False, True, True, True]
    assert old.tolist() == [True, True, False, False, False, False, False]


def test_a_span_of_no_days_has_no_rows_and_the_window_ends_with_time():
    of_newest, old = ages(received(1, 20, 30, 30, 31), newest_days=0, window_days=10)
    assert of_newest.tolist() == [False] * 5
    assert old.tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("days", [[], [None, None]])
def test_rows_without_dates_are_neither_newest_nor_old(days):
    for mask in ages(received(*days), 7, 1):
        assert mask.dtype == np.bool_
        assert mask.tolist() == [False] * len(days)


@pytest.mark.parametrize(("stray", "rows"), [(1, 2), (1, 1000), (5, 5001)])
def test_a_clock_in_a_thousand_may_be_wrong(stray, rows):
    days = received(*[10.0] * (rows - stray), *[27_000.0] * stray)
    of_newest, old = ages(days, 7, 1)
    assert of_newest.all()  # whatever is dated beyond is newest too
    assert not old.any()
    later, _ = ages(pd.concat([received(2.0), days]), 7, 1)
    assert later.tolist() == [False, *[True] * rows]


# ---- the reservoir


def table(*campaigns):
    """Rows of these campaigns, in this order."""
    ids = [f"{number * 7919 % 1000:016x}" for number in range(len(campaigns))]
    return pd.DataFrame(
        {"message_id": ids, "campaign_key": list(campaigns)}, index=range(50, 50 + len(ids))
    )


def test_the_reservoir_is_whole_campaigns_of_the_smallest_hash_and_of_the_last_one_some():
    rows = table("b", "a", "c", "a", "b", "c", "a")
    order = sorted("abc", key=lambda key: unit_hash("reservoir", key))
    wanted = sorted(
        range(7),
        key=lambda i: (order.index(rows["campaign_key"].iloc[i]), rows["message_id"].iloc[i]),
    )
    for size in range(9):
        assert reservoir(rows, size) == wanted[:size]


def test_an_empty_reservoir_and_one_of_nothing_are_empty():
    assert reservoir(table("a", "b"), 0) == []
    assert reservoir(table(), 5) == []


# ---- the newest span, as others read it


def test_the_newest_span_begins_with_the_first_newest_row_and_has_rows_of_test_too():
    rows = pd.DataFrame({"split": ["test", "test", "newest", "newest", "train", "val", "test"]})
    rows["received_at"] = received(19, 21, 20, 25, 22, None, None)
    assert newest(rows).tolist() == [False, True, True, True, False, False, False]
    assert newest(rows.assign(split="test")).tolist() == [False] * 7
    assert newest(rows.iloc[:0]).tolist() == []


def test_what_others_read_is_what_was_decided():
    """But for rows of test that came before the first of the others, which no other file knows of."""
    random = np.random.default_rng(3)
    rows = pd.DataFrame({"received_at": received(*random.uniform(1, 30, 500))})
    of_newest, _ = ages(rows["received_at"], 7, 10)
    rows["split"] = np.where(
        random.random(500) < 0.15, "test", np.where(of_newest, time_windows.NEWEST, "train")
    )
    read = newest(rows)
    assert not (read & ~of_newest).any()
    assert (of_newest & ~read).sum() <= 3
