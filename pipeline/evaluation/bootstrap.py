"""Bootstrap confidence intervals of metrics and of paired differences."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.core.reports import Figure
from pipeline.evaluation.metrics import METRICS, Index, Labels, Scored

INTERVAL = (2.5, 97.5)  # percentiles of the bootstrap: a 95 % interval


# ---- intervals


def measure(scored: Scored, *, resamples: int, seed: int) -> dict[str, Figure]:
    """Every metric on these rows with its 95 % bootstrap interval; an undefined one has no value."""
    return _figures(lambda index: _values(scored.take(index)), scored.y_true, resamples, seed)


def compare(ours: Scored, theirs: Scored, *, resamples: int, seed: int) -> dict[str, Figure]:
    """Ours minus theirs in every metric, with the paired 95 % interval: both see the same resampled rows."""
    if not np.array_equal(ours.y_true, theirs.y_true):
        raise ValueError("the two models were not scored on the same rows")
    return _figures(
        lambda index: _values(ours.take(index)) - _values(theirs.take(index)),
        ours.y_true,
        resamples,
        seed,
    )


def differences(
    ours: Scored, theirs: Scored, metric: str, *, resamples: int, seed: int
) -> NDArray[np.float64]:
    """(resamples,): ours minus theirs in one metric, both on the same resampled rows each time."""
    value = METRICS[metric]
    rows = _resampled(ours.y_true, resamples, seed)
    return np.array([value(ours.take(index)) - value(theirs.take(index)) for index in rows])


def proportion_upper(k: int, n: int, confidence: float = 0.95) -> float:
    """One-sided upper bound of a share of which k in n were seen; 1 without rows.

    Source: Clopper and Pearson 1934, exact: the share at which k or fewer have chance 1 - confidence.
    """
    if k >= n:
        return 1.0
    from scipy.stats import beta  # here, as its import is slow and training needs none of it

    return float(beta.ppf(confidence, k + 1, n - k))


def _figures(
    statistic: Callable[[Index], NDArray[np.float64]], y_true: Labels, resamples: int, seed: int
) -> dict[str, Figure]:
    values = statistic(np.arange(len(y_true)))
    draws = np.array([statistic(index) for index in _resampled(y_true, resamples, seed)])
    columns = draws.reshape(resamples, len(METRICS)).T
    return {
        name: Figure(_defined(value), *_interval(column), n=len(y_true))
        for name, value, column in zip(METRICS, values, columns, strict=True)
    }


def _resampled(y_true: Labels, resamples: int, seed: int) -> Iterator[Index]:
    """Row numbers of each resample: ham and spam drawn apart, so that their counts stay."""
    rng = np.random.default_rng(seed)
    classes = np.flatnonzero(~y_true), np.flatnonzero(y_true)
    for _ in range(resamples):
        yield np.concatenate(
            [rows[rng.integers(max(len(rows), 1), size=len(rows))] for rows in classes]
        )


def _values(scored: Scored) -> NDArray[np.float64]:
    return np.array([metric(scored) for metric in METRICS.values()])


def _interval(draws: NDArray[np.float64]) -> tuple[float | None, float | None]:
    defined = draws[~np.isnan(draws)]
    if not len(defined):
        return None, None
    low, high = np.percentile(defined, INTERVAL)
    return float(low), float(high)


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
