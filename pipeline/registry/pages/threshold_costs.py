"""What a threshold costs: spam caught and ham lost, for the slider of the decision report."""

import math
from typing import Any, NamedTuple

from pipeline.registry.pages.report_inputs import ReportInputs

MILLION = 1_000_000


class Cost(NamedTuple):
    """Counts of messages."""

    spam_caught: int
    spam_missed: int
    ham_lost: int
    ham_kept: int


class ThresholdCosts(NamedTuple):
    """The costs in service, and what the slider computes others from."""

    on_test: Cost
    per_million: Cost  # of messages with as much spam as the test set, three digits each
    spam_percent: int  # of the test set
    curve: dict[str, Any]  # for the script: ham, spam, start, and points by rising threshold


def threshold_costs(inputs: ReportInputs) -> ThresholdCosts | None:
    """The costs on the test set; None if the reports lack its counts or its ROC curve."""
    counts, roc = inputs.confusion, inputs.tables.get("roc")
    if not counts or not roc:
        return None
    on_test = Cost(
        spam_caught=counts["spam", "spam"],
        spam_missed=counts["spam", "ham"],
        ham_lost=counts["ham", "spam"],
        ham_kept=counts["ham", "ham"],
    )
    spam, ham = on_test.spam_caught + on_test.spam_missed, on_test.ham_lost + on_test.ham_kept
    columns = (roc["threshold"], roc["spam_caught"], roc["ham_lost"])
    points = sorted(row for row in zip(*columns, strict=True) if math.isfinite(row[0]))
    if not points:
        return None
    served = inputs.evaluated["threshold"]["value"]
    distances = [abs(threshold - served) for threshold, _, _ in points]
    start = distances.index(min(distances))
    return ThresholdCosts(
        on_test=on_test,
        per_million=Cost(*(_three_digits(MILLION * count / (spam + ham)) for count in on_test)),
        spam_percent=round(100 * spam / (spam + ham)),
        curve={"spam": spam, "ham": ham, "start": start, "points": points},
    )


def _three_digits(count: float) -> int:
    """The count with three significant digits: more would be false precision."""
    return int(float(f"{count:.3g}"))
