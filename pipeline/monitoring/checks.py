"""What a comparison of two sets of messages found: checks, corrected for their number, and two reports."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.core import files
from pipeline.core.reports import DECIMALS


@dataclass(frozen=True)
class Check:
    """One question asked of two sets of messages, with its answer."""

    name: str  # `label_share`
    measure: str  # what the effect is: "difference of shares", "Kolmogorov-Smirnov distance", "AUC"
    effect: float
    low: float | None  # 95 % interval of the effect
    high: float | None
    p_value: float  # before judge corrects it
    sentence: str  # for a person, with both values: "spam share 24.1 % against 12.4 %"
    matters: bool = True  # whether the effect is large enough to care for, whatever p says
    n: int | None = None  # rows behind it
    corrected: float | None = None  # p among all checks; set by judge
    alarm: bool = False  # set by judge


def judge(checks: Sequence[Check], alpha: float) -> list[Check]:
    """The checks with their corrected p, and alarm where it is below alpha and the effect matters.

    alpha: the chance that any of them alarms where nothing has changed, in (0, 1).
    """
    corrected = holm([check.p_value for check in checks])
    return [
        replace(check, corrected=p, alarm=check.matters and p < alpha)
        for check, p in zip(checks, corrected, strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p as it counts beside the others, at most 1; holds however the tests depend on one another.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    corrected, floor = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = floor
    return corrected


def verdict(checks: Sequence[Check]) -> str:
    """One line: which of the judged checks alarm."""
    if alarming := [check for check in checks if check.alarm]:
        found = "; ".join(
            f"{check.name} (p {check.corrected:.1g}): {check.sentence}" for check in alarming
        )
        return f"alarm: {found}"
    return f"no alarm from {len(checks)} checks"


# ---- the reports


def write_json(path: Path, rows: int, checks: Sequence[Check]) -> None:
    """The report for programs: the schema of every stage's, with `alarm` and the checks that raise it.

    rows: those of the new set.
    """
    figures = {
        check.name: {
            key: _rounded(value) for key, value in _figure(check).items() if value is not None
        }
        for check in checks
    }
    alarms = {check.name: _short(check.corrected) for check in checks if check.alarm}
    report = {"rows": rows, "figures": figures, "verdict": verdict(checks)}
    files.write_json(path, report | {"alarm": bool(alarms), "alarms": alarms})


def _figure(check: Check) -> dict[str, float | int | None]:
    return {"value": check.effect, "low": check.low, "high": check.high, "n": check.n}


def _rounded(value: float | int) -> float | int:
    return value if isinstance(value, int) else round(float(value), DECIMALS) + 0.0


def _short(p_value: float | None) -> float | None:
    """A p-value of two digits that count, as the smallest ones would all round to 0."""
    return None if p_value is None else float(f"{p_value:.1e}")
