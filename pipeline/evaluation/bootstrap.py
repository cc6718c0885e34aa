"""Bootstrap intervals of metrics and of paired differences.

Not `scipy.stats.bootstrap`, which has no stratified resampling and would draw and sort again for
each metric. Here every metric of both models is computed on the same resamples.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.core.reports import Figure
from pipeline.evaluation.metrics import METRICS, Index, Labels, Predictions

INTERVAL_PERCENTILES = (2.5, 97.5)  # a 95 % interval


def measure(
    predictions: Predictions, names: Iterable[str] = METRICS, *, resamples: int, seed: int
) -> dict[str, Figure]:
    """These of METRICS with their 95 % bootstrap intervals. An undefined one has the value None."""
    names = list(names)

    def values(index: Index) -> NDArray[np.float64]:
        return _metric_values(predictions.take(index), names)

    return _figures_with_intervals(values, names, predictions.y_true, resamples, seed)


def measure_difference(
    ours: Predictions,
    theirs: Predictions,
    names: Iterable[str] = METRICS,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Figure]:
    """Ours minus theirs, with a paired 95 % interval: both are measured on the same resamples.

    Raises: ValueError if the true labels differ, so that the rows are not the same.
    """
    names = list(names)
    if not np.array_equal(ours.y_true, theirs.y_true):
        raise ValueError("the two models were not scored on the same rows")

    def values(index: Index) -> NDArray[np.float64]:
        return _metric_values(ours.take(index), names) - _metric_values(theirs.take(index), names)

    return _figures_with_intervals(values, names, ours.y_true, resamples, seed)


def resampled_differences(
    ours: Predictions, theirs: Predictions, metric: str, *, resamples: int, seed: int
) -> NDArray[np.float64]:
    """(resamples,): ours minus theirs in one metric, both on the same resampled rows."""
    function = METRICS[metric].function
    indices = resampled_rows(ours.y_true, resamples, seed)
    differences = [function(ours.take(index)) - function(theirs.take(index)) for index in indices]
    return np.array(differences)


def resampled_rows(y_true: Labels, resamples: int, seed: int) -> Iterator[Index]:
    """For each resample (n,) row numbers, drawn within ham and within spam.

    Each resample has as much ham and as much spam as the rows.
    """
    rng = np.random.default_rng(seed)
    classes = np.flatnonzero(~y_true), np.flatnonzero(y_true)
    for _ in range(resamples):
        drawn = [rows[rng.integers(max(len(rows), 1), size=len(rows))] for rows in classes]
        yield np.concatenate(drawn)


def proportion_upper(k: int, n: int, confidence: float = 0.95) -> float:
    """One-sided exact upper bound of a proportion, of which k in n were observed; 1 if n is 0.

    The closed form of `scipy.stats.binomtest(k, n, "less").proportion_ci()`, whose root finder
    stops 1e-13 away from it.
    Source: Clopper and Pearson 1934.
    """
    if k >= n:
        return 1.0
    from scipy.stats import beta  # here, as its import is slow and training does not need it

    return float(beta.ppf(confidence, k + 1, n - k))


def _figures_with_intervals(
    statistic: Callable[[Index], NDArray[np.float64]],
    names: Sequence[str],
    y_true: Labels,
    resamples: int,
    seed: int,
) -> dict[str, Figure]:
    values = statistic(np.arange(len(y_true)))
    draws = np.array([statistic(index) for index in resampled_rows(y_true, resamples, seed)])
    columns = draws.reshape(resamples, len(names)).T
    figures = {}
    for name, value, column in zip(names, values, columns, strict=True):
        low, high = _interval(column)
        figures[name] = Figure(_none_if_nan(value), low=low, high=high, n=len(y_true))
    return figures


def _metric_values(predictions: Predictions, names: Sequence[str]) -> NDArray[np.float64]:
    return np.array([METRICS[name].function(predictions) for name in names])


def _interval(draws: NDArray[np.float64]) -> tuple[float | None, float | None]:
    defined = draws[~np.isnan(draws)]
    if not len(defined):
        return None, None
    low, high = np.percentile(defined, INTERVAL_PERCENTILES)
    return float(low), float(high)


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
