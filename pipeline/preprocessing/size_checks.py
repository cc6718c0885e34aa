"""Whether the sizes of messages and splits fit the params of vectorize and the later stages."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.preprocessing.splits import held_out_mask
from pipeline.preprocessing.time_windows import NEWEST

BUDGET_PARAM = "params.yaml: evaluate.lost_ham_budget"
STOP_PARAM = "params.yaml: train.stop_share"
LENGTH_PARAM = "params.yaml: vectorize.sequence_length"
CUT_SHARE = 0.01  # of messages; if more are cut, a longer length is proposed
LATER_STAGES = ("train", "evaluate", "register")
STOP_SHARES = np.arange(0.05, 1, 0.05).round(2).tolist()  # that are proposed


def size_problems(
    used: Mapping[str, pd.DataFrame], sections: Mapping[str, Any], source: Path
) -> tuple[list[str], list[str]]:
    """Why later stages would stop, and warnings: all that they would say of the sizes of splits.

    A split without both labels comes alone, as more messages change the rest. The later stages
    check all of it again, and refuse params that are not numbers.

    Args:
        used: as `used_rows` returns it.
        sections: of params.yaml. Nothing that the caller writes depends on those of other stages.
        source: the file of the messages.
    """
    splits = ("train", "val", "test")
    incomplete = [name for name in splits if used[name]["label"].nunique() < 2]
    if incomplete:
        remedy = ", or lower vectorize.newest_days" if len(used[NEWEST]) else ""
        problem = f"no ham or no spam in {', '.join(incomplete)}"
        return [f"{source}: {problem}; bring more messages{remedy}"], []
    train, evaluate, register = (sections.get(name, {}) for name in LATER_STAGES)
    stops: list[str] = []
    warnings: list[str] = []
    match train:
        case {"stop_share": float(share), "seed": int(seed)}:
            stops.append(stop_share_problem(used["train"], share, seed))
    match evaluate, train:
        case {"lost_ham_budget": float(budget)}, {"out_of_fold_rows": int(few)} if 0 < budget < 1:
            parts = ("val", "train") if len(used["train"]) <= few else ("val",)
            ham = sum(int((used[part]["label"] == "ham").sum()) for part in parts)
            stops.append(budget_problem(ham, budget))
    match register:
        case {"fewest_rows": int(fewest)}:
            phrases = missing_test_rows(used["test"], fewest)
            warnings += [f"{phrase}: no model will become the champion" for phrase in phrases]
    return list(filter(None, stops)), warnings


def budget_problem(ham: int, budget: float) -> str:
    """One line if the ham is too few for the budget, in (0, 1), with one that would do; or ""."""
    needed = math.ceil(1 / Fraction(str(budget))) - 1  # exact: the float 0.07 is above 7/100
    if ham >= needed:
        return ""
    enough = f"raise it to {math.ceil(10_000 / (ham + 1)) / 10_000:g}" if ham else "none would do"
    problem = f"{budget} needs {needed} ham, there are {ham}"
    return f"{BUDGET_PARAM}: {problem}; {enough}, or bring more ham"


def stop_share_problem(train: pd.DataFrame, share: float, seed: int) -> str:
    """One line if early stopping or training lacks a label, with a share that would do; or "".

    Args:
        train: columns campaign_key and label.
    """

    def is_enough(share: float) -> bool:
        held_out = held_out_mask(train, share, seed)
        return min(train["label"][part].nunique() for part in (held_out, ~held_out)) == 2

    if is_enough(share):
        return ""
    others = sorted(filter(is_enough, STOP_SHARES), key=lambda other: abs(other - share))
    enough = f"set it to {others[0]:g}, or " if others else ""
    problem = f"{share} of train's campaigns, or the rest of them, have no ham or no spam"
    return f"{STOP_PARAM}: {problem}; {enough}bring more messages"


def missing_test_rows(test: pd.DataFrame, fewest_rows: int) -> list[str]:
    """A phrase for each label of which there are fewer rows.

    Args:
        test: the rows of test that are used, with the column label.
    """
    counts = {label: int((test["label"] == label).sum()) for label in ("ham", "spam")}
    return [
        f"test has {count} {label}, and needs {fewest_rows} (register.fewest_rows)"
        for label, count in counts.items()
        if count < fewest_rows
    ]


def share_cut(token_counts: Sequence[int], sequence_length: int) -> float | None:
    """The share of messages with more tokens than that; None without messages."""
    return float(np.mean(np.array(token_counts) > sequence_length)) if token_counts else None


def cut_problem(token_counts: Sequence[int], sequence_length: int) -> str:
    """One line if more than CUT_SHARE of messages are cut, with a length that would do; or ""."""
    share = share_cut(token_counts, sequence_length) or 0
    if share <= CUT_SHARE:
        return ""
    enough = int(np.quantile(token_counts, 1 - CUT_SHARE, method="inverted_cdf"))
    cut = f"{share:.1%} of train's messages have more than {sequence_length:,} tokens and are cut"
    return f"{LENGTH_PARAM}: {cut}; set vectorize.sequence_length to {enough} to hold 99 % of them"
