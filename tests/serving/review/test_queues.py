"""Each queue has the messages of its file, the most urgent first."""

import pytest

from pipeline.core.hashing import message_id
from pipeline.serving.review.queues import QUEUES, QueueReader
from tests.harness.errors import error_of
from tests.harness.prediction_logs import write_log
from tests.harness.review_tables import new_review_project, write_review_table


@pytest.fixture
def folder(tmp_path):
    new_review_project(tmp_path)
    return tmp_path


def items(folder, name):
    return list(QueueReader(folder).items(name).values())


def texts(folder, name):
    return [item.text for item in items(folder, name)]


@pytest.mark.parametrize("name", QUEUES)
def test_queue_without_a_file_is_empty(name, folder):
    assert items(folder, name) == []


def test_rare_reasons_of_quarantine_come_first(folder):
    rows = [{"text": text, "reasons": "text_is_not_blank"} for text in ("a", "b")]
    rows.append({"text": "c", "reasons": "text_decodes, label_is_known"})
    write_review_table(folder, "quarantine", rows)
    found = items(folder, "quarantine")
    assert [item.text for item in found] == ["c", "a", "b"]
    assert found[0].reason == "text decodes, label is known"


def test_copy_of_a_message_is_not_for_review(folder):
    rows = [{"text": "a", "reasons": "text_is_not_a_copy"}]
    rows.append({"text": "b", "reasons": "text_is_not_a_copy, label_is_known"})
    write_review_table(folder, "quarantine", rows)
    assert texts(folder, "quarantine") == ["b"]


def test_rows_of_one_text_are_one_item(folder):
    rows = [{"text": "a", "label": label} for label in ("ham", "spam", "ham")]
    write_review_table(folder, "quarantine", rows)
    (item,) = items(folder, "quarantine")
    assert (item.rows, item.label) == (3, None)


def test_overruled_label_does_not_count(folder):
    write_review_table(folder, "quarantine", [{"text": "a", "reasons": "label_is_not_overruled"}])
    (item,) = items(folder, "quarantine")
    assert item.label is None
    assert item.detail.endswith("Later feedback overruled its label, ham.")


def test_null_text_is_an_item(folder):
    write_review_table(folder, "quarantine", [{"text": None, "message_id": message_id(None)}])
    assert texts(folder, "quarantine") == [None]


def test_mistakes_keep_their_order_without_right_answers(folder):
    rows = [{"text": "a"}, {"text": "b", "wrong": False}, {"text": "c", "label": "spam"}]
    write_review_table(folder, "mistakes", rows)
    found = items(folder, "mistakes")
    assert [(item.text, item.reason) for item in found] == [
        ("a", "ham taken for spam"),
        ("c", "spam missed"),
    ]
    assert found[0].detail == "The model gives spam a probability of 25.0 %."


def test_disputed_labels_say_what_is_disputed(folder):
    write_review_table(folder, "label_noise", [{"text": "a"}])
    (item,) = items(folder, "disputed")
    assert item.reason == "labelled ham, looks like spam"
    assert item.detail == "A model without this message gives ham a probability of 12.5 %."


def test_least_confident_answers_come_first(folder):
    rows = [
        {"text": "sure"},
        {"text": "far", "probability": 0.2, "confident": False},
        {"text": "near", "probability": 0.51, "confident": False, "source": None},
        {"probability": 0.5, "confident": False},
    ]
    write_log(folder / "data" / "predictions", rows)
    found = items(folder, "unsure")
    assert [(item.text, item.source) for item in found] == [("near", "served"), ("far", "sms")]
    assert all(item.is_served and item.label is None for item in found)


def test_disagreements_of_versions_are_found(folder):
    rows = [
        {"text": "same"},
        {"text": "same", "model_version": "4"},
        {"text": "other"},
        {"text": "other", "model_version": "4", "label": "spam", "probability": 0.75},
    ]
    write_log(folder / "data" / "predictions", rows)
    (item,) = items(folder, "shadow")
    assert (item.text, item.reason) == ("other", "version 3 says ham, version 4 says spam")
    assert item.detail == "version 3 says ham (25.0 %); version 4 says spam (75.0 %)."


def test_changed_file_is_read_again(folder):
    reader = QueueReader(folder)
    for text in ("a", "b"):
        write_review_table(folder, "mistakes", [{"text": text}])
        assert [item.text for item in reader.items("mistakes").values()] == [text]


def test_damaged_file_is_one_line(folder):
    (folder / "data" / "review" / "mistakes.parquet").write_bytes(b"no")
    assert "not readable as Parquet" in error_of(QueueReader(folder).items, "mistakes")
