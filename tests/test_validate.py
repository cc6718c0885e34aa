"""The gate stops bad data with a line for each reason, and writes what holds, what does not, and why."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline import validate
from pipeline.core.errors import PipelineError
from pipeline.core.files import read_json
from pipeline.core.hashing import message_id
from pipeline.core.schemas import VALIDATED
from pipeline.validation import expectations, runner
from tests.harness.message_tables import FILES, SAME, STRICT, budgets, good, run

LEAP_DAY = datetime(2024, 2, 29, tzinfo=UTC)
SEE = f"see {FILES['quarantine']}, or `python -m pipeline review`"


@pytest.fixture(autouse=True)
def _workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def judged(messages, params):
    """What holds, what does not, and what Great Expectations found."""
    findings = runner.inspect(messages, params)
    return (
        validate.validated(messages, findings),
        validate.quarantined(messages, findings),
        findings,
    )


# ---- what is written


def test_quarantine_has_all_rows_beyond_the_200_that_great_expectations_lists():
    messages = good(
        400, text=dict.fromkeys([row for row in range(1, 400) if row % 4][:251], "one text")
    )
    kept, refused, findings = judged(messages, budgets(text_is_not_a_copy=0.9))
    assert len(refused) == findings.breaches["text_is_not_a_copy"].value == 250
    assert len(kept) == 150


def test_the_first_copy_is_kept_and_counts_the_others():
    kept, refused, _ = judged(
        good(text={**SAME, 5: "CALL me now"}), budgets(text_is_not_a_copy=0.1)
    )
    copies = kept.set_index("row")["copies"]
    assert copies[1] == 3
    assert set(copies.drop(1)) == {1}
    assert refused["row"].tolist() == [2, 5]


def test_a_copy_is_kept_when_what_came_before_it_does_not_hold():
    _, refused, findings = judged(good(text=SAME, label={1: None}), budgets(label_is_not_null=0.1))
    assert refused["row"].tolist() == [1]
    assert not findings.broken


def test_all_rows_of_a_text_with_two_labels_go():
    messages = good(text={3: "Call me now", 4: "call me now", 5: "call me  now"})
    _, refused, _ = judged(messages, budgets(text_has_one_label=0.1, text_is_not_a_copy=0.1))
    assert refused[["row", "reasons"]].to_numpy().tolist() == [
        [3, "text_has_one_label"],
        [4, "text_has_one_label"],
        [5, "text_has_one_label, text_is_not_a_copy"],
    ]


def test_rows_of_two_sources_may_have_one_number():
    messages = pd.concat(
        [good(), good(text={i: f"{i} is another text" for i in range(1, 41)}, source={})]
    )
    messages = messages.assign(source=["sms"] * 40 + ["files/b.csv"] * 40).reset_index(drop=True)
    messages.loc[46, "label"] = "junk"
    kept, refused, _ = judged(messages, budgets(label_is_known=0.1))
    assert refused[["source", "row"]].to_numpy().tolist() == [["files/b.csv", 7]]
    assert len(kept) == 79


def test_rows_that_break_something_go_to_quarantine_with_every_reason():
    messages = good(text={7: "\ufffd\x07", 9: None}, label={9: "junk"})
    assert run(messages, budgets(**dict.fromkeys(expectations.row_level(), 0.1))) is None
    rows = pq.read_table(FILES["quarantine"]).to_pylist()
    assert rows == [
        {
            "message_id": message_id("\ufffd\x07"),
            "text": "\ufffd\x07",
            "label": "ham",
            "source": "sms",
            "row": 7,
            "received_at": LEAP_DAY,
            "reasons": "text_decodes, text_has_no_control_characters",
        },
        {
            "message_id": message_id(None),
            "text": None,
            "label": "junk",
            "source": "sms",
            "row": 9,
            "received_at": LEAP_DAY,
            "reasons": "text_is_not_null",
        },
    ]
    kept = pq.read_table(FILES["validated"])
    assert kept.schema.equals(VALIDATED)
    assert kept["message_id"].to_pylist() == sorted(kept["message_id"].to_pylist())
    assert set(kept["row"].to_pylist()) == set(range(1, 41)) - {7, 9}


def test_a_table_without_a_column_is_refused_by_name():
    error = run(good().drop(columns="label").assign(labels="ham"))
    assert error.splitlines() == [
        f"{FILES['messages']}: columns_are_the_contract: unexpected: labels; missing: label; "
        "it must be MESSAGES of pipeline/sources/readers.py",
        f"error: {FILES['messages']}: label_is_a_string: cannot be checked, for want of its column; "
        "it must be MESSAGES of pipeline/sources/readers.py",
    ]
    assert pq.read_table(FILES["quarantine"]).num_rows == 0


def test_an_empty_table_is_refused():
    broken = runner.inspect(good().head(0), STRICT).broken
    assert "row_count_is_within_bounds" in broken
    assert "found nothing, the bounds are 0.1 to 0.5" in run(good().head(0))


# ---- the command


def test_a_breach_above_its_budget_says_place_problem_and_way_out():
    assert run(
        good(label=dict.fromkeys((1, 2, 3, 5, 6, 7, 9), "junk")), budgets(label_is_known=0.01)
    ) == (
        f"{FILES['messages']}: label_is_known: 7 of 40 rows (17.5 %) break it, the budget is 1.0 %; {SEE}"
    )


def test_each_broken_expectation_has_its_line():
    error = run(good(rows=19, label={1: None}), STRICT)
    assert error.split("\nerror: ") == [
        f"{FILES['messages']}: label_is_not_null: 1 of 19 rows (5.3 %) break it, the budget is 0.0 %; {SEE}",
        f"{FILES['messages']}: row_count_is_within_bounds: found 18, the bounds are 20 to 400; "
        "if the data is right, set section validate of params.yaml; "
        f"`python -m pipeline review --propose {FILES['messages']}` works it out",
    ]


def test_a_wrong_type_and_a_shared_place_say_what_was_found():
    assert (
        f": row_is_an_integer: found float64, not int64; {'it must be MESSAGES of pipeline/sources/readers.py'}"
        in run(good().astype({"row": "float64"}))
    )
    assert ": source_and_row_are_unique: 2 of 40 rows (5.0 %) break it; it must" in run(
        good(row={7: 8})
    )


def test_nothing_is_validated_after_a_stop_and_a_stale_table_is_gone():
    assert run(good()) is None
    assert Path(FILES["validated"]).exists()
    assert run(good(label={7: "junk"})) is not None
    assert not Path(FILES["validated"]).exists()
    assert Path(FILES["docs"], "index.html").exists()
    assert pq.read_table(FILES["quarantine"])["row"].to_pylist() == [7]
    assert read_json(Path(FILES["report"]))["verdict"] == "stopped: label_is_known"


def test_the_report_counts_rows_and_breaches():
    run(good(text=SAME, label={7: "junk"}), budgets(label_is_known=0.1, text_is_not_a_copy=0.1))
    report = read_json(Path(FILES["report"]))
    assert report["rows"] == 40
    assert report["verdict"] == "38 of 40 rows hold"
    figures = report["figures"]
    assert figures.pop("rows_kept") == {"value": 38, "n": 40}
    assert figures.pop("rows_quarantined") == {"value": 2, "n": 40}
    assert figures.pop("spam_share") == {"value": 0.263158, "n": 38}
    assert figures.pop("breaches.label_is_known") == {"value": 1, "n": 40}
    assert figures.pop("breaches.text_is_not_a_copy") == {"value": 1, "n": 39}
    assert list(figures) == [
        f"breaches.{name}"
        for name in expectations.row_level()
        if name not in ("label_is_known", "text_is_not_a_copy")
    ]
    assert {figure["value"] for figure in figures.values()} == {0}


def test_equal_input_gives_equal_bytes_and_the_order_of_rows_is_no_matter():
    run(good())
    before = Path(FILES["validated"]).read_bytes()
    run(good().sample(frac=1, random_state=3))
    assert Path(FILES["validated"]).read_bytes() == before


def test_a_warning_is_a_line_and_part_of_the_verdict_and_stops_nothing(caplog):
    params = replace(STRICT, warnings=["row_count_is_within_bounds"], row_count=(1, 2))
    with caplog.at_level("INFO"):
        assert run(good(), params) is None
    assert caplog.messages[0].startswith(
        f"warning: {FILES['messages']}: row_count_is_within_bounds: found 40, the bounds are 1 to 2; "
    )
    verdict = "40 of 40 rows hold; warnings: row_count_is_within_bounds"
    assert caplog.messages[1:] == [f"validate: {verdict}"]
    assert read_json(Path(FILES["report"]))["verdict"] == verdict


# ---- what a person decided


def test_the_reviewed_list_releases_and_bans_by_message_id():
    torn, cheap = "caf\ufffd", "cheap loans for you"
    messages = good(text={7: torn, 9: cheap})
    assert "text_decodes" in run(messages)
    decided = [(message_id(torn), "release"), (message_id(cheap), "ban")]
    assert run(messages, budgets(message_is_not_banned=1.0), decided) is None
    kept = pq.read_table(FILES["validated"])["text"].to_pylist()
    assert torn in kept
    assert cheap not in kept
    [banned] = pq.read_table(FILES["quarantine"]).to_pylist()
    assert (banned["row"], banned["reasons"]) == (9, "message_is_not_banned")


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (
            "message_id,verdict\nhello,ban\n",
            "row 1: 'hello' is no message_id; mend the row, or `git ",
        ),
        ("verdict\nban\n", "no column 'message_id' among verdict; mend the row, or "),
        (
            "message_id\n0123456789abcdef\n",
            "no column 'verdict' among message_id; mend the row, or ",
        ),
        (
            "message_id,verdict\n0123456789abcdef,keep\n",
            "row 1: verdict: unknown 'keep'; choose from release, ban",
        ),
        (
            "message_id,verdict\n0123456789abcdef,ban\n0123456789abcdef,ban\n0123456789abcdef,release\n",
            "row 3: 0123456789abcdef is released and banned; leave one of the two rows",
        ),
        (
            "message_id,verdict\n0123456789abcdef\n",
            "not CSV: row 1: 1 columns, not 2; mend the row, or ",
        ),
    ],
)
def test_a_reviewed_list_that_cannot_be_read_is_one_line(rows, line):
    Path("reviewed.csv").write_text(rows)
    with pytest.raises(PipelineError) as error:
        validate.read_reviewed(Path("reviewed.csv"))
    assert str(error.value).startswith(f"reviewed.csv: {line}")


def test_a_reviewed_list_that_is_missing_says_how_it_comes_back():
    with pytest.raises(
        PipelineError, match=r"^none.csv: missing; .*`git checkout none.csv` brings it back$"
    ):
        validate.read_reviewed(Path("none.csv"))


# ---- reasons over time


def test_reasons_are_counted_by_the_month_a_row_was_received_in_or_its_file_is_named_for():
    received = {8: pd.Timestamp("2024-03-31 23:59", tz="UTC"), 9: None, 10: None}
    texts = {7: "\ufffd\x07", 8: "\ufffd.", 9: "\ufffd,", 10: "\ufffd!", 11: "\ufffd?"}
    messages = good(text=texts, received_at=received, source={9: "tickets/2026-11-20T0100.parquet"})
    run(messages, budgets(text_decodes=1.0, text_has_no_control_characters=1.0))
    assert Path(FILES["over_time"]).read_text().splitlines() == [
        "month,reason,rows",
        "2024-02,text_decodes,2",
        "2024-02,text_has_no_control_characters,1",
        "2024-03,text_decodes,1",
        "2026-11,text_decodes,1",
        "undated,text_decodes,1",
    ]


def test_without_refused_rows_the_count_is_0():
    run(good())
    assert Path(FILES["over_time"]).read_text() == "month,reason,rows\nundated,none,0\n"
