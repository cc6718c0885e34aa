"""Metrics of a spam filter; spam is the positive class."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Labels = NDArray[np.bool_]  # (n,), spam is True
Scores = NDArray[np.float64]  # (n,), probability of spam in [0, 1]
Index = NDArray[np.intp]  # (n,), row numbers
Scorer = Callable[[Sequence[str]], NDArray[np.floating]]  # texts to scores (n,), spam is higher


def is_spam(messages: pd.DataFrame) -> Labels:
    """(n,): which messages have the label spam."""
    return (messages["label"] == "spam").to_numpy()


@dataclass(frozen=True)
class Predictions:
    """True labels with a model's scores and predicted labels, and the counts of both.

    Raises: TypeError if labels are not bool, as 0 and 1 would index rows.
    """

    y_true: Labels
    y_score: Scores
    y_pred: Labels

    def __post_init__(self) -> None:
        if self.y_true.dtype != np.bool_ or self.y_pred.dtype != np.bool_:
            dtypes = f"{self.y_true.dtype} and {self.y_pred.dtype}"
            raise TypeError(f"y_true and y_pred must be bool, not {dtypes}")

    def take(self, index: Index | Labels) -> "Predictions":
        """These rows, by number (possibly repeated) or by mask."""
        return Predictions(
            y_true=self.y_true[index], y_score=self.y_score[index], y_pred=self.y_pred[index]
        )

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
    def counts_by_threshold(self) -> tuple[Scores, Index, Index]:
        return counts_by_threshold(self.y_true, self.y_score)


def counts_by_threshold(y_true: Labels, y_score: Scores) -> tuple[Scores, Index, Index]:
    """The k distinct scores, falling, with the spam and the ham at or above each: (k,), (k,), (k,).

    Equal scores are one threshold, so that no metric depends on the order of rows. Written by hand,
    as the bootstrap calls it thousands of times. Needs at least one row.
    """
    order = np.argsort(y_score)[::-1]
    falling = y_score[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
    spam = np.cumsum(y_true[order], dtype=np.intp)[last]
    return falling[last], spam, last + 1 - spam


# ---- of the predicted labels


def accuracy(predictions: Predictions) -> float:
    """Share of correct labels; nan without rows."""
    return _ratio(predictions.tp + predictions.tn, len(predictions.y_true), empty=math.nan)


def precision(predictions: Predictions) -> float:
    """tp / (tp + fp); 0 if nothing is labelled spam."""
    return _ratio(predictions.tp, predictions.tp + predictions.fp)


def recall(predictions: Predictions) -> float:
    """tp / (tp + fn); 0 without spam."""
    return _ratio(predictions.tp, predictions.spam)


def f1(predictions: Predictions) -> float:
    """2 tp / (2 tp + fp + fn); 0 if no row is spam or labelled spam."""
    return _ratio(2 * predictions.tp, 2 * predictions.tp + predictions.fp + predictions.fn)


def mcc(predictions: Predictions) -> float:
    """Matthews correlation coefficient in [-1, 1]; 0 if true or predicted labels are all equal."""
    tp, fp, fn, tn = predictions.tp, predictions.fp, predictions.fn, predictions.tn
    return _ratio(tp * tn - fp * fn, math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))


def spam_caught_percent(predictions: Predictions) -> float:
    """The recall in per cent: 100 tp / spam; nan without spam."""
    return 100 * _ratio(predictions.tp, predictions.spam, empty=math.nan)


def ham_blocked_percent(predictions: Predictions) -> float:
    """The false positive rate in per cent, hm% in TREC: 100 fp / ham; nan without ham."""
    return 100 * _ratio(predictions.fp, predictions.ham, empty=math.nan)


def lam_percent(predictions: Predictions) -> float:
    """Logistic average misclassification: 100 logit^-1((logit hm + logit sm) / 2), in (0, 100).

    hm and sm are the misclassified shares of ham and of spam; nan if a class is missing. Half an
    error and one row are added to each, so that shares of 0 and 1 stay finite. (CEAS 2007 added
    half a row, which is infinite at a share of 1.)
    Source: Cormack and Lynam, TREC 2005 spam track overview, which defines it without smoothing.
    """
    if not predictions.ham or not predictions.spam:
        return math.nan
    ham_odds = (predictions.fp + 0.5) / (predictions.tn + 0.5)
    spam_odds = (predictions.fn + 0.5) / (predictions.tp + 0.5)
    odds = math.sqrt(ham_odds * spam_odds)  # the mean of the logits
    return 100 * odds / (1 + odds)


# ---- of the ranking by score


def roc_auc(predictions: Predictions) -> float:
    """Area under the ROC curve: P(spam outscores ham), ties half; nan if a class is missing."""
    if not predictions.ham or not predictions.spam:
        return math.nan
    _, spam, ham = predictions.counts_by_threshold
    added = np.diff(ham, prepend=0)  # ham at each threshold
    pairs = predictions.spam * predictions.ham
    return float(np.sum(added * (spam - np.diff(spam, prepend=0) / 2))) / pairs


def one_minus_roc_auc_percent(predictions: Predictions) -> float:
    """100 (1 - roc_auc), (1-ROCA)% in TREC; nan if a class is missing."""
    return 100 * (1 - roc_auc(predictions))


def average_precision(predictions: Predictions) -> float:
    """Mean precision at the distinct scores, weighted by the gain in recall; nan without spam."""
    if not predictions.spam:
        return math.nan
    _, spam, ham = predictions.counts_by_threshold
    return float(np.sum(np.diff(spam, prepend=0) * spam / (spam + ham))) / predictions.spam


# ---- of the scores as probabilities


def log_loss(predictions: Predictions) -> float:
    """Mean of -ln(probability of the true class), in nats; nan without rows."""
    p_true = np.where(predictions.y_true, predictions.y_score, 1 - predictions.y_score)
    epsilon = np.finfo(np.float64).eps  # 2.2e-16, as scikit-learn clips: 36 nats at most
    return _mean_or_nan(-np.log(np.clip(p_true, epsilon, 1 - epsilon)))


def brier(predictions: Predictions) -> float:
    """Mean of (probability - class)^2 in [0, 1]; nan without rows."""
    return _mean_or_nan((predictions.y_score - predictions.y_true) ** 2)


def calibration_bins(predictions: Predictions, bins: int = 10) -> list[tuple[float, float, int]]:
    """(mean probability, spam share, rows) of each bin of equal mass, probability rising.

    Equal probabilities share a bin, so there may be fewer bins, of unequal mass.
    """
    order = np.argsort(predictions.y_score)
    if not len(order):
        return []
    rising = predictions.y_score[order]
    spam = predictions.y_true[order].astype(np.float64)
    quantiles = rising[np.arange(bins) * len(order) // bins]
    starts = np.unique(np.searchsorted(rising, quantiles))
    rows = np.diff(starts, append=len(order))
    probability = np.add.reduceat(rising, starts) / rows
    spam_share = np.add.reduceat(spam, starts) / rows
    return list(zip(probability.tolist(), spam_share.tolist(), rows.tolist(), strict=True))


def calibration_error(predictions: Predictions) -> float:
    """Expected calibration error in [0, 1]: mean |probability - spam share| over ten bins.

    The bins have equal mass; nan without rows. Noise increases it, and a resample has more noise,
    so its bootstrap interval lies too high.
    Source: Nixon et al. 2019, Measuring Calibration in Deep Learning (adaptive bins).
    """
    bins = calibration_bins(predictions)
    gaps = sum(rows * abs(probability - share) for probability, share, rows in bins)
    return _ratio(gaps, len(predictions.y_true), empty=math.nan)


@dataclass(frozen=True)
class Metric:
    """A metric and its direction."""

    function: Callable[[Predictions], float]
    greater_is_better: bool  # no default: with a wrong one the worse model would be promoted


METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, greater_is_better=True),
    "precision": Metric(precision, greater_is_better=True),
    "recall": Metric(recall, greater_is_better=True),
    "f1": Metric(f1, greater_is_better=True),
    "mcc": Metric(mcc, greater_is_better=True),
    "roc_auc": Metric(roc_auc, greater_is_better=True),
    "average_precision": Metric(average_precision, greater_is_better=True),
    "one_minus_roc_auc_percent": Metric(one_minus_roc_auc_percent, greater_is_better=False),
    "lam_percent": Metric(lam_percent, greater_is_better=False),
    "spam_caught_percent": Metric(spam_caught_percent, greater_is_better=True),
    "ham_blocked_percent": Metric(ham_blocked_percent, greater_is_better=False),
    "log_loss": Metric(log_loss, greater_is_better=False),
    "brier": Metric(brier, greater_is_better=False),
    "calibration_error": Metric(calibration_error, greater_is_better=False),
}


def _ratio(part: float, whole: float, empty: float = 0.0) -> float:
    return part / whole if whole else empty


def _mean_or_nan(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else math.nan
