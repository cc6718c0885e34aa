"""Decides from the current state whether to retrain.

A reason (REASONS) asks for retraining, a block (BLOCKS) prevents it. Each is one function.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import pydantic
from pydantic import Field

from pipeline.core.params import ParamsSection
from pipeline.core.reports import Figure
from pipeline.monitoring.performance_estimate import ExpectedPerformance, percent_text
from pipeline.retraining.shadow_trial import ShadowRule


class Params(ParamsSection):
    """Section `retrain` of params.yaml."""

    new_rows: int = Field(
        ge=1, description="number of new labelled messages that is a reason to retrain"
    )
    drifted: int = Field(
        ge=1, description="number of drifted windows, with the newest among them, that is a reason"
    )
    windows: int = Field(ge=1, description="number of latest windows that are checked for drift")
    window_days: float = Field(gt=0, description="length of a window, in days")
    oldest_days: float = Field(
        gt=0, description="days since the last training that are a reason to retrain"
    )
    expected_ham_lost: float = Field(
        gt=0,
        le=1,
        description="share of ham that the champion is expected to lose of what it served, above "
        "which is a reason to retrain",
    )
    expected_recall: float = Field(
        ge=0,
        lt=1,
        description="share of spam that it is expected to catch, below which is a reason",
    )
    cool_down_hours: float = Field(
        ge=0, description="hours to wait after a run; a person's request does not wait"
    )
    runs_a_week: int = Field(
        ge=1,
        description="maximum number of runs in seven days; requests count, but are not limited",
    )
    auto_merge: bool = Field(
        description="whether a winner goes to the default branch, and into service, by itself"
    )
    shadow: ShadowRule = Field(description="trial of a winner before it is proposed")

    @pydantic.model_validator(mode="after")
    def _check_drifted(self) -> Self:
        if self.drifted > self.windows:
            raise ValueError("drifted must be at most windows")
        return self


@dataclass(frozen=True)
class RetrainingState:
    """Everything that the decision depends on."""

    champion: str | None  # its version
    champion_error: str  # why the champion that the ledger names cannot be used; else empty
    days_since_training: float  # since the champion was judged, or since a later run
    new_rows: int  # labelled messages unknown to the champion and to the last run
    drifted: Sequence[bool]  # for each window with enough messages, the newest last
    expected: ExpectedPerformance  # of the champion, on what it served in the last window
    poisoning_alarms: str  # names of the checks that raise an alarm; else empty
    changed: Sequence[str]  # code files and params that differ from the champion and the last run
    hours_since_run: float | None  # None if there was no run
    runs_this_week: int  # in the last seven days
    same_as_last_run: bool  # the last run had the same data, code and params
    request: str  # a person's reason; else empty
    force: bool  # a person has checked the blocked labels


@dataclass(frozen=True)
class Answer:
    """The answer of one reason or block.

    `sentence` is empty if there is nothing to say, `value` is the number behind the answer.
    """

    applies: bool
    sentence: str
    value: float | None


Question = Callable[[RetrainingState, Params], Answer]


# ---- reasons to retrain


def no_champion(state: RetrainingState, params: Params) -> Answer:
    """There is no champion yet."""
    missing = state.champion is None and not state.champion_error
    return Answer(missing, "there is no champion yet" if missing else "", float(missing))


def requested(state: RetrainingState, params: Params) -> Answer:
    """A person asked for it."""
    asked = bool(state.request)
    return Answer(asked, f"requested: {state.request}" if asked else "", float(asked))


def enough_new_rows(state: RetrainingState, params: Params) -> Answer:
    """There are enough labelled messages that no training has seen."""
    sentence = f"{state.new_rows:,} new rows ({params.new_rows:,} needed)"
    return Answer(state.new_rows >= params.new_rows, sentence, state.new_rows)


def enough_drift(state: RetrainingState, params: Params) -> Answer:
    """Enough of the last windows differ from the champion's data, and so does the newest."""
    windows = state.drifted[-params.windows :]
    enough = sum(windows) >= params.drifted and bool(windows[-1])
    sentence = f"drift in {sum(windows)} of {len(windows)} windows"
    return Answer(enough, sentence, sum(windows))


def old_training(state: RetrainingState, params: Params) -> Answer:
    """The last training was long ago."""
    days = state.days_since_training
    sentence = f"last training {days:.0f} days ago (limit {params.oldest_days:.0f})"
    return Answer(state.champion is not None and days >= params.oldest_days, sentence, days)


def changed_inputs(state: RetrainingState, params: Params) -> Answer:
    """Code or params that the model depends on differ from the champion's and the last run's."""
    more = ["…"] if len(state.changed) > 3 else []
    names = ", ".join([*state.changed[:3], *more])
    return Answer(bool(names), f"changed: {names}" if names else "", len(state.changed))


def ham_lost_in_service(state: RetrainingState, params: Params) -> Answer:
    """The champion is expected to lose too much ham; the limit is below the whole interval."""
    figure, limit = state.expected.ham_lost, params.expected_ham_lost
    if figure.low is None:
        return Answer(False, "", None)
    sentence = f"expected ham lost {percent_text(figure)} (limit {limit:.1%})"
    return Answer(figure.low > limit, sentence, figure.value)


def spam_missed_in_service(state: RetrainingState, params: Params) -> Answer:
    """The champion is expected to miss too much spam; the limit is above the whole interval."""
    figure, limit = state.expected.recall, params.expected_recall
    if figure.high is None:
        return Answer(False, "", None)
    sentence = f"expected recall {percent_text(figure)} (limit {limit:.1%})"
    return Answer(figure.high < limit, sentence, figure.value)


REASONS: dict[str, Question] = {
    "first": no_champion,
    "request": requested,
    "new_rows": enough_new_rows,
    "drift": enough_drift,
    "age": old_training,
    "changed": changed_inputs,
    "expected_ham_lost": ham_lost_in_service,
    "expected_recall": spam_missed_in_service,
}


# ---- blocks


def champion_lost(state: RetrainingState, params: Params) -> Answer:
    """The ledger names a champion that cannot be loaded or rebuilt."""
    lost = bool(state.champion_error)
    sentence = f"the champion cannot be compared with: {state.champion_error}" if lost else ""
    return Answer(lost, sentence, float(lost))


def poisoning_suspected(state: RetrainingState, params: Params) -> Answer:
    """The new labels look tampered with, and no person has checked them."""
    alarms = state.poisoning_alarms
    blocks = bool(alarms) and not state.force
    sentence = f"poisoning alarm: {alarms}; check the labels, then force it" if blocks else ""
    return Answer(blocks, sentence, float(bool(alarms)))


def nothing_changed(state: RetrainingState, params: Params) -> Answer:
    """The last run had the same data, code and params, so another would end the same."""
    blocks = state.same_as_last_run and not state.request
    sentence = "nothing has changed since the last run" if blocks else ""
    return Answer(blocks, sentence, float(state.same_as_last_run))


def cooling_down(state: RetrainingState, params: Params) -> Answer:
    """The last run was a short time ago."""
    hours, minimum = state.hours_since_run, params.cool_down_hours
    if hours is None or hours >= minimum or state.request:
        return Answer(False, "", hours)
    return Answer(True, f"last run {hours:.0f} hours ago (minimum {minimum:.0f})", hours)


def weekly_limit_reached(state: RetrainingState, params: Params) -> Answer:
    """There were enough runs this week."""
    runs, limit = state.runs_this_week, params.runs_a_week
    blocks = runs >= limit and not state.request
    return Answer(blocks, f"{runs} runs in seven days (limit {limit})" if blocks else "", runs)


@dataclass(frozen=True)
class Block:
    """A block, and whether a person must look at it even if there is no reason to retrain."""

    question: Question
    needs_review: bool = False


BLOCKS = {
    "gone": Block(champion_lost, needs_review=True),
    "poisoning": Block(poisoning_suspected, needs_review=True),
    "same": Block(nothing_changed),
    "cool_down": Block(cooling_down),
    "budget": Block(weekly_limit_reached),
}


# ---- the decision


@dataclass(frozen=True)
class RetrainingDecision:
    """What to do, in one sentence, and the answers behind it."""

    action: str  # a key of ACTIONS in retrain.py
    sentence: str
    answers: Mapping[str, Answer]  # by the names of REASONS and BLOCKS

    def figures(self) -> dict[str, Figure]:
        """The number behind each answer."""
        return {name: Figure(answer.value) for name, answer in self.answers.items()}


def decide_retraining(state: RetrainingState, params: Params) -> RetrainingDecision:
    """Retrains if there is any reason and no block.

    Returns: a decision with the action `retrain`, `wait`, or `blocked` if a person must look.
    """
    reasons = {name: question(state, params) for name, question in REASONS.items()}
    blocks = {name: block.question(state, params) for name, block in BLOCKS.items()}
    answers = {**reasons, **blocks}
    grounds = [answer.sentence for answer in reasons.values() if answer.applies]
    obstacles = {name: answer.sentence for name, answer in blocks.items() if answer.applies}
    if grounds and not obstacles:
        return RetrainingDecision("retrain", f"retraining: {'; '.join(grounds)}", answers)
    shown = grounds or [answer.sentence for answer in reasons.values() if answer.sentence]
    action = "blocked" if any(BLOCKS[name].needs_review for name in obstacles) else "wait"
    sentence = f"no retraining: {'; '.join([*obstacles.values(), *shown])}"
    return RetrainingDecision(action, sentence, answers)
