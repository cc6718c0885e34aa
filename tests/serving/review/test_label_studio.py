"""Tasks go to Label Studio, annotations come back, and a bad file is one line."""

import json

import pytest

from pipeline.serving.review.label_studio import read_annotations, write_tasks
from pipeline.serving.review.queues import ReviewItem
from tests.harness.errors import error_of

ITEM = ReviewItem("1" * 32, "WIN <b>", "ham", "sms", "spam missed")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "tasks.json"


def annotation(label="spam", **fields):
    value = {"value": {"choices": [label]}, "from_name": "label", "type": "choices"}
    return {"result": [value], **fields}


def annotated(file, *annotations):
    """Exports a task, and annotates it as Label Studio does."""
    write_tasks(file, [("mistakes", ITEM)])
    (task,) = json.loads(file.read_text())
    file.write_text(json.dumps([{**task, "id": 7, "annotations": annotations}]))
    return file


def test_task_has_text_and_id(file):
    assert write_tasks(file, [("mistakes", ITEM)]) == 1
    assert json.loads(file.read_text()) == [
        {
            "data": {"text": "WIN <b>", "source": "sms", "reason": "spam missed"},
            "meta": {"id": "1" * 32, "queue": "mistakes"},
        }
    ]


def test_message_without_text_is_no_task(file):
    for text in (None, " \n"):
        assert write_tasks(file, [("quarantine", ReviewItem("2" * 32, text, None, "sms", ""))]) == 0


def test_annotations_come_back_in_order(file):
    people = [{"completed_by": 3}, {"completed_by": {"email": "ana@team.example"}}, {}]
    annotated(file, *[annotation(**person) for person in people], annotation("ham"))
    found = read_annotations(file)
    assert [one.label for one in found] == ["spam", "spam", "spam", "ham"]
    names = ["Label Studio user 3", "ana@team.example", "Label Studio", "Label Studio"]
    assert [one.reviewer for one in found] == names
    assert found[0][:3] == ("mistakes", "1" * 32, "WIN <b>")


def test_name_that_the_log_cannot_have_is_one_line(file):
    annotated(file, annotation(completed_by={"email": "=cmd()@x"}))
    assert error_of(read_annotations, file) == f"{file}: completed_by of task 1 is not a name"


def test_cancelled_and_empty_annotations_do_not_count(file):
    annotated(file, annotation(was_cancelled=True), {"result": []})
    assert read_annotations(file) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not JSON"),
        ("{}", "not a list of tasks"),
        ("[1]", "task 1 has not text, id, queue and annotations"),
        ('[{"data": {"text": "secret"}, "meta": {}}]', "task 1 has not text, id, queue"),
    ],
)
def test_bad_file_is_one_line_without_its_texts(content, problem, file):
    file.write_text(content)
    line = error_of(read_annotations, file)
    assert problem in line
    assert "\n" not in line
    assert "secret" not in line


@pytest.mark.parametrize("bad", [annotation("maybe"), annotation(["spam"]), {}, "spam"])
def test_annotation_that_is_no_choice_names_the_task(bad, file):
    problem = "an annotation of task 1 is not one choice of spam or ham"
    assert problem in error_of(read_annotations, annotated(file, bad))
