"""The five questions have the answers of the reports, in plain words."""

import pytest

from pipeline.registry.pages.answers import (
    VERDICTS,
    comparison_sentence,
    comparisons,
    criterion_rows,
    first_answers,
)
from pipeline.registry.promotion import PROMOTION_VERDICTS
from pipeline.registry.registration import REPEATED_VERDICTS
from tests.harness.report_inputs import DUEL, report_inputs


def answer_of(inputs, question):
    """Answer and detail of the question that begins so."""
    (answer,) = [one for one in first_answers(inputs) if one.question.startswith(question)]
    return answer.answer, answer.detail


def test_every_verdict_has_its_words():
    of_comparison = {"keep", "tie", "criteria missed", "criteria met", "not decided"}
    promoted = {*PROMOTION_VERDICTS} - {"rollback"}  # is the ledger's, not register's
    assert set(VERDICTS) == promoted | of_comparison | {*REPEATED_VERDICTS}


def test_comparison_with_the_champion_comes_first():
    compared = comparisons(report_inputs("promote: f1 +0.0200", DUEL))
    assert [(one.other, one.metric) for one in compared] == [
        ("the champion on all unseen test messages", "f1"),
        ("the linear baseline", "f1"),
        ("the linear baseline", "ham_blocked_percent"),
    ]


def test_reference_comes_last():
    reference = {
        "reference.version": {"value": 4, "n": None},
        "reference.difference.f1": {"value": -0.02, "low": -0.03, "high": -0.01, "n": 180},
    }
    *_, last = comparisons(report_inputs("promote: f1 +0.0200", DUEL | reference))
    start, _, end = comparison_sentence(last).partition(": ")
    assert start == "Worse than version 4, the reference"
    assert end.startswith("F1 ")
    assert "0.020" in end


@pytest.mark.parametrize(
    ("ends", "start"),
    [
        ((0.01, 0.09), "Better than the linear baseline: F1 +0.050 (+0.010 to +0.090)."),
        ((-0.09, -0.01), "Worse than the linear baseline: F1 +0.050 ("),
        ((-0.01, 0.09), "No clear difference from the linear baseline: F1 +0.050 ("),
        ((None, None), "No clear difference from the linear baseline: F1 +0.050."),
    ],
)
def test_sentence_says_who_wins_or_that_nobody_does(ends, start):
    difference = {"value": 0.05, "low": ends[0], "high": ends[1], "n": 200}
    inputs = report_inputs(evaluated={"difference.f1": difference})
    assert comparison_sentence(comparisons(inputs)[0]).startswith(start)


def test_better_than_the_champion_and_the_baseline():
    answer, detail = answer_of(report_inputs("promote: f1 +0.0200", DUEL), "Is the new model")
    assert answer == "It is better than the champion."
    assert detail == (
        "Better than the champion on all unseen test messages: F1 +0.020 (+0.005 to +0.035). "
        "Better than the linear baseline: F1 +0.050 (+0.010 to +0.090)."
    )


def test_certainty_is_that_of_the_first_comparison():
    answer, detail = answer_of(report_inputs("promote: f1 +0.0200", DUEL), "How sure")
    assert answer == "The 95 % interval does not include 0, on 180 test messages."
    assert detail == "F1 differs from the champion on all unseen test messages by +0.005 to +0.035."


def test_unclear_difference_is_said_to_be_unclear():
    chance = {"value": 0.01, "low": -0.01, "high": 0.03, "n": 200}
    answer, _ = answer_of(report_inputs(evaluated={"difference.f1": chance}), "How sure")
    assert answer == "Not sure: it may be chance, on 200 test messages."


def test_misses_are_counts_and_the_weakest_parts():
    answer, detail = answer_of(report_inputs(), "What does it miss")
    assert answer == "20 of 80 spam messages get through; 6 of 120 ham messages are lost."
    assert detail == (
        "It catches least spam in: language he (30 %), short (40 %), source sms (90 %)."
    )


def test_missed_criterion_is_named():
    answer, detail = answer_of(report_inputs(), "May I ship")
    assert answer == "Yes."
    assert detail == "1 of 2 criteria are met; ham lost, % is 5.0, not at most 4.0."


def test_undecided_model_is_not_shipped():
    answer, _ = answer_of(report_inputs(verdict=None), "May I ship")
    assert answer == "Not decided: register has not run for this model."


def test_origin_has_network_data_and_hashes():
    assert answer_of(report_inputs(), "Where") == (
        "bilstm, trained on 100 of 300 rows from sms.",
        "Model aaaaaaaa, data bbbbbbbb, params cccccccc.",
    )


def test_answer_says_how_many_rows_the_network_in_service_learned_from():
    reports = dict(report_inputs().reports)
    reports["train"] = reports["train"] | {"figures": {"served_rows": {"value": 1250}}}
    answer, _ = answer_of(report_inputs(reports=reports), "Where")
    assert answer == "bilstm, trained on 100 of 300 rows from sms; the one in service on 1,250."


def test_criterion_row_has_bound_value_and_interval():
    f1, ham = criterion_rows(report_inputs())
    assert f1 == ("F1", "at least 0.750", "0.800", "0.700 to 0.900", True, "critical")
    assert (ham.bound, ham.met, ham.severity) == ("at most 4.0", False, "warning")
