"""One statistical check of new messages, and the decision which checks raise an alarm."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.core.reports import Figure, round_figures


@dataclass(frozen=True)
class Check:
    """One comparison of new messages with a reference.

    Attributes:
        name: such as `label_share`.
        measure: what the effect is, such as "difference of shares" or "AUC".
        low, high: 95 % interval of the effect.
        p_value: of no difference, before `decide_alarms` corrects it.
        sentence: both values in words, such as "spam in 24.1% of the messages against 12.4%".
        matters: whether the effect is large enough to matter.
        n: number of messages behind the effect.
        corrected: p-value corrected for the number of checks; set by `decide_alarms`.
        alarm: set by `decide_alarms`.
    """

    name: str
    measure: str
    effect: float
    low: float | None
    high: float | None
    p_value: float
    sentence: str
    matters: bool = True
    n: int | None = None
    corrected: float | None = None
    alarm: bool = False


def decide_alarms(checks: Sequence[Check], alpha: float) -> list[Check]:
    """The checks with corrected p-values; an alarm is a significant effect that matters.

    Args:
        alpha: probability of any alarm if nothing has changed, in (0, 1).
    """
    corrected = holm([check.p_value for check in checks])
    return [
        replace(check, corrected=p_value, alarm=check.matters and p_value < alpha)
        for check, p_value in zip(checks, corrected, strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number, at most 1. The tests may depend on each other.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def alarm_verdict(checks: Sequence[Check]) -> str:
    """One line with each check that raises an alarm, after `decide_alarms`."""
    alarms = [
        f"{check.name} (p {check.corrected:.1g}): {check.sentence}"
        for check in checks
        if check.alarm
    ]
    return f"alarm: {'; '.join(alarms)}" if alarms else f"no alarm from {len(checks)} checks"


def alarm_report(checks: Sequence[Check], rows: int) -> dict[str, Any]:
    """The JSON report, after `decide_alarms`: the keys of a stage's report, `alarm` and `alarms`.

    Args:
        rows: number of new messages.
    """
    figures = {check.name: Figure(check.effect, check.low, check.high, check.n) for check in checks}
    p_values = {check.name: check.corrected for check in checks if check.alarm}
    return {
        "rows": rows,
        "figures": round_figures(figures),
        "verdict": alarm_verdict(checks),
        "alarm": bool(p_values),
        "alarms": {name: _two_digits(p_value) for name, p_value in p_values.items()},
    }


def _two_digits(p_value: float | None) -> float | None:
    """Two significant digits, as small p-values would be rounded to 0 like other figures."""
    return None if p_value is None else float(f"{p_value:.1e}")
