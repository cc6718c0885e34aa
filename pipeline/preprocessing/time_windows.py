"""Parts messages by when they came: the newest span, the window before it, a reservoir of older ones."""

import heapq
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.hashing import unit_hash

Mask = NDArray[np.bool_]  # (n,), of rows

NEWEST = (
    "newest"  # the split of rows of the newest span that will be train or val once time has passed
)
END = 0.999  # quantile of all dates at which time ends: one clock in a thousand may be wrong


def end(received_at: "pd.Series[Any]") -> Any:
    """When time ends: the newest date, but for clocks that are wrong; NaT where there are no dates."""
    return received_at.quantile(END, interpolation="lower")


def ages(
    received_at: "pd.Series[Any]", newest_days: float, window_days: float
) -> tuple[Mask, Mask]:
    """(n,) and (n,): the rows of the newest span, and the old ones, from before the window.

    The newest span is the last so many days, and whatever is dated beyond them; the window, so many days
    before it. A row without a date is in neither.
    """
    span = end(received_at) - pd.Timedelta(days=newest_days)
    newest = received_at > (span if newest_days else pd.NaT)
    return newest.to_numpy(), (received_at <= span - pd.Timedelta(days=window_days)).to_numpy()


def reservoir(old: pd.DataFrame, size: int) -> list[int]:
    """The numbers of so many rows: those of the campaigns with the smallest hash, of the last campaign some.

    old: message_id and campaign_key. A bottom-k sample: whatever comes, a row stays until others of smaller
    hash displace it, and it does not come back while rows are only added.
    """
    place = [unit_hash("reservoir", key) for key in old["campaign_key"]]
    order = list(zip(place, old["message_id"], strict=True))
    return heapq.nsmallest(size, range(len(order)), key=order.__getitem__)


def newest(rows: pd.DataFrame) -> Mask:
    """(n,): the rows of NEWEST, and those of test that came since the first of them.

    rows: columns `received_at` and `split`, of every row, also of those that are left out.
    """
    late = rows["split"] == NEWEST
    since = rows["received_at"][late].min()
    return (late | (rows["split"] == "test") & (rows["received_at"] >= since)).to_numpy()
