"""Too small splits are said with a value that would do."""

import pandas as pd
import pytest

from pipeline.preprocessing.size_checks import (
    BUDGET_PARAM,
    LENGTH_PARAM,
    STOP_PARAM,
    budget_problem,
    cut_problem,
    missing_test_rows,
    share_cut,
    stop_share_problem,
)
from pipeline.preprocessing.splits import held_out_mask
from tests.harness.labelled_messages import TABLE


@pytest.mark.parametrize(
    ("ham", "budget", "problem"),
    [
        (499, 0.002, ""),
        (13, 0.07, "0.07 needs 14 ham, there are 13; raise it to 0.0715, or bring more ham"),
        (13, 0.0715, ""),
        (0, 0.5, "0.5 needs 1 ham, there are 0; none would do, or bring more ham"),
    ],
)
def test_budget_that_would_do(ham, budget, problem):
    assert budget_problem(ham, budget) == (problem and f"{BUDGET_PARAM}: {problem}")


def test_stop_share_that_would_do():
    table = TABLE[["campaign_key"]].assign(label="ham")
    table.loc[[5, 50], "label"] = "spam"
    positions = [
        min(share / 1000 for share in range(1001) if held_out_mask(table.loc[[i]], share / 1000, 1))
        for i in (5, 50)
    ]
    low, high = sorted(positions)
    assert stop_share_problem(table, (low + high) / 2, seed=1) == ""
    line = stop_share_problem(table, low / 2, seed=1)
    start = f"{STOP_PARAM}: {low / 2} of train's campaigns, or the rest of them, have no ham or no "
    assert line.startswith(f"{start}spam; set it to ")
    assert line.endswith(", or bring more messages")
    proposed = float(line.split("set it to ")[1].split(",")[0])
    assert stop_share_problem(table, proposed, seed=1) == ""
    hopeless = stop_share_problem(table.assign(label="ham"), 0.5, seed=1)
    assert hopeless.endswith("no ham or no spam; bring more messages")


def test_missing_test_rows_are_named_by_label():
    test = pd.DataFrame({"label": ["ham"] * 4 + ["spam"]})
    assert missing_test_rows(test, 1) == []
    assert missing_test_rows(test, 5) == [
        "test has 4 ham, and needs 5 (register.fewest_rows)",
        "test has 1 spam, and needs 5 (register.fewest_rows)",
    ]


def test_length_that_holds_99_percent_is_proposed():
    counts = list(range(1, 201))  # tokens of 200 messages
    assert (share_cut([], 9), share_cut(counts, 200), share_cut(counts, 198)) == (None, 0, 0.01)
    assert cut_problem([], 9) == cut_problem(counts, 198) == ""
    assert cut_problem(counts, 197) == (
        f"{LENGTH_PARAM}: 1.5% of train's messages have more than 197 tokens and are cut; "
        "set vectorize.sequence_length to 198 to hold 99 % of them"
    )
