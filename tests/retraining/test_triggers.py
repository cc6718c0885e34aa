"""A reason retrains, a block stops it, and one sentence says which."""

from dataclasses import replace

import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params
from pipeline.retraining import triggers
from pipeline.retraining.triggers import BLOCKS, REASONS, Params, State, decide
from tests.harness.small_project import ROOT, set_params

PARAMS = Params(
    new_rows=200,
    drifted=2,
    windows=7,
    window_days=7,
    oldest_days=90,
    cool_down_hours=20,
    runs_a_week=3,
    auto_merge=False,
)
QUIET = State(  # nothing has happened
    champion="4",
    gone="",
    days=12.4,
    new_rows=41,
    drifted=[False, True, False],
    poisoned="",
    changed=[],
    hours=30.0,
    runs=1,
    same=False,
    request="",
    force=False,
)
FOR_IT = {  # what makes each reason hold, and what it says then
    "first": (replace(QUIET, champion=None, days=0), "there is no champion yet"),
    "request": (replace(QUIET, request="a new campaign"), "asked for: a new campaign"),
    "new_rows": (replace(QUIET, new_rows=1200), "1,200 new rows of the 200 needed"),
    "drift": (
        replace(QUIET, drifted=[True, False, True]),
        "drift in 2 of 3 windows",
    ),
    "age": (replace(QUIET, days=90.0), "the last training was 90 of 90 days ago"),
    "changed": (
        replace(QUIET, changed=["pipeline/train.py", "train.units", "train.epochs", "train.seed"]),
        "changed: pipeline/train.py, train.units, train.epochs, …",
    ),
}
WANTED = replace(QUIET, new_rows=300)
AGAINST = {
    "gone": (
        replace(WANTED, gone="model.keras 1a: nowhere"),
        "no champion to compare with: not promoting (model.keras 1a: nowhere)",
        "wait",
    ),
    "poisoning": (
        replace(WANTED, poisoned="labels.spam (p 6e-10)"),
        "poisoning: alarm of labels.spam (p 6e-10); look, then force it",
        "blocked",
    ),
    "same": (replace(WANTED, same=True), "nothing has changed since the last run", "wait"),
    "cool_down": (replace(WANTED, hours=3.0), "the last run was 3 of 20 hours ago", "wait"),
    "budget": (replace(WANTED, runs=3), "3 runs in seven days, of 3", "wait"),
}


def test_every_reason_and_every_block_is_tried_here():
    assert list(FOR_IT) == list(REASONS)
    assert list(AGAINST) == list(BLOCKS)


def test_quiet_week_says_how_far_each_reason_is():
    made = decide(QUIET, PARAMS)
    assert made.action == "wait"
    assert made.sentence == (
        "did not retrain: 41 new rows of the 200 needed; drift in 1 of 3 windows; "
        "the last training was 12 of 90 days ago"
    )
    assert [name for name, answer in made.answers.items() if answer.so] == []


@pytest.mark.parametrize("name", FOR_IT)
def test_one_reason_is_enough(name):
    state, sentence = FOR_IT[name]
    made = decide(state, PARAMS)
    assert (made.action, made.sentence) == ("retrain", f"retrains: {sentence}")


@pytest.mark.parametrize("name", AGAINST)
def test_one_block_stops_it_and_is_said_before_the_reasons(name):
    state, sentence, action = AGAINST[name]
    made = decide(state, PARAMS)
    assert made.action == action
    assert made.sentence == f"did not retrain: {sentence}; 300 new rows of the 200 needed"


@pytest.mark.parametrize("name", ["same", "cool_down", "budget"])
def test_a_person_who_asks_does_not_wait(name):
    state = replace(AGAINST[name][0], request="now, please")
    assert decide(state, PARAMS).action == "retrain"


def test_a_person_who_asks_gets_no_poisoned_model_unless_it_is_forced():
    state = replace(AGAINST["poisoning"][0], request="now, please")
    assert decide(state, PARAMS).action == "blocked"
    assert decide(replace(state, force=True), PARAMS).action == "retrain"


def test_nobody_forces_a_model_in_that_has_nothing_to_be_compared_with():
    state = replace(AGAINST["gone"][0], request="now, please", force=True)
    assert decide(state, PARAMS).action == "wait"


def test_poisoned_labels_call_a_person_even_without_a_reason_to_retrain():
    made = decide(replace(QUIET, poisoned="campaign (p 2e-05)"), PARAMS)
    assert made.action == "blocked"
    assert made.sentence.startswith(
        "did not retrain: poisoning: alarm of campaign (p 2e-05); look, "
    )


@pytest.mark.parametrize(
    ("drifted", "so"),
    [
        ([], False),
        ([True], False),  # two of them are needed
        ([True, True], True),
        ([True, True, False], False),  # the newest has not
        ([True, *[False] * 6, True], False),  # the first is past
        ([False, True, *[False] * 5, True], True),
    ],
)
def test_drift_counts_in_the_last_windows_if_the_newest_has_it(drifted, so):
    assert triggers.drift(replace(QUIET, drifted=drifted), PARAMS).so is so


def test_after_no_run_nothing_cools_down():
    assert decide(replace(WANTED, hours=None), PARAMS).action == "retrain"


def test_each_answer_is_a_figure():
    figures = decide(QUIET, PARAMS).figures()
    assert list(figures) == [*REASONS, *BLOCKS]
    assert figures["new_rows"].value == 41
    assert figures["cool_down"].value == 30


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"new_rows": 0}, "new_rows, runs_a_week: 1 or more; window_days, oldest_days: above 0"),
        ({"window_days": 0}, "new_rows, runs_a_week: 1 or more; window_days, oldest_days: above 0"),
        ({"drifted": 8}, "drifted must be 1 to windows"),
        ({"drifted": 0}, "drifted must be 1 to windows"),
        ({"cool_down_hours": -1}, "cool_down_hours must be at least 0"),
    ],
)
def test_params_that_cannot_be_are_refused(changes, line, tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    set_params(tmp_path, {"retrain": changes})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match=rf"^params.yaml: retrain: {line}$"):
        read_params(Params, "retrain")
