"""Metrics of a spam filter."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.bool_]  # (n,), spam is True
Scores = NDArray[np.float64]  # (n,), probability of spam in [0, 1]
Index = NDArray[np.intp]  # (n,), row numbers


@dataclass(frozen=True)
class Scored:
    """Rows of known class with a model's scores and labels, and the counts that they come to."""

    y_true: Labels
    y_score: Scores
    y_pred: Labels  # (n,), labelled spam

    def __post_init__(self) -> None:
        if (
            self.y_true.dtype != np.bool_ or self.y_pred.dtype != np.bool_
        ):  # 0 and 1 would index rows
            raise TypeError(
                f"y_true and y_pred are bool, not {self.y_true.dtype} and {self.y_pred.dtype}"
            )

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
    odds = math.sqrt(
        odds_of_ham_lost * odds_of_spam_missed
    )  # the mean of logits is that of odds, geometric
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


def _ratio(part: float, whole: float, empty: float = 0.0) -> float:
    return part / whole if whole else empty


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else math.nan


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
