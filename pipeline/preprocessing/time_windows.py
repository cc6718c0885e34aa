"""Divides messages by date: the newest messages, the window before them, and older messages."""

import heapq
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.hashing import unit_hash

Mask = NDArray[np.bool_]  # (n,), True for the selected rows

NEWEST = "newest"  # split of the newest messages that become train or val once they are older
LAST_DATE_QUANTILE = 0.999  # one date in a thousand may be wrong and in the future


def last_date(received_at: "pd.Series[Any]") -> Any:
    """The 99.9th percentile of the dates, as a few may be wrong. NaT without dates."""
    return received_at.quantile(LAST_DATE_QUANTILE, interpolation="lower")


def newest_and_old(
    received_at: "pd.Series[Any]", newest_days: float, window_days: float
) -> tuple[Mask, Mask]:
    """(n,) and (n,): the newest rows, and the rows from before the window.

    The newest rows are those of the last `newest_days` days, or dated later than the last date.
    The window is the `window_days` days before them. A row without a date is in neither.
    """
    newest_start = last_date(received_at) - pd.Timedelta(days=newest_days)
    window_start = newest_start - pd.Timedelta(days=window_days)
    newest = received_at > (newest_start if newest_days else pd.NaT)
    old = received_at <= window_start
    return newest.to_numpy(), old.to_numpy()


def sample_reservoir(old: pd.DataFrame, size: int) -> list[int]:
    """Positions of at most `size` rows: those whose campaigns have the smallest hashes.

    A bottom-k sample: new rows with a smaller hash displace rows from it, and a displaced row does
    not return. It has all rows of each of its campaigns, except for the last campaign.

    Args:
        old: columns message_id and campaign_key.
    """
    hashes = [unit_hash("reservoir", key) for key in old["campaign_key"]]
    order = list(zip(hashes, old["message_id"], strict=True))
    return heapq.nsmallest(size, range(len(order)), key=order.__getitem__)


def newest_rows(rows: pd.DataFrame) -> Mask:
    """(n,): the rows of the split NEWEST, and the rows of test that are at least as new.

    Args:
        rows: columns received_at and split of all rows, including those that are left out.
    """
    newest = rows["split"] == NEWEST
    start = rows["received_at"][newest].min()
    newest_test = (rows["split"] == "test") & (rows["received_at"] >= start)
    return (newest | newest_test).to_numpy()
