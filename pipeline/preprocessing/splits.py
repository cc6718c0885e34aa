"""Assigns each message to train, val, test or the newest messages."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.hashing import unit_hash
from pipeline.core.reports import Figure
from pipeline.preprocessing import near_duplicates, time_windows
from pipeline.preprocessing.params import Params, Shares
from pipeline.preprocessing.time_windows import NEWEST, Mask

Ranks = NDArray[np.int64]  # (w,), of each wording
RANK = {"train": 1, "val": 2, "test": 3, NEWEST: 0}  # a near-copy stays in the higher split
RETIRED = -1  # the rank of a row that has retired: no other is left out for it


# ---- the split


def split_of(salt: str, campaign_key: str, shares: Shares) -> str:
    """`train`, `val` or `test`."""
    position = unit_hash(salt, campaign_key)
    return (
        "train"
        if position < shares.train
        else "val"
        if position < shares.train + shares.val
        else "test"
    )


def apply_time_windows(rows: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The rows with `split`, where NEWEST stands for train and val in the newest span, and `retired`.

    rows: message_id, received_at, campaign_key, and as `split` that of the campaign: what is test stays test
    for ever, and what is NEWEST becomes train or val when time has passed. Those rows of train and val have
    retired that are neither in the window nor in the reservoir.
    """
    test = (rows["split"] == "test").to_numpy()
    newest, old = time_windows.ages(rows["received_at"], params.newest_days, params.window_days)
    retired = old & ~test
    number = np.flatnonzero(retired)
    retired[number[time_windows.reservoir(rows.iloc[number], params.reservoir_rows)]] = False
    return rows.assign(split=rows["split"].mask(newest & ~test, NEWEST), retired=retired)


def left_out_mask(rank: Ranks, near: near_duplicates.Near) -> Mask:
    """(w,): the wordings that have a near-copy of a higher rank."""
    pairs = near.pairs
    straddling = pairs[rank[pairs[:, 0]] != rank[pairs[:, 1]]]
    lower = np.where(
        rank[straddling[:, 0]] < rank[straddling[:, 1]], straddling[:, 0], straddling[:, 1]
    )
    out = np.zeros(len(rank), np.bool_)
    out[lower] = True
    for crowd in near.crowds:
        out[crowd[rank[crowd] < rank[crowd].max()]] = True
    return out


def random_split_leak(
    rows: pd.DataFrame, near: near_duplicates.Near, train: float, among: pd.Series
) -> float:
    """The expected share of `among`'s test rows that a random split would leave a copy of in train.

    Over all random splits of the rows as they came: a row in test leaks unless all of its copies and
    near-copies escaped train, which happens with probability (1 - train) ** others.
    """
    of_wording = np.bincount(rows["wording"], rows["copies"])
    alike, pairs = of_wording.copy(), near.pairs
    np.add.at(alike, pairs[:, 0], of_wording[pairs[:, 1]])
    np.add.at(alike, pairs[:, 1], of_wording[pairs[:, 0]])
    for crowd in near.crowds:
        alike[crowd] = np.maximum(alike[crowd], of_wording[crowd].sum())
    leaks = 1 - (1 - train) ** (alike[rows["wording"]] - 1)
    return float(np.average(leaks[among], weights=rows["copies"][among]))


def assign_splits(
    messages: pd.DataFrame, params: Params
) -> tuple[pd.DataFrame, near_duplicates.Near]:
    """The messages with `campaign_key`, `split`, `retired`, `wording` and `left_out`, and the near wordings.

    Messages of one wording have one campaign key, but may come at different times.
    """
    texts = messages["text"].tolist()
    keys = [f"{key:016x}" for key in near_duplicates.campaign_keys(texts)]
    of_key = [split_of(params.salt, key, params.split) for key in keys]
    wordings, wording = near_duplicates.wordings(texts)
    rows = messages.assign(campaign_key=keys, split=pd.array(of_key, "str"), wording=wording)
    rows, near = apply_time_windows(rows, params), near_duplicates.near_copies(wordings)
    rank = np.full(len(wordings), RETIRED)  # of each wording, the highest of its rows
    np.maximum.at(rank, wording, np.where(rows["retired"], RETIRED, rows["split"].map(RANK)))
    out, newest = left_out_mask(rank, near)[wording] | rows["retired"], rows["split"] == NEWEST
    known = rows["campaign_key"].isin(rows["campaign_key"][~newest & ~out])
    return rows.assign(left_out=out | newest & known), near


def leaking_mask(rows: pd.DataFrame, near: near_duplicates.Near) -> Mask:
    """(w,): the wordings that are used in two splits, themselves or with their near-copies."""
    used = rows[~rows["left_out"]]
    splits = np.zeros(rows["wording"].max() + 1, np.int64)  # a bit a split
    np.bitwise_or.at(splits, used["wording"], 1 << used["split"].map(RANK).to_numpy(np.int64))
    several = splits & (splits - 1) > 0
    together = splits[near.pairs[:, 0]] | splits[near.pairs[:, 1]]
    several[near.pairs[together & (together - 1) > 0]] = True
    for crowd in near.crowds:
        several[crowd] |= int(np.bitwise_or.reduce(splits[crowd])).bit_count() > 1
    return several


def figures_of(rows: pd.DataFrame, near: near_duplicates.Near, params: Params) -> dict[str, Figure]:
    """Rows, spam share, left-out and retired rows a split, and how much a random split would have leaked."""
    figures = {}
    for name in RANK:
        every = rows[rows["split"] == name]
        part = every[~every["left_out"]]
        figures[f"{name}.rows"] = Figure(len(part))
        spam_share = (part["label"] == "spam").mean() if len(part) else None
        figures[f"{name}.spam_share"] = Figure(spam_share, n=len(part))
        figures[f"{name}.left_out"] = Figure((every["left_out"] & ~every["retired"]).sum())
        if name in ("train", "val"):
            figures[f"{name}.retired"] = Figure(every["retired"].sum())
    for name, among in {"messages": rows["label"].notna(), "spam": rows["label"] == "spam"}.items():
        leak = random_split_leak(rows, near, params.split.train, among)
        figures[f"random_split_leak.{name}"] = Figure(leak, n=int(rows["copies"][among].sum()))
    figures["leak"] = Figure(leaking_mask(rows, near)[rows["wording"]].sum(), n=len(rows))
    crowded = len(set[int]().union(*map(np.ndarray.tolist, near.crowds)))
    figures["crowded"] = Figure(crowded, n=rows["wording"].nunique())
    return figures
