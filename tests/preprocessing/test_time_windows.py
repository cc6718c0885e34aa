"""The newest messages are those before the last date; a few wrong dates change nothing."""

import pandas as pd

from pipeline.preprocessing.time_windows import newest_and_old, newest_rows
from tests.harness.split_oracle import received_at


def masks(days, newest_days, window_days):
    return [mask.tolist() for mask in newest_and_old(received_at(days), newest_days, window_days)]


def test_with_no_newest_days_the_window_ends_at_the_last_date():
    newest, old = masks([1, 20, 30, 30, 31], newest_days=0, window_days=10)
    assert (newest, old) == ([False] * 5, [True, True, False, False, False])


def test_one_wrong_date_in_a_thousand_changes_nothing():
    days = [10.0] * 4996 + [27_000.0] * 5
    assert masks(days, 7, 1) == [[True] * 5001, [False] * 5001]
    assert masks([2.0, *days], 7, 1)[0] == [False, *[True] * 5001]


def test_newest_rows_include_test_rows_as_new():
    rows = pd.DataFrame({"split": ["test", "test", "newest", "newest", "train", "val", "test"]})
    rows["received_at"] = received_at([19, 21, 20, 25, 22, None, None])
    assert newest_rows(rows).tolist() == [False, True, True, True, False, False, False]
    assert newest_rows(rows.assign(split="test")).tolist() == [False] * 7
    assert newest_rows(rows.iloc[:0]).tolist() == []
