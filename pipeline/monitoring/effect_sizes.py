"""How much a new sample differs from an old one: effect sizes, 95 % intervals and p-values."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

Z_95 = 1.96  # standard errors on each side of a 95 % interval


@dataclass(frozen=True)
class Effect:
    """An effect size with its 95 % interval and the p-value of no difference."""

    value: float
    low: float
    high: float
    p_value: float


def fisher_p_values(counts: Counts, totals: Counts) -> Floats:
    """(k,): two-sided p-values of Fisher's exact test for k shares.

    Twice the smaller tail, which is never too small, for any number of messages.

    Args:
        counts: (2, k), messages with each of k things, old messages first.
        totals: (2,), messages, old ones first.
    """
    both = counts.sum(axis=0)
    new = counts[1]
    fewer = stats.hypergeom.cdf(new, totals.sum(), both, totals[1])
    more = stats.hypergeom.sf(new - 1, totals.sum(), both, totals[1])
    return np.minimum(1.0, 2 * np.minimum(fewer, more))


def newcombe_interval(
    counts: Counts, totals: Counts, confidence: float = 0.95
) -> tuple[float, float]:
    """The interval of the new share minus the old one.

    Source: Newcombe 1998, Interval estimation for the difference between independent
    proportions, method 10.

    Args:
        counts: (2,), messages with the thing, old messages first.
        totals: (2,), messages, old ones first.
        confidence: in (0, 1).
    """
    z2 = stats.norm.isf((1 - confidence) / 2) ** 2
    share = counts / totals
    centre = (counts + z2 / 2) / (totals + z2)
    half = np.sqrt(z2 * (counts * (1 - share) + z2 / 4)) / (totals + z2)
    old, new = share
    low_old, low_new = centre - half
    high_old, high_new = centre + half
    low = new - old - np.hypot(new - low_new, high_old - old)
    high = new - old + np.hypot(high_new - new, old - low_old)
    return float(low), float(high)


def ks_distance(old: ArrayLike, new: ArrayLike) -> Effect:
    """The Kolmogorov-Smirnov distance of two samples, in [0, 1].

    Ties make the p-value larger, never smaller. The interval follows from the confidence bands of
    both distribution functions: it is wide, and valid for any sample size.

    Source: Massart 1990, The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality.
    """
    test = stats.ks_2samp(old, new, method="asymp")
    distance = float(test.statistic)
    bands = [np.sqrt(np.log(2 / 0.025) / (2 * np.size(sample))) for sample in (old, new)]
    band = float(sum(bands))
    low, high = max(0.0, distance - band), min(1.0, distance + band)
    return Effect(distance, low, high, float(test.pvalue))


def mean_auc(*samples: tuple[Floats, Floats]) -> Effect:
    """The mean over samples of the probability that a new score is above an old one (AUC).

    Ties count half. The p-value is one-sided: of an AUC above 0.5. The samples may depend on each
    other, as the standard error of a mean of normal variables is at most their mean error.

    Source: DeLong, DeLong, Clarke-Pearson 1988 for the standard error; Mann and Whitney 1947 for
    that without a difference.

    Args:
        samples: pairs of old scores (n,) and new scores (m,).
    """
    estimates = np.mean([_auc(old, new) for old, new in samples], axis=0)
    area, error, error_by_chance = estimates.tolist()
    p_value = float(stats.norm.sf((area - 0.5) / error_by_chance))
    low, high = max(0.0, area - Z_95 * error), min(1.0, area + Z_95 * error)
    return Effect(area, low, high, p_value)


def _auc(old: Floats, new: Floats) -> tuple[float, float, float]:
    """AUC, its standard error, and the standard error without a difference."""
    n, m = len(old), len(new)
    ranks = stats.rankdata(np.concatenate([old, new]))
    below = (ranks[n:] - stats.rankdata(new)) / n  # (m,), share of old scores below each new one
    above = 1 - (ranks[:n] - stats.rankdata(old)) / m  # (n,), share of new scores above each old
    error = np.sqrt(np.var(below, ddof=1) / m + np.var(above, ddof=1) / n)
    return float(below.mean()), float(error), float(np.sqrt((n + m + 1) / (12 * n * m)))
