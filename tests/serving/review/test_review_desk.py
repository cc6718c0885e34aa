"""A decision is in reviewed.csv, in the feedback and in the log, or in none of them."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.core.hashing import message_id
from pipeline.serving.http.feedback_store import REVIEWER_FOLDER, FeedbackStore
from pipeline.serving.review.queues import ReviewItem
from pipeline.serving.review.review_desk import ReviewDesk
from pipeline.serving.review.reviewed_file import REVIEWED_FILE
from pipeline.sources.readers import ColumnNames
from pipeline.validation.reviewed import read_reviewed
from tests.harness.errors import error_of
from tests.harness.review_tables import new_review_project


def item(text="WIN", label="ham", **fields):
    return ReviewItem(message_id(text), text, label, "sms", "a reason", **fields)


def feedback():
    """Text and label of each saved row."""
    lines = [line for path in REVIEWER_FOLDER.glob("*.jsonl") for line in path.open()]
    return [(row["text"], row["label"]) for row in map(json.loads, lines)]


def verdicts():
    return REVIEWED_FILE.read_text().splitlines()[1:]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new_review_project(tmp_path)
    return ReviewDesk(FeedbackStore(ColumnNames(), REVIEWER_FOLDER))


def test_confirmed_label_releases_the_row(desk):
    desk.decide(item(), "ham", "Ana")
    assert read_reviewed(REVIEWED_FILE).released == {item().message_id}
    assert feedback() == []


def test_other_label_is_feedback_too(desk):
    desk.decide(item(), "spam", "Ana")
    assert read_reviewed(REVIEWED_FILE).released == {item().message_id}
    assert feedback() == [("WIN", "spam")]


def test_message_that_is_kept_out_is_banned(desk):
    desk.decide(item(), "spam", "Ana")
    desk.decide(item(), "ban", "Ana")
    assert read_reviewed(REVIEWED_FILE).banned == {item().message_id}
    assert feedback() == []


def test_served_message_is_feedback_alone(desk):
    desk.decide(item(label=None, is_served=True), "ham", "Ana")
    assert (verdicts(), feedback()) == ([], [("WIN", "ham")])


def test_undo_leaves_nothing_but_the_log(desk):
    desk.decide(item(), "spam", "Ana")
    assert desk.decide(item(), "undo", "Ana") == ()
    assert (verdicts(), feedback(), desk.standing()) == ([], [], {})


def test_undo_of_an_earlier_decision_leaves_later_ones(desk):
    for text in ("one", "two", "three"):
        desk.decide(item(text), "spam", "Ana")
    desk.decide(item("two"), "undo", "Ana")
    assert feedback() == [("one", "spam"), ("three", "spam")]
    assert len(verdicts()) == 2


def test_undo_brings_the_decision_of_another_back(desk):
    desk.decide(item(), "spam", "Ana")
    desk.decide(item(), "ban", "Bo")
    desk.decide(item(), "undo", "Bo")
    assert read_reviewed(REVIEWED_FILE).released == {item().message_id}
    assert feedback() == [("WIN", "spam")]


def test_later_decision_of_another_holds_and_both_are_known(desk):
    desk.decide(item(), "spam", "Ana")
    entries = desk.decide(item(), "ham", "Bo")
    assert [(one.reviewer, one.decision) for one in entries] == [("Ana", "spam"), ("Bo", "ham")]
    assert feedback() == []


def test_equal_decision_changes_no_file(desk, tmp_path):
    def files():
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.[cj]s*")}

    desk.decide(item(), "spam", "Ana")
    before = files()
    desk.decide(item(), "spam", "Ana")
    assert files() == before


def test_confirmation_keeps_the_feedback_that_gave_the_label(desk):
    desk.decide(item(), "spam", "Ana")
    desk.decide(item(label="spam"), "spam", "Bo")  # after the next run of ingest and validate
    assert feedback() == [("WIN", "spam")]


def test_lines_of_a_person_written_meanwhile_stay(desk):
    desk.decide(item("one"), "ham", "Ana")
    by_hand = f"{message_id('two')},ban,by hand\n"
    with REVIEWED_FILE.open("a") as file:
        file.write(by_hand)
    desk.decide(item("three"), "ham", "Ana")
    assert by_hand in REVIEWED_FILE.read_text()
    assert len(verdicts()) == 3


def test_verdict_of_a_person_stops_the_decision_before_the_log(desk):
    REVIEWED_FILE.write_text(f"message_id,verdict,why\n{item().message_id},ban,by hand\n")
    assert "remove it first" in error_of(desk.decide, item(), "spam", "Ana")
    assert (feedback(), desk.standing()) == ([], {})


@pytest.mark.parametrize(
    ("one", "decision", "reviewer", "problem"),
    [
        (item(), "maybe", "Ana", "decision: unknown 'maybe'"),
        (item(), "spam", "", "reviewer: not a name"),
        (item(), "spam", "a\nb", "reviewer: not a name"),
        (item(), "spam", "=1+1", "reviewer: not a name"),
        (item(), "undo", "Ana", "Ana has not decided about this message"),
        (item(" \n"), "spam", "Ana", "a message without text has no label"),
        (item(label=None, is_served=True), "ban", "Ana", "is not in the data"),
    ],
)
def test_refused_decision_is_one_line_and_changes_nothing(one, decision, reviewer, problem, desk):
    assert problem in error_of(desk.decide, one, decision, reviewer)
    assert (verdicts(), feedback(), desk.standing()) == ([], [], {})


def test_decision_of_another_server_is_seen(desk):
    desk.decide(item("one"), "spam", "Ana")
    ReviewDesk(FeedbackStore(ColumnNames(), REVIEWER_FOLDER)).decide(item("two"), "ham", "Bo")
    assert set(desk.standing()) == {message_id("one"), message_id("two")}


def test_decisions_of_two_reviewers_at_once_are_all_saved(desk):
    texts = [str(number) for number in range(30)]

    def decide(reviewer):
        own = ReviewDesk(FeedbackStore(ColumnNames(), REVIEWER_FOLDER))
        for text in texts:
            own.decide(item(f"{reviewer} {text}"), "spam", reviewer)

    with ThreadPoolExecutor(2) as reviewers:
        list(reviewers.map(decide, ["Ana", "Bo"]))
    expected = {f"{reviewer} {text}" for reviewer in ("Ana", "Bo") for text in texts}
    assert {text for text, _ in feedback()} == expected
    assert len(verdicts()) == len(desk.standing()) == 60
