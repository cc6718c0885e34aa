"""The log only grows, and tells which decisions hold."""

import pytest

from pipeline.serving.review.decision_log import (
    LoggedDecision,
    add_decision,
    append_decision,
    read_decisions,
)
from tests.harness.errors import error_of

ONE = "1" * 32


def entry(decision, reviewer="Ana", time="2026-03-02T12:00:00+00:00"):
    return LoggedDecision(time, reviewer, ONE, decision)


def holding(*entries):
    """Reviewers and decisions that are not undone, after these lines."""
    standing = ()
    for one in entries:
        standing = add_decision(standing, one)
    return [(one.reviewer, one.decision) for one in standing]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "decisions.csv"


def test_later_decision_holds():
    entries = holding(entry("spam"), entry("ham", "Bo"))
    assert entries == [("Ana", "spam"), ("Bo", "ham")]


def test_equal_decision_counts_once():
    assert holding(entry("spam"), entry("spam")) == [("Ana", "spam")]


def test_repeated_decision_holds_again_after_another_one():
    entries = holding(entry("spam"), entry("ham", "Bo"), entry("spam"))
    assert entries[-1] == ("Ana", "spam")


def test_undo_brings_the_decision_before_back():
    assert holding(entry("spam"), entry("ham"), entry("undo")) == [("Ana", "spam")]


def test_undo_leaves_decisions_of_others():
    entries = holding(entry("spam"), entry("ham", "Bo"), entry("undo"))
    assert entries == [("Bo", "ham")]
    assert holding(entry("spam"), entry("undo", "Bo")) == [("Ana", "spam")]


def test_log_is_read_as_written(file):
    append_decision(file, entry("spam", "Ana-Lena O'Neil"))
    append_decision(file, entry("ham", "Bo"))
    assert [one.decision for one in read_decisions(file)[ONE]] == ["spam", "ham"]
    assert file.read_text().splitlines()[0] == "time,reviewer,message_id,decision"


def test_undone_message_is_not_in_the_log(file):
    append_decision(file, entry("spam"))
    append_decision(file, entry("undo"))
    assert read_decisions(file) == {}
    assert len(file.read_text().splitlines()) == 3


@pytest.mark.parametrize("kept", [5, -1, -9])
def test_line_that_a_kill_cut_off_does_not_count(kept, file):
    append_decision(file, entry("spam"))
    before = file.read_bytes()
    append_decision(file, entry("ham", "Bo"))
    file.write_bytes((before + file.read_bytes()[len(before) :])[: len(before) + kept % 60])
    assert len(read_decisions(file)[ONE]) == 1
    append_decision(file, entry("ban", "Cy"))
    assert [one.decision for one in read_decisions(file)[ONE]] == ["spam", "ban"]


def test_header_that_a_kill_cut_off_is_written_again(file):
    file.write_text("time,rev")
    assert read_decisions(file) == {}
    append_decision(file, entry("spam"))
    assert len(read_decisions(file)[ONE]) == 1


def test_missing_log_has_no_decisions(file):
    assert read_decisions(file) == {}


@pytest.mark.parametrize(
    ("line", "problem"),
    [("a,b,c,maybe", "row 1 is no decision"), ("a,b", "not CSV"), ('"', "not CSV")],
)
def test_broken_log_is_one_line(line, problem, file):
    file.write_text(f"time,reviewer,message_id,decision\n{line}\n")
    assert problem in error_of(read_decisions, file)
