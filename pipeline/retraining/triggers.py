"""Why to retrain, and why not: one question each about what is new since champion and last run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.core.reports import Figure


@dataclass(frozen=True)
class Params:
    new_rows: int  # labelled messages that are a reason
    drifted: int  # of the last `windows`, so many and the newest must have drifted
    windows: int
    window_days: float
    oldest_days: float  # since the last training that are a reason
    cool_down_hours: float  # after a run; a person's request does not wait
    runs_a_week: int  # at most; a person's request counts, and needs none left
    auto_merge: bool  # whether a winner goes to the default branch by itself

    def __post_init__(self) -> None:
        if min(self.new_rows, self.runs_a_week) < 1 or min(self.window_days, self.oldest_days) <= 0:
            raise ValueError("new_rows, runs_a_week: 1 or more; window_days, oldest_days: above 0")
        if not 1 <= self.drifted <= self.windows:
            raise ValueError("drifted must be 1 to windows")
        if self.cool_down_hours < 0:
            raise ValueError("cool_down_hours must be at least 0")


@dataclass(frozen=True)
class State:
    """How things stand, as far as a decision needs it."""

    champion: str | None  # its version
    gone: str  # why there is none to compare with, where the ledger names one
    days: float  # since it was judged, or since the last run if that is later
    new_rows: int  # labelled messages that neither it nor the last run knows
    drifted: Sequence[bool]  # windows with messages enough, the newest last
    poisoned: str  # the checks that alarm, if any
    changed: Sequence[
        str
    ]  # code and params that a model depends on, other than its and the last run's
    hours: float | None  # since the last run; None where there was none
    runs: int  # in the last seven days
    same: bool  # whether the last run had the data, code and params of now
    request: str  # a person's reason
    force: bool  # a person has looked at what blocks


@dataclass(frozen=True)
class Answer:
    """Whether it is so, in a few words or none, and the number behind it."""

    so: bool
    sentence: str
    value: float | None


Question = Callable[[State, Params], Answer]

# ---- reasons


def first(state: State, params: Params) -> Answer:
    """There is no champion yet."""
    none = state.champion is None and not state.gone
    return Answer(none, "there is no champion yet" if none else "", float(none))


def request(state: State, params: Params) -> Answer:
    """Somebody asked."""
    asked = bool(state.request)
    return Answer(asked, f"asked for: {state.request}" if asked else "", float(asked))


def new_rows(state: State, params: Params) -> Answer:
    """Labelled messages that no training has seen."""
    said = f"{state.new_rows:,} new rows of the {params.new_rows:,} needed"
    return Answer(state.new_rows >= params.new_rows, said, state.new_rows)


def drift(state: State, params: Params) -> Answer:
    """Some of the last windows differ from what the champion knows, and so does the newest."""
    last = state.drifted[-params.windows :]
    enough = sum(last) >= params.drifted and bool(last[-1])
    said = f"drift in {sum(last)} of {len(last)} windows"
    return Answer(enough, said, sum(last))


def age(state: State, params: Params) -> Answer:
    """The last training was long ago."""
    said = f"the last training was {state.days:.0f} of {params.oldest_days:.0f} days ago"
    return Answer(state.champion is not None and state.days >= params.oldest_days, said, state.days)


def changed(state: State, params: Params) -> Answer:
    """Code or params that a model depends on are others now than the champion's and the last run's."""
    named = ", ".join([*state.changed[:3], *(["…"] if len(state.changed) > 3 else [])])
    return Answer(bool(named), f"changed: {named}" if named else "", len(state.changed))


REASONS: dict[str, Question] = {
    "first": first,
    "request": request,
    "new_rows": new_rows,
    "drift": drift,
    "age": age,
    "changed": changed,
}

# ---- what stands against it


def gone(state: State, params: Params) -> Answer:
    """The ledger names a champion, and its files are nowhere."""
    said = f"no champion to compare with: not promoting ({state.gone})" if state.gone else ""
    return Answer(bool(state.gone), said, float(bool(state.gone)))


def poisoning(state: State, params: Params) -> Answer:
    """The new labels look tampered with, and nobody has looked."""
    blocks = bool(state.poisoned) and not state.force
    said = f"poisoning: alarm of {state.poisoned}; look, then force it" if blocks else ""
    return Answer(blocks, said, float(bool(state.poisoned)))


def same(state: State, params: Params) -> Answer:
    """The last run had the same data, code and params, and so would have the same end."""
    idle = state.same and not state.request
    said = "nothing has changed since the last run" if idle else ""
    return Answer(idle, said, float(state.same))


def cool_down(state: State, params: Params) -> Answer:
    """The last run was a short time ago."""
    waits = state.hours is not None and state.hours < params.cool_down_hours and not state.request
    said = (
        f"the last run was {state.hours:.0f} of {params.cool_down_hours:.0f} hours ago"
        if waits
        else ""
    )
    return Answer(waits, said, state.hours)


def budget(state: State, params: Params) -> Answer:
    """There were runs enough this week."""
    spent = state.runs >= params.runs_a_week and not state.request
    said = f"{state.runs} runs in seven days, of {params.runs_a_week}" if spent else ""
    return Answer(spent, said, state.runs)


BLOCKS: dict[str, Question] = {
    "gone": gone,
    "poisoning": poisoning,
    "same": same,
    "cool_down": cool_down,
    "budget": budget,
}
ASK_A_PERSON = ("poisoning",)  # blocks that need one, whether or not there is a reason

# ---- the decision


@dataclass(frozen=True)
class Decision:
    """What to do, in one sentence, and each answer behind it."""

    action: str  # of ACTIONS in retrain.py: `retrain`, `wait` or `blocked`
    sentence: str
    answers: Mapping[str, Answer]

    def figures(self) -> dict[str, Figure]:
        """The number behind each answer, by its name."""
        return {name: Figure(answer.value) for name, answer in self.answers.items()}


def decide(state: State, params: Params) -> Decision:
    """Retrains for any reason, unless something stands against it."""
    reasons = {name: question(state, params) for name, question in REASONS.items()}
    blocks = {name: question(state, params) for name, question in BLOCKS.items()}
    for_it = [answer.sentence for answer in reasons.values() if answer.so]
    against = {name: answer.sentence for name, answer in blocks.items() if answer.so}
    answers = {**reasons, **blocks}
    if for_it and not against:
        return Decision("retrain", f"retrains: {'; '.join(for_it)}", answers)
    told = for_it or [answer.sentence for answer in reasons.values() if answer.sentence]
    action = "blocked" if any(name in against for name in ASK_A_PERSON) else "wait"
    return Decision(action, f"did not retrain: {'; '.join([*against.values(), *told])}", answers)
