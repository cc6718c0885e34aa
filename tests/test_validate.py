"""The validate stage writes what passed, what did not and why, and stops on bad data."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline import vectorize
from pipeline.core.files import read_json
from pipeline.core.hashing import message_id
from pipeline.core.schemas import QUARANTINE, VALIDATED
from pipeline.validation.expectations import row_level_names
from tests.harness.errors import error_of
from tests.harness.message_tables import (
    COPIES,
    FILES,
    budgets,
    good,
    run_validate,
    strict,
    worded_messages,
)
from tests.harness.small_project import stage_arguments
from tests.harness.split_oracle import PARAMS

LEAP_DAY = datetime(2024, 2, 29, tzinfo=UTC)
BOTH = "text_decodes, text_has_no_control_characters"
NETWORK = {"vocabulary_size": 400, "sequence_length": 30, "window_length": 250, "shard_rows": 20}
LATER_SECTIONS = {
    "vectorize": PARAMS.model_dump() | NETWORK | {"newest_days": 0},
    "train": {"stop_share": 0.0001, "out_of_fold_rows": 0, "seed": 1},
    "evaluate": {"lost_ham_budget": 0.002},
    "register": {"fewest_rows": 99},
}
LATER_FILES = "tokenizer.json splits.parquet train val test report.json profile.json profile"


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


def test_a_small_table_meets_all_stops_at_once(caplog):
    """validate says what vectorize would say after it."""
    small = worded_messages(rows=200, seed=2)
    error = run_validate(small, strict(row_count=(300, 400)), None, LATER_SECTIONS)
    row_count, stop_share, budget = error.split("\nerror: ")
    assert ": row_count_is_within_bounds: found 200, the bounds are 300 to 400; " in row_count
    assert stop_share.startswith("params.yaml: train.stop_share: 0.0001 of train's campaigns, ")
    assert "; set it to 0.05, or " in stop_share
    assert budget.startswith("params.yaml: evaluate.lost_ham_budget: 0.002 needs 499 ham, ")
    assert "; raise it to " in budget
    ham, spam = warnings = caplog.messages
    assert ham.startswith("warning: test has ")
    assert spam.endswith(" (register.fewest_rows): no model will become the champion")

    caplog.clear()
    assert run_validate(small, strict(), None, LATER_SECTIONS) == ""
    arguments = stage_arguments("vectorize", FILES["validated"], *LATER_FILES.split())
    assert error_of(vectorize.main, arguments) == f"{stop_share}\nerror: {budget}"
    assert caplog.messages == warnings


def test_sizes_are_not_judged_while_rows_are_to_be_mended():
    small = worded_messages(rows=200, seed=2)
    small.loc[0, "label"] = "junk"
    error = run_validate(small, strict(row_count=(300, 400)), None, LATER_SECTIONS)
    names = [line.split(": ")[1] for line in error.split("\nerror: ")]
    assert names == ["label_is_known", "row_count_is_within_bounds"]


def test_a_stop_does_not_depend_on_the_params_of_vectorize():
    error = run_validate(good(), strict(row_count=(1, 2)), None, {"vectorize": {"salt": 7}})
    assert ": row_count_is_within_bounds: found 40, " in error
    assert "\nerror: " not in error


def test_a_table_of_one_label_is_a_stop_of_every_split():
    ham = good(label=dict.fromkeys(range(1, 41), "ham"))
    error = run_validate(ham, strict(spam_share=(0, 1)), None, LATER_SECTIONS)
    one_label, splits = error.split("\nerror: ")
    assert ": both_labels_are_present: " in one_label
    place = FILES["messages"]
    assert splits == f"{place}: no ham or no spam in train, val, test; bring more messages"


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
