"""Measures of a spam filter, their bootstrap intervals, and the small tables behind the plots."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.stage import Figure

Labels = NDArray[np.bool_]  # (n,), spam is True
Scores = NDArray[np.float64]  # (n,), probability of spam in [0, 1]
Index = NDArray[np.intp]  # (n,), row numbers

INTERVAL = (2.5, 97.5)  # percentiles of the bootstrap: a 95 % interval
POINTS = 200  # at most, of a curve: finer than a plot's pixels


@dataclass(frozen=True)
class Scored:
    """Rows of known class with a model's scores and labels, and the counts that they come to."""

    y_true: Labels
    y_score: Scores
    y_pred: Labels  # (n,), labelled spam

    def __post_init__(self) -> None:
        if self.y_true.dtype != np.bool_ or self.y_pred.dtype != np.bool_:  # 0 and 1 would index rows
            raise TypeError(f"y_true and y_pred are bool, not {self.y_true.dtype} and {self.y_pred.dtype}")

    def take(self, index: Index | Labels) -> "Scored":
        """These rows alone, by number or by mask, repeated as often as named."""
        return Scored(self.y_true[index], self.y_score[index], self.y_pred[index])

    @cached_property
    def spam(self) -> int:
        return int(np.count_nonzero(self.y_true))

    @cached_property
    def ham(self) -> int:
        return len(self.y_true) - self.spam

    @cached_property
    def tp(self) -> int:
        return int(np.count_nonzero(self.y_true & self.y_pred))

    @cached_property
    def fp(self) -> int:
        return int(np.count_nonzero(self.y_pred)) - self.tp

    @cached_property
    def fn(self) -> int:
        return self.spam - self.tp

    @cached_property
    def tn(self) -> int:
        return self.ham - self.fp

    @cached_property
    def ladder(self) -> tuple[Scores, Index, Index]:
        return ladder(self.y_true, self.y_score)


def ladder(y_true: Labels, y_score: Scores) -> tuple[Scores, Index, Index]:
    """The distinct scores, falling, with the spam and the ham at or above each: (k,), (k,), (k,).

    Equal scores are one rung, so no measure depends on the order of the rows. Needs one row or more.
    """
    order = np.argsort(y_score)[::-1]
    falling = y_score[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
    spam = np.cumsum(y_true[order], dtype=np.intp)[last]
    return falling[last], spam, last + 1 - spam


# ---- what the labels got right


def accuracy(scored: Scored) -> float:
    """Share of rows labelled rightly; nan without rows."""
    return _ratio(scored.tp + scored.tn, len(scored.y_true), empty=math.nan)


def precision(scored: Scored) -> float:
    """tp / (tp + fp); 0 when nothing is labelled spam."""
    return _ratio(scored.tp, scored.tp + scored.fp)


def recall(scored: Scored) -> float:
    """tp / (tp + fn); 0 without spam."""
    return _ratio(scored.tp, scored.spam)


def f1(scored: Scored) -> float:
    """2 tp / (2 tp + fp + fn); 0 without spam, true or labelled."""
    return _ratio(2 * scored.tp, 2 * scored.tp + scored.fp + scored.fn)


def mcc(scored: Scored) -> float:
    """Matthews correlation coefficient in [-1, 1]; 0 when one class alone is true, or alone is labelled."""
    tp, fp, fn, tn = scored.tp, scored.fp, scored.fn, scored.tn
    return _ratio(tp * tn - fp * fn, math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))


def spam_caught_percent(scored: Scored) -> float:
    """100 tp / spam; nan without spam."""
    return 100 * _ratio(scored.tp, scored.spam, empty=math.nan)


def ham_blocked_percent(scored: Scored) -> float:
    """100 fp / ham, which TREC calls hm%; nan without ham."""
    return 100 * _ratio(scored.fp, scored.ham, empty=math.nan)


def lam_percent(scored: Scored) -> float:
    """Logistic average misclassification: 100 logit^-1((logit hm + logit sm) / 2); nan with one class only.

    hm and sm are the misclassified shares of ham and of spam. Half an error and one row are added to each,
    so that no error and nothing but errors stay finite; CEAS 2007 added half a row, which at nothing but
    errors is infinite. With the smoothing, all ham and all spam labelled alike come to about 50.
    Source: Cormack and Lynam, TREC 2005 spam track overview, which defines it without smoothing.
    """
    if not scored.ham or not scored.spam:
        return math.nan
    odds_of_ham_lost = (scored.fp + 0.5) / (scored.tn + 0.5)
    odds_of_spam_missed = (scored.fn + 0.5) / (scored.tp + 0.5)
    odds = math.sqrt(odds_of_ham_lost * odds_of_spam_missed)  # the mean of logits is that of odds, geometric
    return 100 * odds / (1 + odds)


# ---- how the scores rank


def roc_auc(scored: Scored) -> float:
    """Area under the ROC curve: the chance that spam outscores ham, ties half; nan with one class only."""
    if not scored.ham or not scored.spam:
        return math.nan
    _, spam, ham = scored.ladder
    added = np.diff(ham, prepend=0)
    return float(np.sum(added * (spam - np.diff(spam, prepend=0) / 2))) / (scored.spam * scored.ham)


def one_minus_roc_auc_percent(scored: Scored) -> float:
    """100 (1 - roc_auc), which TREC calls (1-ROCA)%: less is better; nan with one class only."""
    return 100 * (1 - roc_auc(scored))


def average_precision(scored: Scored) -> float:
    """Precision at each distinct score, weighted by the recall gained there; nan without spam."""
    if not scored.spam:
        return math.nan
    _, spam, ham = scored.ladder
    return float(np.sum(np.diff(spam, prepend=0) * spam / (spam + ham))) / scored.spam


# ---- whether the scores are probabilities


def log_loss(scored: Scored) -> float:
    """Mean of -ln(probability of the true class), in nats; nan without rows."""
    of_truth = np.where(scored.y_true, scored.y_score, 1 - scored.y_score)
    epsilon = np.finfo(np.float64).eps  # 2.2e-16, as scikit-learn clips: 36 nats at most
    return _mean(-np.log(np.clip(of_truth, epsilon, 1 - epsilon)))


def brier(scored: Scored) -> float:
    """Mean of (probability - class)^2 in [0, 1]; nan without rows."""
    return _mean((scored.y_score - scored.y_true) ** 2)


def calibration_error(scored: Scored) -> float:
    """Expected calibration error in [0, 1]: the mean gap of probability and spam share; nan without rows.

    Ten bins of equal mass. Noise adds to it, and a resample has more noise, so its interval lies high.
    Source: Nixon et al. 2019, Measuring Calibration in Deep Learning (adaptive bins).
    """
    gaps = (n * abs(predicted - observed) for predicted, observed, n in reliability(scored))
    return _ratio(sum(gaps), len(scored.y_true), empty=math.nan)


METRICS: dict[str, Callable[[Scored], float]] = {
    "accuracy": accuracy,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "mcc": mcc,
    "roc_auc": roc_auc,
    "average_precision": average_precision,
    "one_minus_roc_auc_percent": one_minus_roc_auc_percent,
    "lam_percent": lam_percent,
    "spam_caught_percent": spam_caught_percent,
    "ham_blocked_percent": ham_blocked_percent,
    "log_loss": log_loss,
    "brier": brier,
    "calibration_error": calibration_error,
}
LESS_IS_BETTER = {
    "one_minus_roc_auc_percent",
    "lam_percent",
    "ham_blocked_percent",
    "log_loss",
    "brier",
    "calibration_error",
}


# ---- intervals


def measure(scored: Scored, *, resamples: int, seed: int) -> dict[str, Figure]:
    """Every metric on these rows with its 95 % bootstrap interval; an undefined one has no value."""
    return _figures(lambda index: _values(scored.take(index)), scored.y_true, resamples, seed)


def compare(ours: Scored, theirs: Scored, *, resamples: int, seed: int) -> dict[str, Figure]:
    """Ours minus theirs in every metric, with the paired 95 % interval: both see the same resampled rows."""
    if not np.array_equal(ours.y_true, theirs.y_true):
        raise ValueError("the two models were not scored on the same rows")
    return _figures(
        lambda index: _values(ours.take(index)) - _values(theirs.take(index)), ours.y_true, resamples, seed
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
        yield np.concatenate([rows[rng.integers(max(len(rows), 1), size=len(rows))] for rows in classes])


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


def _ratio(part: float, whole: float, empty: float = 0.0) -> float:
    return part / whole if whole else empty


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else math.nan


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


def reliability(scored: Scored, bins: int = 10) -> list[tuple[float, float, int]]:
    """(mean probability, spam share, rows) of each bin of equal mass, probability rising.

    Equal probabilities share a bin, so there may be fewer bins, of unequal mass.
    """
    order = np.argsort(scored.y_score)
    rising, spam = scored.y_score[order], scored.y_true[order].astype(np.float64)
    if not len(order):
        return []
    starts = np.unique(np.searchsorted(rising, rising[np.arange(bins) * len(order) // bins]))
    rows = np.diff(starts, append=len(order))
    predicted, observed = (np.add.reduceat(column, starts) / rows for column in (rising, spam))
    return list(zip(predicted.tolist(), observed.tolist(), rows.tolist(), strict=True))


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
