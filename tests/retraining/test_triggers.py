"""A reason triggers retraining, a block prevents it, and one sentence tells which."""

from dataclasses import replace

import pytest

from pipeline.core.reports import Figure
from pipeline.monitoring.performance_estimate import ExpectedPerformance
from pipeline.retraining.shadow_trial import ShadowRule
from pipeline.retraining.triggers import Params, RetrainingState, decide_retraining, enough_drift

PARAMS = Params(
    new_rows=200,
    drifted=2,
    windows=7,
    window_days=7,
    oldest_days=90,
    expected_ham_lost=0.02,
    expected_recall=0.5,
    cool_down_hours=20,
    runs_a_week=3,
    auto_merge=False,
    shadow=ShadowRule(days=0, messages=1000, disagreement=0.05, ham_lost_margin=0.01),
)
QUIET = RetrainingState(  # nothing has happened
    champion="4",
    champion_error="",
    days_since_training=12.4,
    new_rows=41,
    drifted=[False, True, False],
    expected=ExpectedPerformance(Figure(None), Figure(None)),
    poisoning_alarms="",
    changed=[],
    hours_since_run=30.0,
    runs_this_week=1,
    same_as_last_run=False,
    request="",
    force=False,
)
REASON_CASES = {  # what makes each reason apply, and its sentence
    "first": ({"champion": None, "hours_since_run": None}, "there is no champion yet"),
    "request": ({"request": "a new campaign"}, "requested: a new campaign"),
    "new_rows": ({"new_rows": 1200}, "1,200 new rows (200 needed)"),
    "drift": ({"drifted": [True, False, True]}, "drift in 2 of 3 windows"),
    "age": ({"days_since_training": 90.0}, "last training 90 days ago (limit 90)"),
    "changed": ({"changed": ["train.py", "b", "c", "d"]}, "changed: train.py, b, c, …"),
    "expected_ham_lost": (
        {"expected": ExpectedPerformance(Figure(0.04, 0.021, 0.05), Figure(None))},
        "expected ham lost 4.0% [2.1%, 5.0%] (limit 2.0%)",
    ),
    "expected_recall": (
        {"expected": ExpectedPerformance(Figure(None), Figure(0.4, 0.3, 0.499))},
        "expected recall 40.0% [30.0%, 49.9%] (limit 50.0%)",
    ),
}
BLOCK_CASES = {  # what makes each block apply, and its sentence
    "gone": ({"champion_error": "lost"}, "the champion cannot be compared with: lost"),
    "poisoning": (
        {"poisoning_alarms": "labels.spam (p 6e-10)"},
        "poisoning alarm: labels.spam (p 6e-10); check the labels, then force it",
    ),
    "same": ({"same_as_last_run": True}, "nothing has changed since the last run"),
    "cool_down": ({"hours_since_run": 3.0}, "last run 3 hours ago (minimum 20)"),
    "budget": ({"runs_this_week": 3}, "3 runs in seven days (limit 3)"),
}


def test_quiet_week_waits_and_tells_the_distance_to_each_reason():
    decision = decide_retraining(QUIET, PARAMS)
    assert decision.action == "wait"
    assert decision.sentence == (
        "no retraining: 41 new rows (200 needed); drift in 1 of 3 windows; "
        "last training 12 days ago (limit 90)"
    )
    assert not any(answer.applies for answer in decision.answers.values())
    figures = decision.figures()
    assert list(figures) == [*REASON_CASES, *BLOCK_CASES]
    assert (figures["new_rows"].value, figures["cool_down"].value) == (41, 30)


@pytest.mark.parametrize("name", REASON_CASES)
def test_one_reason_is_enough(name):
    change, sentence = REASON_CASES[name]
    decision = decide_retraining(replace(QUIET, **change), PARAMS)
    assert (decision.action, decision.sentence) == ("retrain", f"retraining: {sentence}")


@pytest.mark.parametrize("name", BLOCK_CASES)
def test_one_block_is_enough_and_precedes_the_reasons(name):
    change, sentence = BLOCK_CASES[name]
    without_reason = decide_retraining(replace(QUIET, **change), PARAMS)
    decision = decide_retraining(replace(QUIET, new_rows=300, **change), PARAMS)
    action = "blocked" if name in ("poisoning", "gone") else "wait"
    assert (without_reason.action, decision.action) == (action, action)
    assert decision.sentence == f"no retraining: {sentence}; 300 new rows (200 needed)"


@pytest.mark.parametrize(
    ("name", "force", "action"),
    [
        *((name, False, "retrain") for name in ("same", "cool_down", "budget")),
        ("poisoning", False, "blocked"),
        ("poisoning", True, "retrain"),
        ("gone", True, "blocked"),  # there is nothing to compare the new model with
    ],
)
def test_request_overrides_waiting_and_force_overrides_poisoning(name, force, action):
    change, _ = BLOCK_CASES[name]
    state = replace(QUIET, **change, request="now, please", force=force)
    assert decide_retraining(state, PARAMS).action == action


@pytest.mark.parametrize(
    ("drifted", "applies"),
    [
        ([], False),
        ([True], False),  # two are needed
        ([True, True, False], False),  # the newest has not drifted
        ([True, *[False] * 6, True], False),  # the first is before the last seven windows
        ([False, True, *[False] * 5, True], True),
    ],
)
def test_drift_needs_enough_recent_windows_and_the_newest(drifted, applies):
    assert enough_drift(replace(QUIET, drifted=drifted), PARAMS).applies is applies


def test_limit_inside_the_interval_is_no_reason_to_retrain():
    expected = ExpectedPerformance(Figure(0.03, 0.02, 0.04), Figure(0.4, 0.3, 0.5))
    decision = decide_retraining(replace(QUIET, expected=expected), PARAMS)
    assert decision.action == "wait"
    assert decision.sentence.endswith(
        "expected ham lost 3.0% [2.0%, 4.0%] (limit 2.0%); "
        "expected recall 40.0% [30.0%, 50.0%] (limit 50.0%)"
    )
    figures = decision.figures()
    assert (figures["expected_ham_lost"].value, figures["expected_recall"].value) == (0.03, 0.4)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        *((name, 0, "equal to 1") for name in ("new_rows", "runs_a_week", "drifted", "windows")),
        *((name, 0, "greater than 0") for name in ("window_days", "oldest_days")),
        ("expected_ham_lost", 0, "greater than 0"),
        ("expected_recall", 1, "less than 1"),
        ("cool_down_hours", -1, "greater than or equal to 0"),
        ("drifted", 8, "drifted must be at most windows"),
    ],
)
def test_params_out_of_range_are_refused(field, value, problem):
    with pytest.raises(ValueError, match=problem):
        Params(**PARAMS.model_dump() | {field: value})
