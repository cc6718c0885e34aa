"""A reason triggers retraining, a block prevents it, and one sentence tells which."""

from dataclasses import replace

import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params
from pipeline.retraining.triggers import (
    BLOCKS,
    REASONS,
    Params,
    RetrainingState,
    decide_retraining,
    enough_drift,
)
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
QUIET = RetrainingState(  # nothing has happened
    champion="4",
    champion_error="",
    days_since_training=12.4,
    new_rows=41,
    drifted=[False, True, False],
    poisoning_alarms="",
    changed=[],
    hours_since_run=30.0,
    runs_this_week=1,
    same_as_last_run=False,
    request="",
    force=False,
)
FOUR_CHANGES = ["pipeline/train.py", "train.units", "train.epochs", "train.seed"]
REASON_CASES = {  # a state in which each reason applies, and its sentence
    "first": (
        replace(QUIET, champion=None, days_since_training=0, hours_since_run=None),
        "there is no champion yet",
    ),
    "request": (replace(QUIET, request="a new campaign"), "requested: a new campaign"),
    "new_rows": (replace(QUIET, new_rows=1200), "1,200 new rows (200 needed)"),
    "drift": (replace(QUIET, drifted=[True, False, True]), "drift in 2 of 3 windows"),
    "age": (replace(QUIET, days_since_training=90.0), "last training 90 days ago (limit 90)"),
    "changed": (
        replace(QUIET, changed=FOUR_CHANGES),
        "changed: pipeline/train.py, train.units, train.epochs, …",
    ),
}
MANY_NEW = replace(QUIET, new_rows=300)
BLOCK_CASES = {  # a state in which each block applies, its sentence and the action
    "gone": (
        replace(MANY_NEW, champion_error="model.keras 1a: nowhere"),
        "the champion cannot be compared with: model.keras 1a: nowhere",
        "wait",
    ),
    "poisoning": (
        replace(MANY_NEW, poisoning_alarms="labels.spam (p 6e-10)"),
        "poisoning alarm: labels.spam (p 6e-10); check the labels, then force it",
        "blocked",
    ),
    "same": (
        replace(MANY_NEW, same_as_last_run=True),
        "nothing has changed since the last run",
        "wait",
    ),
    "cool_down": (
        replace(MANY_NEW, hours_since_run=3.0),
        "last run 3 hours ago (minimum 20)",
        "wait",
    ),
    "budget": (replace(MANY_NEW, runs_this_week=3), "3 runs in seven days (limit 3)", "wait"),
}


def test_every_reason_and_block_has_a_case():
    assert list(REASON_CASES) == list(REASONS)
    assert list(BLOCK_CASES) == list(BLOCKS)


def test_quiet_week_waits_and_tells_the_distance_to_each_reason():
    decision = decide_retraining(QUIET, PARAMS)
    assert decision.action == "wait"
    assert decision.sentence == (
        "no retraining: 41 new rows (200 needed); drift in 1 of 3 windows; "
        "last training 12 days ago (limit 90)"
    )
    assert not any(answer.applies for answer in decision.answers.values())


@pytest.mark.parametrize("name", REASON_CASES)
def test_one_reason_is_enough(name):
    state, sentence = REASON_CASES[name]
    decision = decide_retraining(state, PARAMS)
    assert (decision.action, decision.sentence) == ("retrain", f"retraining: {sentence}")


@pytest.mark.parametrize("name", BLOCK_CASES)
def test_one_block_is_enough_and_precedes_the_reasons(name):
    state, sentence, action = BLOCK_CASES[name]
    decision = decide_retraining(state, PARAMS)
    assert decision.action == action
    assert decision.sentence == f"no retraining: {sentence}; 300 new rows (200 needed)"


@pytest.mark.parametrize(
    ("name", "force", "action"),
    [
        ("same", False, "retrain"),
        ("cool_down", False, "retrain"),
        ("budget", False, "retrain"),
        ("poisoning", False, "blocked"),
        ("poisoning", True, "retrain"),
        ("gone", True, "wait"),  # there is nothing to compare the new model with
    ],
)
def test_request_overrides_waiting_and_force_overrides_poisoning(name, force, action):
    state = replace(BLOCK_CASES[name][0], request="now, please", force=force)
    assert decide_retraining(state, PARAMS).action == action


def test_poisoning_needs_a_person_even_without_a_reason():
    decision = decide_retraining(replace(QUIET, poisoning_alarms="campaign (p 2e-05)"), PARAMS)
    assert decision.action == "blocked"
    assert decision.sentence.startswith("no retraining: poisoning alarm: campaign (p 2e-05); ")


@pytest.mark.parametrize(
    ("drifted", "applies"),
    [
        ([], False),
        ([True], False),  # two are needed
        ([True, True], True),
        ([True, True, False], False),  # the newest has not drifted
        ([True, *[False] * 6, True], False),  # the first is before the last seven windows
        ([False, True, *[False] * 5, True], True),
    ],
)
def test_drift_needs_enough_recent_windows_and_the_newest(drifted, applies):
    assert enough_drift(replace(QUIET, drifted=drifted), PARAMS).applies is applies


def test_every_answer_is_a_figure():
    figures = decide_retraining(QUIET, PARAMS).figures()
    assert list(figures) == [*REASONS, *BLOCKS]
    assert figures["new_rows"].value == 41
    assert figures["cool_down"].value == 30


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("new_rows", 0, ".new_rows: input should be greater than or equal to 1, not 0"),
        ("runs_a_week", 0, ".runs_a_week: input should be greater than or equal to 1, not 0"),
        ("drifted", 0, ".drifted: input should be greater than or equal to 1, not 0"),
        ("windows", 0, ".windows: input should be greater than or equal to 1, not 0"),
        ("window_days", 0, ".window_days: input should be greater than 0, not 0"),
        ("oldest_days", 0, ".oldest_days: input should be greater than 0, not 0"),
        ("cool_down_hours", -1, ".cool_down_hours: input should be greater than .*, not -1"),
        ("drifted", 8, ": drifted must be at most windows"),
    ],
)
def test_params_out_of_range_are_refused(field, value, problem, tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    set_params(tmp_path, {"retrain": {field: value}})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match=rf"^params.yaml: retrain{problem}$"):
        read_params(Params, "retrain")
