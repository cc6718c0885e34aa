"""Writes the stages' reports, which all have one schema."""

import math
import numbers
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.core.files import write_json

DECIMALS = 6  # of every figure in reports/: finer than any interval, coarser than rounding errors


@dataclass(frozen=True)
class Figure:
    """A measured number; the fields that are None are left out of the report."""

    value: float | None  # None: not defined on these rows
    low: float | None = None  # lower end of the 95 % interval
    high: float | None = None  # upper end of the 95 % interval
    n: int | None = None  # rows that it was measured on


def write_report(path: Path, rows: int, figures: Mapping[str, Figure], verdict: str) -> None:
    """Writes `{rows, figures: {name: {value, low, high, n}}, verdict}`. Raises: PipelineError.

    Args:
        verdict: one sentence for the reader.
    """
    write_json(path, {"rows": rows, "figures": round_figures(figures), "verdict": verdict})


def round_figures(figures: Mapping[str, Figure]) -> dict[str, dict[str, Any]]:
    """Figures as a report contains them: rounded, without the fields that are None."""
    return {
        name: {
            key: round_number(value)
            for key, value in asdict(figure).items()
            if key == "value" or value is not None
        }
        for name, figure in figures.items()
    }


def round_number(value: Any) -> Any:
    """A number rounded to DECIMALS, None for NaN and infinity; strings and None as they are."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    number = float(value)
    return round(number, DECIMALS) + 0.0 if math.isfinite(number) else None  # -0.0 becomes 0.0
