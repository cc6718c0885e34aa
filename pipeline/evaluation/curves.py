"""Tables behind the plots: precision-recall, ROC, calibration, scores and confusion."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import sklearn.metrics
from numpy.typing import NDArray

from pipeline.core import schemas
from pipeline.evaluation.metrics import Predictions, Scores, calibration_bins

CurvePoints = list[tuple[float, float, float]]  # x, y and threshold, x rising
PlotTable = tuple[list[str], list[tuple[Any, ...]]]  # columns, rows

MAX_CURVE_POINTS = 200  # finer than the pixels of a plot


def precision_recall_curve(predictions: Predictions) -> CurvePoints:
    """(recall, precision, threshold) of at most MAX_CURVE_POINTS points; empty without spam."""
    if not predictions.spam:
        return []
    precision, recall, threshold = sklearn.metrics.precision_recall_curve(
        predictions.y_true, predictions.y_score
    )
    return _thinned(recall[-2::-1], precision[-2::-1], threshold[::-1])


def roc_curve(predictions: Predictions) -> CurvePoints:
    """(share of ham lost, share of spam caught, threshold) of at most MAX_CURVE_POINTS points.

    The first point is (0, 0, infinity). Empty if one class is missing.
    """
    if not predictions.ham or not predictions.spam:
        return []
    ham_lost, spam_caught, threshold = sklearn.metrics.roc_curve(
        predictions.y_true, predictions.y_score, drop_intermediate=False
    )
    return _thinned(ham_lost, spam_caught, threshold)


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64], threshold: Scores) -> CurvePoints:
    """The corners of a curve; if too many, some of them, evenly spaced along the curve."""
    dx, dy = np.diff(x), np.diff(y)
    is_corner = np.abs(dx[:-1] * dy[1:] - dx[1:] * dy[:-1]) > 1e-12
    kept = np.flatnonzero(np.concatenate([[True], is_corner, [True]])[: len(x)])
    if len(kept) > MAX_CURVE_POINTS:
        steps = np.abs(np.diff(x[kept])) + np.abs(np.diff(y[kept]))
        position = np.insert(np.cumsum(steps), 0, 0)
        evenly = np.linspace(0, position[-1], MAX_CURVE_POINTS)
        kept = kept[np.unique(np.searchsorted(position, evenly))]
    return list(zip(x[kept].tolist(), y[kept].tolist(), threshold[kept].tolist(), strict=True))


def score_histogram(predictions: Predictions, bins: int = 20) -> list[tuple[float, int, int]]:
    """(centre, ham rows, spam rows) of each of `bins` bins of equal width in [0, 1]."""
    ham, edges = np.histogram(predictions.y_score[~predictions.y_true], bins, (0, 1))
    spam, _ = np.histogram(predictions.y_score[predictions.y_true], bins, (0, 1))
    centres = (edges[:-1] + edges[1:]) / 2
    return list(zip(centres.tolist(), ham.tolist(), spam.tolist(), strict=True))


def confusion_pairs(predictions: Predictions) -> list[tuple[str, str]]:
    """(predicted label, true label) of each message, `ham` or `spam`."""
    predicted = np.where(predictions.y_pred, "spam", "ham")
    actual = np.where(predictions.y_true, "spam", "ham")
    return list(zip(predicted.tolist(), actual.tolist(), strict=True))


# Each plot: the columns of its table, and the function that makes its rows.
PLOTS: dict[str, tuple[pa.Schema, Callable[[Predictions], list[Any]]]] = {
    "precision_recall": (schemas.PRECISION_RECALL_CURVE, precision_recall_curve),
    "roc": (schemas.ROC_CURVE, roc_curve),
    "calibration": (schemas.CALIBRATION_CURVE, calibration_bins),
    "scores": (schemas.SCORE_HISTOGRAM, score_histogram),
    "confusion": (schemas.CONFUSION_PAIRS, confusion_pairs),
}


def plot_tables(predictions: Predictions, suffix: str = "") -> dict[str, PlotTable]:
    """The table of each of PLOTS; its key is the plot's name with the suffix."""
    return {
        f"{name}{suffix}": (schema.names, rows(predictions))
        for name, (schema, rows) in PLOTS.items()
    }
