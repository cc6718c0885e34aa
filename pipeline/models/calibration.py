"""Turns the network's scores into probabilities and labels: calibration and threshold from val."""

import math
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from pipeline.core.errors import PipelineError
from pipeline.core.files import REBUILD_HINT, read_json
from pipeline.core.params import parse_params
from pipeline.evaluation.bootstrap import proportion_upper
from pipeline.evaluation.metrics import Labels, counts_by_threshold
from pipeline.preprocessing.size_checks import BUDGET_PARAM, budget_problem

RawScores = NDArray[np.floating[Any]]  # (n,), the network's output in [0, 1], not calibrated
Probabilities = NDArray[np.float64]  # (n,), calibrated probability of spam in [0, 1]

CLIP = 1e-7  # scores are clipped to [CLIP, 1 - CLIP]; about the step of float32 below 1
MIN_SLOPE = 1e-3  # keeps the network's order of messages, even if val contradicts it
MAX_STEPS = 200  # of Fisher scoring; about 20 are needed


@dataclass(frozen=True)
class DecisionRule:
    """How a score becomes a probability and a label."""

    slope: Annotated[float, pydantic.Field(gt=0)]  # of the score's logit
    intercept: float
    threshold: float  # probability from which a message is labelled spam; above 1 none is


@dataclass(frozen=True)
class Decision(DecisionRule):
    """A rule, and what it does to the ham of val; the content of decision.json."""

    lost_ham_budget: float  # maximum expected share of ham that is labelled spam
    ham: int  # ham messages in val
    ham_lost: int  # of these, labelled spam
    lost_ham_upper: float  # 95 % upper bound of the share of ham that is labelled spam


def fit_decision(y_true: Labels, score: RawScores, lost_ham_budget: float) -> Decision:
    """The calibration and the threshold for these rows of val.

    The threshold is the lowest with (ham lost + 1) / (ham + 1) <= lost_ham_budget. Without ties,
    the share of new ham that it loses has the distribution Beta(lost + 1, ham - lost). So the
    Clopper-Pearson bound holds, although the same rows chose the threshold.

    Args:
        y_true: (n,), True for spam.
        lost_ham_budget: share of ham, in (0, 1).

    Raises: PipelineError, when val has too little ham or spam.
    Source: Platt 1999; Firth 1993; Angelopoulos and others 2024, Conformal Risk Control.
    """
    _check_val(y_true, score)
    ham_to_lose = _ham_to_lose(int(np.count_nonzero(~y_true)), lost_ham_budget)
    logit = _logit(score)
    slope, intercept = _calibration(y_true, logit)
    ham = np.sort(sigmoid(slope * logit + intercept)[~y_true])[::-1]  # the most spam-like first
    threshold = np.nextafter(ham[ham_to_lose], np.inf)  # just above, so that ties are kept too
    ham_lost = int(np.count_nonzero(ham >= threshold))
    return Decision(
        slope=slope,
        intercept=intercept,
        threshold=float(threshold),
        lost_ham_budget=lost_ham_budget,
        ham=len(ham),
        ham_lost=ham_lost,
        lost_ham_upper=proportion_upper(ham_lost, len(ham)),
    )


def read_rule(path: Path) -> DecisionRule:
    """The rule in decision.json. Raises: PipelineError, if it lacks a number."""
    content = read_json(path)
    if isinstance(content, dict):
        names = [field.name for field in fields(DecisionRule)]
        content = {name: content[name] for name in names if name in content}
    try:
        return parse_params(DecisionRule, content, f"{path}: decision")
    except PipelineError as error:
        raise PipelineError(f"{str(error).splitlines()[0]}; {REBUILD_HINT}") from None


def calibrate(score: RawScores, decision: Decision) -> Probabilities:
    """(n,): the probability of spam, in float64.

    s = clip(score, 1e-7, 1 - 1e-7)
    1 / (1 + exp(-(slope * log(s / (1 - s)) + intercept)))

    `served_model.py` repeats this formula, because it may not import our code.
    """
    return sigmoid(decision.slope * _logit(score) + decision.intercept)


def label(probability: Probabilities, decision: Decision) -> Labels:
    """(n,): True for messages that are labelled spam."""
    return probability >= decision.threshold


def largest_f1_threshold(y_true: Labels, probability: Probabilities) -> float:
    """The threshold with the largest F1 on these rows, the highest of equals.

    Unlike the threshold of `fit_decision`, it does not limit the ham that is lost.
    """
    thresholds, spam, ham = counts_by_threshold(y_true, probability)
    f1 = 2 * spam / (np.count_nonzero(y_true) + spam + ham)
    return float(thresholds[np.argmax(f1)])


def sigmoid(z: NDArray[np.float64]) -> Probabilities:
    """1 / (1 + exp(-z)), without a warning where exp overflows and the result is 0."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-z))


def _logit(score: RawScores) -> NDArray[np.float64]:
    s = np.clip(np.asarray(score, dtype=np.float64), CLIP, 1 - CLIP)
    return np.log(s / (1 - s))


def _check_val(y_true: Labels, score: RawScores) -> None:
    if y_true.dtype != np.bool_:  # 0 and 1 would index rows
        raise TypeError(f"y_true is bool, not {y_true.dtype}")
    for name, rows in (("ham", ~y_true), ("spam", y_true)):
        if not rows.any():
            raise PipelineError(f"evaluate: val has no {name}; bring more labelled messages")
    if not np.isfinite(score).all():
        raise PipelineError(
            "evaluate: the network's scores are not finite; lower train.learning_rate"
        )


def _ham_to_lose(ham: int, budget: float) -> int:
    """The most ham that may be lost on val: the largest k with (k + 1) / (ham + 1) <= budget."""
    share = Fraction(str(budget))  # exact: the float 0.07 is slightly above 7/100
    if not 0 < share < 1:
        raise PipelineError(f"{BUDGET_PARAM}: {budget} is not between 0 and 1; 0.002 is one in 500")
    if problem := budget_problem(ham, budget):
        raise PipelineError(problem)
    return math.floor(share * (ham + 1)) - 1


def _calibration(y_true: Labels, logit: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and intercept by logistic regression with Firth's penalty; slope >= MIN_SLOPE.

    Without the penalty the slope is infinite where the scores separate val, and too large where
    spam is rare; with Platt's smoothed targets it is too small.
    """
    one = np.ones_like(logit)
    slope, intercept = 0.0, 0.0
    if np.ptp(logit) > 0:
        slope, intercept = _firth(np.column_stack([logit, one]), 0 * logit, y_true)
    if slope < MIN_SLOPE:
        slope = MIN_SLOPE
        (intercept,) = _firth(one[:, None], MIN_SLOPE * logit, y_true)
    return float(slope), float(intercept)


def _firth(
    columns: NDArray[np.float64], offset: NDArray[np.float64], y_true: Labels
) -> NDArray[np.float64]:
    """The weights (k,) of sigmoid(offset + columns (n, k) @ weights), by damped Fisher scoring.

    Written by hand: no library of ours has logistic regression with Firth's penalty.
    """

    def evaluated(
        weights: NDArray[np.float64],
    ) -> tuple[Probabilities, NDArray[np.float64], float]:
        """Probabilities, information matrix (k, k), and the penalised loss."""
        z = offset + columns @ weights
        p = sigmoid(z)
        information = columns.T @ (columns * (p * (1 - p))[:, None])
        loss = float(np.sum(np.logaddexp(0, z) - y_true * z))
        return p, information, loss - float(np.linalg.slogdet(information)[1]) / 2

    weights = np.zeros(columns.shape[1])
    for _ in range(MAX_STEPS):
        p, information, loss = evaluated(weights)
        inverse = np.linalg.pinv(information, hermitian=True)
        leverage = p * (1 - p) * np.einsum("ij,jk,ik->i", columns, inverse, columns)
        step = inverse @ (columns.T @ (y_true - p + leverage * (0.5 - p)))
        while evaluated(weights + step)[2] > loss:
            step = step / 2
        weights = weights + step
        if np.abs(step).max() <= 1e-10 * (1 + np.abs(weights).max()):
            break
    return weights
