"""From the network's score to a probability and a label: calibration on val, and a threshold by ham lost."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
import numpy as np
from numpy.typing import NDArray
from pipeline.core.errors import PipelineError
from pipeline.evaluation.bootstrap import proportion_upper
from pipeline.evaluation.metrics import ladder

Labels = NDArray[np.bool_]  # (n,), spam is True
Scores = NDArray[np.floating[Any]]  # (n,), the network's sigmoid output in [0, 1]
Probabilities = NDArray[np.float64]  # (n,), calibrated probability of spam in [0, 1]

CLIP = 1e-7  # of a score, at both ends: about the step of float32 below 1, a logit of 16.1
BUDGET = "params.yaml: evaluate.lost_ham_budget"
LEAST_SLOPE = 1e-3  # keeps the network's order where val would turn it round


@dataclass(frozen=True)
class Decision:
    """How a score becomes a probability and a label, and what that costs in ham."""

    slope: float  # of the logit of the score, above 0
    intercept: float
    threshold: float  # of the calibrated probability: spam at it and above; above 1 nothing is
    lost_ham_budget: float  # share of ham, which the expected loss keeps to
    ham: int  # messages in val
    ham_lost: int  # of these, labelled spam
    lost_ham_upper: float  # 95 % upper bound of the share of ham lost


def fit(y_true: Labels, score: Scores, lost_ham_budget: float) -> Decision:
    """The calibration and the threshold for these rows of val.

    The threshold is the lowest with (ham lost + 1) / (ham + 1) <= lost_ham_budget. Ties apart, the share
    of new ham that it loses is then Beta(lost + 1, ham - lost) distributed, so that the upper bound of
    Clopper and Pearson holds although the same rows chose the threshold.
    Raises: PipelineError, when val cannot carry it.
    Source: Platt 1999; Firth 1993 for its fit; Angelopoulos et al. 2024, Conformal Risk Control.
    """
    _check(y_true, score)
    allowed = _ham_to_lose(int(np.count_nonzero(~y_true)), lost_ham_budget)
    logit = _logit(score)
    slope, intercept = _calibration(y_true, logit)
    of_ham = np.sort(_sigmoid(slope * logit + intercept)[~y_true])[::-1]
    threshold = np.nextafter(of_ham[allowed], np.inf)  # so this ham and its equals are kept
    lost = int(np.count_nonzero(of_ham >= threshold))
    upper = proportion_upper(lost, len(of_ham))
    return Decision(slope, intercept, float(threshold), lost_ham_budget, len(of_ham), lost, upper)


def calibrate(score: Scores, decision: Decision) -> Probabilities:
    """The probability of spam, in float64:

    s = clip(score, 1e-7, 1 - 1e-7)
    1 / (1 + exp(-(slope * log(s / (1 - s)) + intercept)))

    `served_model.py` says the same two lines again, as it may import nothing from here.
    """
    return _sigmoid(decision.slope * _logit(score) + decision.intercept)


def label(probability: Probabilities, decision: Decision) -> Labels:
    """Whether each message is called spam."""
    return probability >= decision.threshold


def largest_f1_threshold(y_true: Labels, probability: Probabilities) -> float:
    """The threshold with the largest F1 on these rows, of equals the highest; promises nothing about ham."""
    thresholds, spam, ham = ladder(y_true, probability)
    f1 = 2 * spam / (np.count_nonzero(y_true) + spam + ham)
    return float(thresholds[np.argmax(f1)])


def _check(y_true: Labels, score: Scores) -> None:
    if y_true.dtype != np.bool_:  # 0 and 1 would index rows
        raise TypeError(f"y_true is bool, not {y_true.dtype}")
    for name, rows in (("ham", ~y_true), ("spam", y_true)):
        if not rows.any():
            raise PipelineError(f"evaluate: val holds no {name}; bring more labelled messages")
    if not np.isfinite(score).all():
        raise PipelineError("evaluate: the network's scores are not numbers; lower train.learning_rate")


def _ham_to_lose(ham: int, budget: float) -> int:
    """The most ham that may be lost on val: the largest k with (k + 1) / (ham + 1) <= budget."""
    share = Fraction(str(budget))  # as written: the float 0.07 lies above 7/100, and others below
    if not 0 < share < 1:
        raise PipelineError(f"{BUDGET}: {budget} is not between 0 and 1; 0.002 is one in 500")
    needed = math.ceil(1 / share) - 1
    if ham < needed:
        raise PipelineError(
            f"{BUDGET}: {budget} needs {needed} ham in val, there are {ham}; "
            "raise the budget or bring more ham"
        )
    return math.floor(share * (ham + 1)) - 1


def _calibration(y_true: Labels, logit: Probabilities) -> tuple[float, float]:
    """The slope and intercept of Firth's logistic regression, the slope LEAST_SLOPE or more.

    Jeffreys' prior keeps the slope finite where the scores separate val, and takes away most of the bias
    of few spam, by which the likeliest slope is too large; Platt's smoothed targets make it too small.
    """
    one = np.ones_like(logit)
    slope, intercept = 0.0, 0.0
    if np.ptp(logit) > 0:
        slope, intercept = _firth(np.column_stack([logit, one]), 0 * logit, y_true)
    if slope < LEAST_SLOPE:
        slope, (intercept,) = LEAST_SLOPE, _firth(one[:, None], LEAST_SLOPE * logit, y_true)
    return float(slope), float(intercept)


def _firth(columns: NDArray[np.float64], offset: Probabilities, y_true: Labels) -> NDArray[np.float64]:
    """The weights (k,) of sigmoid(offset + columns (n, k) @ weights), by damped steps of Fisher scoring."""

    def weighed(weights: NDArray[np.float64]) -> tuple[Probabilities, NDArray[np.float64], float]:
        """Probabilities, information matrix, and what is made small: loss less half its log determinant."""
        z = offset + columns @ weights
        p = _sigmoid(z)
        information = columns.T @ (columns * (p * (1 - p))[:, None])
        loss = float(np.sum(np.logaddexp(0, z) - y_true * z))
        return p, information, loss - float(np.linalg.slogdet(information)[1]) / 2

    weights = np.zeros(columns.shape[1])
    for _ in range(200):  # twenty or so are enough
        p, information, loss = weighed(weights)
        inverse = np.linalg.pinv(information, hermitian=True)
        leverage = p * (1 - p) * np.einsum("ij,jk,ik->i", columns, inverse, columns)
        step = inverse @ (columns.T @ (y_true - p + leverage * (0.5 - p)))
        while weighed(weights + step)[2] > loss:
            step = step / 2
        weights = weights + step
        if np.abs(step).max() <= 1e-10 * (1 + np.abs(weights).max()):
            break
    return weights


def _logit(score: Scores) -> Probabilities:
    s = np.clip(np.asarray(score, dtype=np.float64), CLIP, 1 - CLIP)
    return np.log(s / (1 - s))


def _sigmoid(z: NDArray[np.float64]) -> Probabilities:
    with np.errstate(over="ignore"):  # exp overflows to infinity, and 1 / infinity is the 0 that is meant
        return 1 / (1 + np.exp(-z))
