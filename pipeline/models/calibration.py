"""Chooses on val how the network's scores become probabilities and labels; see served_model.py."""

import math
from dataclasses import dataclass, field, fields
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from pipeline.core.errors import PipelineError
from pipeline.core.files import REBUILD_HINT, read_json
from pipeline.core.params import ParamsSection, parse_params, read_yaml
from pipeline.evaluation.bootstrap import proportion_upper
from pipeline.evaluation.metrics import Labels, counts_by_threshold
from pipeline.preprocessing.size_checks import BUDGET_PARAM, budget_problem

RawScores = NDArray[np.floating[Any]]  # (n,), the network's output in [0, 1], not calibrated
Sources = NDArray[np.object_]  # (n,), names of sources
Probabilities = NDArray[np.float64]  # (n,), calibrated probability of spam in [0, 1]

CLIP = 1e-7  # scores are clipped to [CLIP, 1 - CLIP]; about the step of float32 below 1
MIN_SLOPE = 1e-3  # keeps the network's order of messages, even if val contradicts it
MISSED_SHARE = 0.05  # of spam, that a confident label ham may miss
CONFIDENT_SHARE = Fraction(1, 5)  # of the budget, that a confident label spam may spend elsewhere
MAX_STEPS = 200  # of Fisher scoring; about 20 are needed


@dataclass(frozen=True)
class DecisionRule:
    """How a score becomes a probability and a label; all but the first two are probabilities.

    A message between the two `confident` ones may have either label, and is for people to review.
    """

    slope: Annotated[float, pydantic.Field(gt=0)]  # of the score's logit
    intercept: float
    threshold: float  # from which a message is labelled spam; above 1 none is
    confident_ham: float  # up to which the label ham is confident; below the threshold
    confident_spam: float  # from which the label spam is confident; the threshold, or above it


@dataclass(frozen=True)
class Decision(DecisionRule):
    """A rule, and what it does to the ham of val."""

    lost_ham_budget: float  # maximum expected share of ham that is labelled spam
    ham: int  # ham messages in val
    ham_lost: int  # of these, labelled spam
    lost_ham_upper: float  # 95 % upper bound of the share of ham that is labelled spam
    spam: int  # spam messages in val
    spam_caught: int  # of these, labelled spam


@dataclass(frozen=True)
class SourceDecisions(Decision):
    """The content of decision.json: a decision for unknown sources, and those of known ones."""

    sources: dict[str, Decision] = field(default_factory=dict)  # by the name of the source

    def of_source(self, name: str) -> Decision:
        """The decision for the messages of a source."""
        return self.sources.get(name, self)


class Budgets(ParamsSection):
    """The budgets in the section `evaluate` of params.yaml."""

    lost_ham_budget: float = pydantic.Field(
        gt=0, lt=1, description="expected share of a source's ham that may be labelled spam"
    )
    source_budgets: dict[str, Annotated[float, pydantic.Field(gt=0, lt=1)]] = pydantic.Field(
        description="the same for sources that differ, by name"
    )

    def of(self, name: str) -> float:
        """The budget of a source."""
        return self.source_budgets.get(name, self.lost_ham_budget)


def read_budgets() -> Budgets:
    """The budgets of params.yaml. Raises: PipelineError."""
    section = read_yaml().get("evaluate") or {}
    known = {name: section[name] for name in Budgets.model_fields if name in section}
    return parse_params(Budgets, known, "params.yaml: evaluate")


@dataclass(frozen=True)
class Scored:
    """Labelled messages with the network's scores."""

    y_true: Labels  # (n,), True for spam
    score: RawScores  # (n,)

    def part(self, rows: Labels) -> "Scored":
        """The rows (n,) that are True."""
        return Scored(self.y_true[rows], self.score[rows])

    @property
    def ham(self) -> int:
        """The number of ham messages."""
        return int(np.count_nonzero(~self.y_true))

    @cached_property
    def logit(self) -> NDArray[np.float64]:
        """(n,): the scores' logits."""
        return _logit(self.score)

    def kept_ham(self, budget: float) -> float:
        """The logit of the most spam-like ham that must be kept: (lost + 1) / (ham + 1) <= budget.

        Raises: PipelineError, when there is too little ham for the budget.
        """
        most_spam_like_first = np.sort(self.logit[~self.y_true])[::-1]
        return float(most_spam_like_first[_ham_to_lose(self.ham, budget)])


def fit_decisions(val: Scored, source: Sources, budgets: Budgets) -> SourceDecisions:
    """The decision of each source with enough ham for its budget and some spam, and the default.

    The default is for messages of other sources. Its threshold is the strictest of all: what it
    labels spam would be spam in each source. Its label spam is confident where the thresholds for
    a smaller budget agree too.

    Args:
        source: (n,), the name of each row's source.

    Raises: PipelineError, when val has too little ham or spam.
    """
    _check_val(val)
    parts = {name: val.part(source == name) for name in sorted(set(source))}
    known = {
        name: part
        for name, part in parts.items()
        if part.y_true.any() and not budget_problem(part.ham, budgets.of(name))
    }
    decisions = {name: fit_decision(part, budgets.of(name)) for name, part in known.items()}
    if not known:
        return SourceDecisions(**vars(fit_decision(val, budgets.lost_ham_budget)))
    kept = max(part.kept_ham(budgets.of(name)) for name, part in known.items())
    sure = max(_surely_kept_ham(part, budgets.of(name)) for name, part in known.items())
    budget = max(decision.lost_ham_budget for decision in decisions.values())
    default = _decision(val, budget, kept, sure)
    return SourceDecisions(**vars(default), sources=decisions)


def fit_decision(val: Scored, lost_ham_budget: float) -> Decision:
    """The calibration and the threshold for these rows of val, which are of one source.

    The threshold is the lowest with (ham lost + 1) / (ham + 1) <= lost_ham_budget. Without ties,
    the share of new ham that it loses has the distribution Beta(lost + 1, ham - lost). So the
    Clopper-Pearson bound holds, although the same rows chose the threshold. The label ham is
    confident where spam is as rare: (missed + 1) / (spam + 1) <= MISSED_SHARE, or none missed.

    Args:
        lost_ham_budget: share of ham, in (0, 1).

    Raises: PipelineError, when val has too little ham or spam.
    Source: Platt 1999; Firth 1993; Angelopoulos and others 2024, Conformal Risk Control.
    """
    _check_val(val)
    kept = val.kept_ham(lost_ham_budget)
    return _decision(val, lost_ham_budget, kept, kept)


def _decision(val: Scored, budget: float, kept: float, surely_kept: float) -> Decision:
    """Args: kept, surely_kept: logits above which messages are spam, and are confidently spam."""
    slope, intercept = _calibration(val.y_true, val.logit)
    probability = sigmoid(slope * val.logit + intercept)

    def just_above(logit: float) -> float:  # so that ties are kept too
        return float(np.nextafter(probability[val.logit <= logit].max(), np.inf))

    threshold = just_above(kept)
    spam = np.sort(probability[val.y_true])
    missed = max(0, math.floor(MISSED_SHARE * (len(spam) + 1)) - 1)
    ham_lost = int(np.count_nonzero(probability[~val.y_true] >= threshold))
    return Decision(
        slope=slope,
        intercept=intercept,
        threshold=threshold,
        confident_ham=float(min(np.nextafter(threshold, 0), np.nextafter(spam[missed], 0))),
        confident_spam=just_above(surely_kept),
        lost_ham_budget=budget,
        ham=val.ham,
        ham_lost=ham_lost,
        lost_ham_upper=proportion_upper(ham_lost, val.ham),
        spam=len(spam),
        spam_caught=int(np.count_nonzero(spam >= threshold)),
    )


def _surely_kept_ham(val: Scored, budget: float) -> float:
    """`kept_ham` for CONFIDENT_SHARE of the budget; with too little ham the most spam-like one."""
    smaller = float(Fraction(str(budget)) * CONFIDENT_SHARE)
    if budget_problem(val.ham, smaller):
        return float(val.logit[~val.y_true].max())
    return val.kept_ham(smaller)


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


def _check_val(val: Scored) -> None:
    if val.y_true.dtype != np.bool_:  # 0 and 1 would index rows
        raise TypeError(f"y_true is bool, not {val.y_true.dtype}")
    for name, rows in (("ham", ~val.y_true), ("spam", val.y_true)):
        if not rows.any():
            raise PipelineError(f"evaluate: val has no {name}; bring more labelled messages")
    if not np.isfinite(val.score).all():
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
