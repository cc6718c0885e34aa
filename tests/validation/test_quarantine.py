"""Rows are valid or in quarantine, and both are counted."""

import pandas as pd

from pipeline.core.schemas import VALIDATED
from pipeline.validation import quarantine
from pipeline.validation.runner import run_suite
from tests.harness.errors import error_of
from tests.harness.message_tables import COPIES, STRICT, budgets, good


def sort_rows(messages, params):
    """The valid rows, the rows in quarantine and the findings."""
    findings = run_suite(messages, params)
    valid = quarantine.validated_rows(messages, findings)
    return valid, quarantine.quarantined_rows(messages, findings), findings


def test_quarantine_has_more_rows_than_great_expectations_lists():
    copies = [row for row in range(1, 400) if row % 4][:251]
    messages = good(400, text=dict.fromkeys(copies, "one text"))
    valid, refused, findings = sort_rows(messages, budgets(text_is_not_a_copy=0.9))
    assert len(refused) == findings.breaches["text_is_not_a_copy"].value == 250
    assert len(valid) == 150


def test_rows_with_equal_texts_are_kept_or_refused():
    """The first copy stays, unless it is refused; of a text with two labels none stays."""
    texts = COPIES | {5: "CALL me now", 9: "first", 10: "First"}
    texts |= {15: "last", 16: "LAST", 17: "last"}
    texts |= {18: "again", 19: "Again"}  # invalid feedback does not overrule
    feedback = {19: "feedback/2026-11-20.csv"}
    messages = good(text=texts, label={9: None, 19: "junk"}, source=feedback)
    names = ("label_is_not_null", "label_is_known", "text_has_one_label", "text_is_not_a_copy")
    valid, refused, findings = sort_rows(messages, budgets(**dict.fromkeys(names, 0.2)))
    assert not findings.broken
    assert refused.set_index("row")["reasons"].to_dict() == {
        2: "text_is_not_a_copy",
        5: "text_is_not_a_copy",
        9: "label_is_not_null",
        15: "text_has_one_label",
        16: "text_has_one_label",
        17: "text_has_one_label, text_is_not_a_copy",
        19: "label_is_known",
    }
    copies = valid.set_index("row")["copies"]
    assert copies[copies > 1].to_dict() == {1: 3, 10: 2, 18: 2}


def test_rows_of_two_sources_may_have_the_same_number():
    messages = good(row={40: 7}, source={40: "files/b.csv"}, label={40: "junk"})
    valid, refused, _ = sort_rows(messages, budgets(label_is_known=0.1))
    assert refused[["source", "row"]].to_numpy().tolist() == [["files/b.csv", 7]]
    assert len(valid) == 39


def test_two_texts_with_one_id_are_named():
    messages = good(source={9: "files/b.csv"})
    findings = run_suite(messages, STRICT)
    shared = findings.kept["message_id"][6]
    findings.kept = findings.kept.replace({"message_id": {messages["message_id"][8]: shared}})
    assert error_of(quarantine.validated_rows, messages, findings) == (
        f"row 7 of sms and row 9 of files/b.csv: two texts have the message_id {shared}; "
        "remove one of the two rows"
    )


def test_an_empty_table_has_no_valid_rows():
    valid, refused, findings = sort_rows(good().head(0), STRICT)
    assert (len(valid), len(refused)) == (0, 0)
    assert list(valid) == VALIDATED.names
    assert "row_count_is_within_bounds" in findings.broken
    assert quarantine.validation_figures(findings)["spam_share"].value is None


def test_the_month_is_of_the_date_or_else_of_the_file_name():
    dates = ["2024-02-29", "2024-03-31 23:59", None, None]
    rows = pd.DataFrame(
        {
            "received_at": pd.to_datetime(dates, utc=True, format="mixed"),
            "source": ["sms", "sms", "tickets/2026-11-20T0100.parquet", "sms"],
            "reasons": ["text_decodes, label_is_known", *["text_decodes"] * 3],
        }
    )
    assert quarantine.count_by_month(rows) == [
        ("2024-02", "label_is_known", 1),
        ("2024-02", "text_decodes", 1),
        ("2024-03", "text_decodes", 1),
        ("2026-11", "text_decodes", 1),
        ("undated", "text_decodes", 1),
    ]
    assert quarantine.count_by_month(rows.head(0)) == [("undated", "none", 0)]
