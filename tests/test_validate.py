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


def test_bad_rows_go_to_quarantine_and_are_counted():
    texts = COPIES | {7: "\ufffd\x07", 9: None}
    params = budgets(**dict.fromkeys(row_level_names(), 0.1))
    assert run_validate(good(text=texts, label={9: "junk"}), params) == ""
    refused = pq.read_table(FILES["quarantine"])
    assert refused.schema.equals(QUARANTINE)
    ids = [message_id(texts[row]) for row in (2, 7, 9)]
    columns = ["message_id", "text", "label", "source", "row", "received_at", "reasons"]
    assert list(zip(*refused.select(columns).to_pydict().values(), strict=True)) == [
        (ids[0], texts[2], "ham", "sms", 2, LEAP_DAY, "text_is_not_a_copy"),
        (ids[1], texts[7], "ham", "sms", 7, LEAP_DAY, BOTH),
        (ids[2], None, "junk", "sms", 9, LEAP_DAY, "text_is_not_null"),
    ]
    kept = pq.read_table(FILES["validated"])
    assert kept.schema.equals(VALIDATED)
    assert kept["message_id"].to_pylist() == sorted(kept["message_id"].to_pylist())
    assert set(kept["row"].to_pylist()) == set(range(1, 41)) - {2, 7, 9}
    report = read_json(Path(FILES["report"]))
    assert (report["rows"], report["verdict"]) == (40, "37 of 40 rows are valid")
    counted = {
        "rows_kept": {"value": 37, "n": 40},
        "rows_quarantined": {"value": 3, "n": 40},
        "spam_share": {"value": 0.27027, "n": 37},
        "breaches.text_is_not_null": {"value": 1, "n": 40},
        "breaches.text_decodes": {"value": 1, "n": 39},
        "breaches.text_has_no_control_characters": {"value": 1, "n": 39},
        "breaches.text_is_not_a_copy": {"value": 1, "n": 38},
    }
    figures = report["figures"]
    assert list(figures) == [*list(counted)[:3], *(f"breaches.{x}" for x in row_level_names())]
    assert {name: value for name, value in figures.items() if value["value"]} == counted
    reasons = ("text_decodes", "text_has_no_control_characters", "text_is_not_a_copy")
    months = [f"2024-02,{reason},1" for reason in (*reasons, "text_is_not_null")]
    assert Path(FILES["by_month"]).read_text().splitlines() == ["month,reason,rows", *months]


def test_a_stop_removes_the_validated_table_of_an_earlier_run():
    assert run_validate(good()) == ""
    assert Path(FILES["validated"]).exists()
    assert run_validate(good(label={7: "junk"})) != ""
    assert not Path(FILES["validated"]).exists()
    assert Path(FILES["docs"], "index.html").exists()
    assert pq.read_table(FILES["quarantine"])["row"].to_pylist() == [7]
    assert read_json(Path(FILES["report"]))["verdict"] == "stopped: label_is_known"


def test_a_warning_is_logged_and_stops_nothing(caplog, capfd):
    caplog.set_level("INFO")
    warnings = ["text_decodes", "row_count_is_within_bounds"]
    params = strict(warnings=warnings, row_count=(1, 2))
    assert run_validate(good(text={7: "caf\ufffd"}), params) == ""
    verdict = "40 of 40 rows are valid; warnings: text_decodes, row_count_is_within_bounds"
    decodes, rows, last = caplog.messages
    assert decodes.startswith(f"warning: {FILES['messages']}: text_decodes: 1 of 40 rows")
    assert rows.startswith(f"warning: {FILES['messages']}: row_count_is_within_bounds: found 40, ")
    assert last == f"validate: {verdict}"
    report = read_json(Path(FILES["report"]))
    assert report["verdict"] == verdict
    assert report["figures"]["breaches.text_decodes"] == {"value": 1, "n": 40}
    assert capfd.readouterr() == ("", "")


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
