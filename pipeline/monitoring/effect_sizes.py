"""How far a new sample is from the one before: the effect, its 95 % interval and its p-value."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

Z = 1.96  # standard errors on either side, of a 95 % interval


@dataclass(frozen=True)
class Effect:
    """What a comparison found."""

    value: float
    low: float  # 95 % interval
    high: float
    p_value: float  # of a value at least so far from no difference, where there is none


def fisher(held: Counts, rows: Counts) -> Floats:
    """(k,): p of each of k things that `held` of `rows` messages hold; (2, k) and (2,), the old ones first.

    Twice the smaller tail of Fisher's exact test, which is never too small, at any number of messages.
    """
    every, new = held.sum(axis=0), held[1]
    fewer = stats.hypergeom.cdf(new, rows.sum(), every, rows[1])
    more = stats.hypergeom.sf(new - 1, rows.sum(), every, rows[1])
    return np.minimum(1.0, 2 * np.minimum(fewer, more))


def newcombe(held: Counts, rows: Counts, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the new share minus the old one, from the score intervals of both; (2,) and (2,).

    Source: Newcombe 1998, Interval estimation for the difference between independent proportions, method 10.
    """
    z2 = stats.norm.isf((1 - confidence) / 2) ** 2
    share = held / rows
    centre = (held + z2 / 2) / (rows + z2)
    half = np.sqrt(z2 * (held * (1 - share) + z2 / 4)) / (rows + z2)
    (low_old, low_new), (high_old, high_new), (old, new) = centre - half, centre + half, share
    low = new - old - np.hypot(new - low_new, high_old - old)
    high = new - old + np.hypot(high_new - new, old - low_old)
    return float(low), float(high)


def distance(old: ArrayLike, new: ArrayLike) -> Effect:
    """The largest gap between the two distribution functions (Kolmogorov, Smirnov), in [0, 1].

    Ties make p larger, never smaller. The interval is what the bands of both functions leave open, which is
    wide, and right at any size. Source: Massart 1990, The tight constant in the Dvoretzky-Kiefer-Wolfowitz
    inequality.
    """
    tested = stats.ks_2samp(old, new, method="asymp")
    gap = float(tested.statistic)
    band = float(sum(np.sqrt(np.log(2 / 0.025) / (2 * np.size(sample))) for sample in (old, new)))
    return Effect(gap, max(0.0, gap - band), min(1.0, gap + band), float(tested.pvalue))


def auc(*samples: tuple[Floats, Floats]) -> Effect:
    """The chance that a new row outscores an old one, ties half, as the mean over (old, new) scores.

    The samples need not be independent: the mean of normals varies no more than they do, however they depend
    on each other, so their mean error is held against it. p is one-sided: of a value above 0.5.
    Source: DeLong, DeLong, Clarke-Pearson 1988 for the error; Mann and Whitney 1947 for that of chance.
    """
    area, error, by_chance = np.mean([_auc(old, new) for old, new in samples], axis=0).tolist()
    p_value = float(stats.norm.sf((area - 0.5) / by_chance))
    return Effect(area, max(0.0, area - Z * error), min(1.0, area + Z * error), p_value)


def _auc(old: Floats, new: Floats) -> tuple[float, float, float]:
    """The area, its standard error, and the one that it has by chance."""
    n, m = len(old), len(new)
    ranks = stats.rankdata(np.concatenate([old, new]))
    below = (ranks[n:] - stats.rankdata(new)) / n  # (m,), the share of old rows below each new one
    above = (
        1 - (ranks[:n] - stats.rankdata(old)) / m
    )  # (n,), the share of new rows above each old one
    error = np.sqrt(np.var(below, ddof=1) / m + np.var(above, ddof=1) / n)
    return float(below.mean()), float(error), float(np.sqrt((n + m + 1) / (12 * n * m)))
