"""Writes the stages' reports, which all have one schema."""

import math
import numbers
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import PipelineError
from pipeline.core.files import REBUILD_HINT, read_json, write_json
from pipeline.core.params import parse_params

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


@dataclass(frozen=True)
class _Report:
    """The content of a report."""

    rows: int
    figures: Mapping[str, Figure]
    verdict: str


def read_report(path: Path) -> dict[str, Any]:
    """A report as `write_report` wrote it. Raises: PipelineError, if it is not of that schema."""
    report = read_json(path)
    try:
        parse_params(_Report, report, f"{path}: report")
    except PipelineError as error:
        raise PipelineError(f"{str(error).splitlines()[0]}; {REBUILD_HINT}") from None
    return dict(report)


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
