"""Writes reports in their one schema."""

import math
import numbers
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.core.files import write_json

DECIMALS = 6  # of every figure in reports/: finer than any interval, coarser than rounding noise


@dataclass(frozen=True)
class Figure:
    """One measured number: its value, its 95 % interval where there is one, and rows behind it."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None


def write_report(path: Path, rows: int, figures: Mapping[str, Figure], verdict: str) -> None:
    """A stage's report, in the one schema: `{rows, figures: {name: Figure}, verdict}`."""
    write_json(path, {"rows": rows, "figures": round_figures(figures), "verdict": verdict})


def round_figures(figures: Mapping[str, Figure]) -> dict[str, dict[str, Any]]:
    """Figures as reports hold them: rounded, without what is not there."""
    return {
        name: {
            k: round_number(v) for k, v in asdict(figure).items() if k == "value" or v is not None
        }
        for name, figure in figures.items()
    }


def round_number(value: Any) -> Any:
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    number = float(value)
    return round(number, DECIMALS) + 0.0 if math.isfinite(number) else None
