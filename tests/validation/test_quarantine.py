"""Rows are valid or in quarantine, and both are counted."""

import pandas as pd

from pipeline.core.schemas import VALIDATED
from pipeline.validation import quarantine
from pipeline.validation.runner import run_suite
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


def test_the_first_copy_is_kept_and_counts_the_others():
    messages = good(text={**COPIES, 5: "CALL me now"})
    valid, refused, _ = sort_rows(messages, budgets(text_is_not_a_copy=0.1))
    copies = valid.set_index("row")["copies"]
    assert copies[1] == 3
    assert set(copies.drop(1)) == {1}
    assert refused["row"].tolist() == [2, 5]


def test_a_copy_is_kept_if_the_row_before_it_is_refused():
    messages = good(text=COPIES, label={1: None})
    _, refused, findings = sort_rows(messages, budgets(label_is_not_null=0.1))
    assert refused["row"].tolist() == [1]
    assert not findings.broken


def test_all_rows_of_a_text_with_two_labels_are_refused():
    messages = good(text={3: "Call me now", 4: "call me now", 5: "call me  now"})
    params = budgets(text_has_one_label=0.1, text_is_not_a_copy=0.1)
    _, refused, _ = sort_rows(messages, params)
    assert refused[["row", "reasons"]].to_numpy().tolist() == [
        [3, "text_has_one_label"],
        [4, "text_has_one_label"],
        [5, "text_has_one_label, text_is_not_a_copy"],
    ]


def test_rows_of_two_sources_may_have_the_same_number():
    others = good(text={i: f"{i} is another text" for i in range(1, 41)})
    messages = pd.concat([good(), others.assign(source="files/b.csv")], ignore_index=True)
    messages.loc[46, "label"] = "junk"
    valid, refused, _ = sort_rows(messages, budgets(label_is_known=0.1))
    assert refused[["source", "row"]].to_numpy().tolist() == [["files/b.csv", 7]]
    assert len(valid) == 79


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
