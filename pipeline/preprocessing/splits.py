"""Assigns each message to a split: train, val, test or the newest messages."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pipeline.core.hashing import unit_hash
from pipeline.core.params import ParamsSection
from pipeline.core.reports import Figure
from pipeline.preprocessing.near_duplicates import (
    NearCopies,
    campaign_keys,
    find_near_copies,
    number_wordings,
)
from pipeline.preprocessing.time_windows import NEWEST, Mask, newest_and_old, sample_reservoir

Ranks = NDArray[np.int64]  # (wordings,), the highest rank of the rows with that wording

# Of two near-copies in different splits, the one in the split with the higher rank is used.
SPLIT_RANK = {"train": 1, "val": 2, "test": 3, NEWEST: 0}
RETIRED_RANK = -1  # no row is left out because of a retired row
MAX_DAYS = 36_500  # about a century


class SplitShares(ParamsSection):
    """Shares of the campaigns in each split."""

    train: float = Field(gt=0, lt=1, description="share of campaigns in train")
    val: float = Field(gt=0, lt=1, description="share of campaigns in val")
    test: float = Field(gt=0, lt=1, description="share of campaigns in test")

    @model_validator(mode="after")
    def _add_up_to_one(self) -> "SplitShares":
        if abs(self.train + self.val + self.test - 1) > 1e-9:
            raise ValueError("the shares must add up to 1")
        return self


class SplitParams(ParamsSection):
    """The params that decide a message's split."""

    split: SplitShares = Field(description="shares of campaigns, which add up to 1")
    salt: str = Field(description="any text; another salt gives another split")
    newest_days: float = Field(
        ge=0,
        le=MAX_DAYS,
        description="last days of the data: evaluated, not used in train or val; 0 for none",
    )
    window_days: float = Field(
        gt=0, le=MAX_DAYS, description="days before those, of which train and val use all rows"
    )
    reservoir_rows: int = Field(
        ge=0, le=1_000_000_000, description="rows from before the window that train and val use"
    )


# ---- the split


def assign_splits(messages: pd.DataFrame, params: SplitParams) -> tuple[pd.DataFrame, NearCopies]:
    """The messages with their splits, and the near-copies among their wordings.

    Adds the columns campaign_key (16 hexadecimal digits), wording (number of the masked text),
    split (a name in SPLIT_RANK), retired and left_out (both bool).

    Args:
        messages: columns message_id, text and received_at.
    """
    texts = messages["text"].tolist()
    keys = [f"{key:016x}" for key in campaign_keys(texts)]
    splits = [split_of_campaign(params.salt, key, params.split) for key in keys]
    wordings, wording = number_wordings(texts)
    near_copies = find_near_copies(wordings)

    rows = messages.assign(campaign_key=keys, split=pd.array(splits, "str"), wording=wording)
    rows = apply_time_windows(rows, params)
    ranks = _wording_ranks(rows, len(wordings))
    left_out = left_out_wordings(ranks, near_copies)[wording] | rows["retired"]
    newest = rows["split"] == NEWEST
    used_campaigns = rows["campaign_key"][~newest & ~left_out]
    left_out |= newest & rows["campaign_key"].isin(used_campaigns)
    return rows.assign(left_out=left_out), near_copies


def used_rows(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each split that are used, by its name; `rows` as `assign_splits` returns them."""
    return {name: rows[(rows["split"] == name) & ~rows["left_out"]] for name in SPLIT_RANK}


def split_of_campaign(salt: str, campaign_key: str, shares: SplitShares) -> str:
    """`train`, `val` or `test`: a function of the salt and the campaign key alone."""
    position = unit_hash(salt, campaign_key)
    if position < shares.train:
        return "train"
    if position < shares.train + shares.val:
        return "val"
    return "test"


def held_out_mask(table: pd.DataFrame, share: float, seed: int) -> Mask:
    """(n,): True for the rows of a random share of the campaigns; a campaign is never divided.

    Args:
        table: has the column `campaign_key`.
        share: of the campaigns, in (0, 1).
    """
    positions = [unit_hash(f"stop:{seed}", key) for key in table["campaign_key"]]
    return np.array([position < share for position in positions], np.bool_)


def apply_time_windows(rows: pd.DataFrame, params: SplitParams) -> pd.DataFrame:
    """The rows with NEWEST as the split of new rows of train and val, and the column `retired`.

    Rows of test stay in test forever. NEWEST rows become train or val when they are older. Rows of
    train and val retire when they are older than the window and not in the reservoir.

    Args:
        rows: columns message_id, received_at, campaign_key and split (that of the campaign).
    """
    in_test = (rows["split"] == "test").to_numpy()
    newest, old = newest_and_old(rows["received_at"], params.newest_days, params.window_days)
    retired = old & ~in_test
    positions = np.flatnonzero(retired)
    kept = sample_reservoir(rows.iloc[positions], params.reservoir_rows)
    retired[positions[kept]] = False
    return rows.assign(split=rows["split"].mask(newest & ~in_test, NEWEST), retired=retired)


def _wording_ranks(rows: pd.DataFrame, wordings: int) -> Ranks:
    ranks = np.full(wordings, RETIRED_RANK)
    row_ranks = np.where(rows["retired"], RETIRED_RANK, rows["split"].map(SPLIT_RANK))
    np.maximum.at(ranks, rows["wording"], row_ranks)
    return ranks


def left_out_wordings(ranks: Ranks, near_copies: NearCopies) -> Mask:
    """(wordings,): the wordings that have a near-copy with a higher rank.

    Args:
        ranks: (wordings,), the highest rank of the rows with each wording.
        near_copies: of the wordings.
    """
    first, second = near_copies.pairs.T
    left_out = np.zeros(len(ranks), np.bool_)
    left_out[first[ranks[first] < ranks[second]]] = True
    left_out[second[ranks[second] < ranks[first]]] = True
    for crowd in near_copies.crowds:
        left_out[crowd[ranks[crowd] < ranks[crowd].max()]] = True
    return left_out


# ---- leakage


def leaking_wordings(rows: pd.DataFrame, near_copies: NearCopies) -> Mask:
    """(wordings,): the wordings that are used in two splits, themselves or by a near-copy.

    Args:
        rows: columns wording, split and left_out, as `assign_splits` returns them.
        near_copies: of the wordings.
    """
    used = rows[~rows["left_out"]]
    split_bits = np.zeros(rows["wording"].max() + 1, np.int64)  # one bit per split
    used_bits = 1 << used["split"].map(SPLIT_RANK).to_numpy(np.int64)
    np.bitwise_or.at(split_bits, used["wording"], used_bits)
    leaking = _several_bits(split_bits)
    pairs = near_copies.pairs
    pair_bits = split_bits[pairs[:, 0]] | split_bits[pairs[:, 1]]
    leaking[pairs[_several_bits(pair_bits)]] = True
    for crowd in near_copies.crowds:
        leaking[crowd] |= int(np.bitwise_or.reduce(split_bits[crowd])).bit_count() > 1
    return leaking


def _several_bits(bits: NDArray[Any]) -> Mask:
    return bits & (bits - 1) > 0


def random_split_leak(
    rows: pd.DataFrame, near_copies: NearCopies, train_share: float, among: "pd.Series[bool]"
) -> float:
    """The expected share of test messages, in [0, 1], with a copy in train under a random split.

    The expectation is over all random splits of the messages before deduplication. No copy of a
    test message is in train with a probability of (1 - train_share) ** others, where others is the
    number of its other copies and near-copies.

    Args:
        rows: columns wording and copies (messages with the same text).
        near_copies: of the wordings.
        train_share: share of messages in train, in [0, 1].
        among: (n,), the rows to average over.
    """
    copies = np.bincount(rows["wording"], rows["copies"])
    similar = copies.copy()
    pairs = near_copies.pairs
    np.add.at(similar, pairs[:, 0], copies[pairs[:, 1]])
    np.add.at(similar, pairs[:, 1], copies[pairs[:, 0]])
    for crowd in near_copies.crowds:
        similar[crowd] = np.maximum(similar[crowd], copies[crowd].sum())
    leaks = 1 - (1 - train_share) ** (similar[rows["wording"]] - 1)
    return float(np.average(leaks[among], weights=rows["copies"][among]))


# ---- the report


def split_figures(
    rows: pd.DataFrame, near_copies: NearCopies, train_share: float
) -> dict[str, Figure]:
    """Figures of each split, and of leakage between them.

    `SPLIT.rows` (used), `SPLIT.spam_share` in [0, 1], `SPLIT.left_out` (near-copies) and, of train
    and val, `SPLIT.retired`; `leak`, the rows that are used in two splits, which must be 0;
    `crowded`, the wordings in groups too large to be compared in pairs;
    `random_split_leak.messages` and `random_split_leak.spam`, in [0, 1].

    Args:
        rows: as `assign_splits` returns them, with the columns label and copies.
        near_copies: of the wordings.
        train_share: share of messages in train, in [0, 1].
    """
    figures: dict[str, Figure] = {}
    for name in SPLIT_RANK:
        figures |= _figures_of_split(name, rows[rows["split"] == name])
    groups = {"messages": rows["label"].notna(), "spam": rows["label"] == "spam"}
    for name, among in groups.items():
        leak = random_split_leak(rows, near_copies, train_share, among)
        copies = int(rows["copies"][among].sum())
        figures[f"random_split_leak.{name}"] = Figure(leak, n=copies)
    leaking = leaking_wordings(rows, near_copies)[rows["wording"]]
    figures["leak"] = Figure(leaking.sum(), n=len(rows))
    crowded = set[int]().union(*map(np.ndarray.tolist, near_copies.crowds))
    figures["crowded"] = Figure(len(crowded), n=rows["wording"].nunique())
    return figures


def _figures_of_split(name: str, rows: pd.DataFrame) -> dict[str, Figure]:
    used = rows[~rows["left_out"]]
    spam_share = (used["label"] == "spam").mean() if len(used) else None
    figures = {
        f"{name}.rows": Figure(len(used)),
        f"{name}.spam_share": Figure(spam_share, n=len(used)),
        f"{name}.left_out": Figure((rows["left_out"] & ~rows["retired"]).sum()),
    }
    if name in ("train", "val"):
        figures[f"{name}.retired"] = Figure(rows["retired"].sum())
    return figures


def split_summary(rows: pd.DataFrame) -> str:
    """One line: the rows of each split, and how many rows are left out for which reason."""
    used = rows["split"][~rows["left_out"]]
    counts = ", ".join(f"{name} {(used == name).sum():,}" for name in SPLIT_RANK)
    retired = int(rows["retired"].sum())
    near_copies = int(rows["left_out"].sum()) - retired
    return f"{counts}; left out: {near_copies:,} near-copies of other splits, {retired:,} retired"
