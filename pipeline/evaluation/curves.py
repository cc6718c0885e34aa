"""Tables behind the plots: precision-recall, ROC, calibration, scores and confusion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.core.files import atomic_path
from pipeline.core.schemas import (
    CALIBRATION_CURVE,
    CONFUSION_PAIRS,
    PRECISION_RECALL_CURVE,
    ROC_CURVE,
    SCORE_HISTOGRAM,
)
from pipeline.core.tables import write_csv
from pipeline.evaluation import metrics
from pipeline.evaluation.metrics import Scored, Scores

POINTS = 200  # at most, of a curve: finer than a plot's pixels


# ---- tables for plots


def precision_recall(scored: Scored) -> list[tuple[float, float, float]]:
    """(recall, precision, threshold), recall rising, at most 200; empty without spam."""
    if not scored.spam:
        return []
    threshold, spam, ham = scored.ladder
    return _curve(spam / scored.spam, spam / (spam + ham), threshold)


def roc(scored: Scored) -> list[tuple[float, float, float]]:
    """(share of ham lost, share of spam caught, threshold) from (0, 0, inf) on, at most 200.

    Empty with one class only.
    """
    if not scored.ham or not scored.spam:
        return []
    threshold, spam, ham = scored.ladder
    lost, caught = np.insert(ham / scored.ham, 0, 0), np.insert(spam / scored.spam, 0, 0)
    return _curve(lost, caught, np.insert(threshold, 0, np.inf))


def histogram(scored: Scored, bins: int = 20) -> list[tuple[float, int, int]]:
    """(centre, ham, spam) of each of the equal parts of [0, 1]."""
    ham, edges = np.histogram(scored.y_score[~scored.y_true], bins, (0, 1))
    spam, _ = np.histogram(scored.y_score[scored.y_true], bins, (0, 1))
    centres = (edges[:-1] + edges[1:]) / 2
    return list(zip(centres.tolist(), ham.tolist(), spam.tolist(), strict=True))


def _curve(
    x: NDArray[np.float64], y: NDArray[np.float64], threshold: Scores
) -> list[tuple[float, float, float]]:
    """The corners of a curve; of too many, those spread evenly along its length."""
    dx, dy = np.diff(x), np.diff(y)
    turns = np.abs(dx[:-1] * dy[1:] - dx[1:] * dy[:-1]) > 1e-12
    keep = np.flatnonzero(np.concatenate([[True], turns, [True]])[: len(x)])
    if len(keep) > POINTS:
        length = np.insert(np.cumsum(np.abs(np.diff(x[keep])) + np.abs(np.diff(y[keep]))), 0, 0)
        keep = keep[np.unique(np.searchsorted(length, np.linspace(0, length[-1], POINTS)))]
    return list(zip(x[keep].tolist(), y[keep].tolist(), threshold[keep].tolist(), strict=True))


# ---- plots


Table = tuple[tuple[str, ...], list[Any]]  # column names, rows


def _curve_table(
    schema: pa.Schema, curve: Callable[[Scored], list[Any]]
) -> Callable[[Scored], Table]:
    return lambda scored: (tuple(schema.names), curve(scored))


def confusion(scored: Scored) -> Table:
    """One row a message: what it is, what it was called."""
    called = np.where(scored.y_pred, "spam", "ham"), np.where(scored.y_true, "spam", "ham")
    return tuple(CONFUSION_PAIRS.names), list(zip(*called, strict=True))


PLOTS: dict[str, Callable[[Scored], Table]] = {
    "precision_recall": _curve_table(PRECISION_RECALL_CURVE, precision_recall),
    "roc": _curve_table(ROC_CURVE, roc),
    "calibration": _curve_table(CALIBRATION_CURVE, metrics.reliability),
    "scores": _curve_table(SCORE_HISTOGRAM, histogram),
    "confusion": confusion,
}


def write_plots(folder: Path, ours: Scored, baseline: Scored) -> None:
    """Each of PLOTS as `NAME.csv`, and the baseline's as `NAME_baseline.csv`."""
    with atomic_path(folder) as temporary:
        for name, plot in PLOTS.items():
            write_csv(temporary / f"{name}.csv", *plot(ours))
            write_csv(temporary / f"{name}_baseline.csv", *plot(baseline))
