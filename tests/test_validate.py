"""The validate stage writes what passed, what did not and why, and stops on bad data."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.core.files import read_json
from pipeline.core.hashing import message_id
from pipeline.core.schemas import QUARANTINE, VALIDATED
from pipeline.validation.expectations import row_level_names
from tests.harness.message_tables import COPIES, FILES, budgets, good, run_validate, strict

LEAP_DAY = datetime(2024, 2, 29, tzinfo=UTC)
BOTH = "text_decodes, text_has_no_control_characters"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_bad_rows_go_to_quarantine_with_their_reasons():
    messages = good(text={7: "\ufffd\x07", 9: None}, label={9: "junk"})
    assert run_validate(messages, budgets(**dict.fromkeys(row_level_names(), 0.1))) == ""
    refused = pq.read_table(FILES["quarantine"])
    assert refused.schema.equals(QUARANTINE)
    ids = [message_id("\ufffd\x07"), message_id(None)]
    assert list(zip(*refused.to_pydict().values(), strict=True)) == [
        (ids[0], "\ufffd\x07", "ham", "sms", 7, LEAP_DAY, BOTH),
        (ids[1], None, "junk", "sms", 9, LEAP_DAY, "text_is_not_null"),
    ]
    kept = pq.read_table(FILES["validated"])
    assert kept.schema.equals(VALIDATED)
    assert kept["message_id"].to_pylist() == sorted(kept["message_id"].to_pylist())
    assert set(kept["row"].to_pylist()) == set(range(1, 41)) - {7, 9}


def test_a_stop_removes_the_validated_table_of_an_earlier_run():
    assert run_validate(good()) == ""
    assert Path(FILES["validated"]).exists()
    assert run_validate(good(label={7: "junk"})) != ""
    assert not Path(FILES["validated"]).exists()
    assert Path(FILES["docs"], "index.html").exists()
    assert pq.read_table(FILES["quarantine"])["row"].to_pylist() == [7]
    assert read_json(Path(FILES["report"]))["verdict"] == "stopped: label_is_known"


def test_the_report_counts_rows_and_breaches():
    params = budgets(label_is_known=0.1, text_is_not_a_copy=0.1)
    run_validate(good(text=COPIES, label={7: "junk"}), params)
    report = read_json(Path(FILES["report"]))
    assert (report["rows"], report["verdict"]) == (40, "38 of 40 rows are valid")
    counted = {
        "rows_kept": {"value": 38, "n": 40},
        "rows_quarantined": {"value": 2, "n": 40},
        "spam_share": {"value": 0.263158, "n": 38},
        "breaches.label_is_known": {"value": 1, "n": 40},
        "breaches.text_is_not_a_copy": {"value": 1, "n": 39},
    }
    figures = report["figures"]
    assert list(figures) == [*list(counted)[:3], *(f"breaches.{x}" for x in row_level_names())]
    assert {name: value for name, value in figures.items() if value["value"]} == counted
    months = "month,reason,rows\n2024-02,label_is_known,1\n2024-02,text_is_not_a_copy,1\n"
    assert Path(FILES["by_month"]).read_text() == months


def test_equal_rows_in_another_order_give_equal_bytes():
    run_validate(good())
    before = Path(FILES["validated"]).read_bytes()
    run_validate(good().sample(frac=1, random_state=3))
    assert Path(FILES["validated"]).read_bytes() == before


def test_a_warning_is_logged_and_stops_nothing(caplog):
    params = strict(warnings=["row_count_is_within_bounds"], row_count=(1, 2))
    with caplog.at_level("INFO"):
        assert run_validate(good(), params) == ""
    problem = "row_count_is_within_bounds: found 40, the bounds are 1 to 2; "
    assert caplog.messages[0].startswith(f"warning: {FILES['messages']}: {problem}")
    verdict = "40 of 40 rows are valid; warnings: row_count_is_within_bounds"
    assert caplog.messages[1:] == [f"validate: {verdict}"]
    assert read_json(Path(FILES["report"]))["verdict"] == verdict


def test_reviewed_messages_are_released_or_banned():
    torn, cheap = "caf\ufffd", "cheap loans for you"
    messages = good(text={7: torn, 9: cheap})
    reviewed = {message_id(torn): "release", message_id(cheap): "ban"}
    assert run_validate(messages, budgets(message_is_not_banned=1.0), reviewed) == ""
    kept = pq.read_table(FILES["validated"])["text"].to_pylist()
    assert torn in kept
    assert cheap not in kept
    [banned] = pq.read_table(FILES["quarantine"]).to_pylist()
    assert (banned["row"], banned["reasons"]) == (9, "message_is_not_banned")
