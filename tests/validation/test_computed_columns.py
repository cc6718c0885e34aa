"""Rows with equal texts are compared, and the latest feedback decides about their label."""

import pandas as pd

from pipeline.validation.computed_columns import copies_and_labels
from pipeline.validation.reviewed import NOTHING_REVIEWED


def compared(*rows):
    """The computed columns as lists, by name; a row is (text, label, source)."""
    messages = pd.DataFrame(rows, columns=["text", "label", "source"]).assign(row=1)
    columns = copies_and_labels(messages, NOTHING_REVIEWED)
    return {name: column.tolist() for name, column in columns.items()}


def test_the_latest_feedback_overrules_in_any_order():
    columns = compared(
        ("Call me now", "ham", "sms"),
        ("call ME now", "ham", "feedback/b/2026-11-21.csv"),
        ("call me  now", "spam", "feedback/a/2026-11-22.csv"),
        ("call me now", "ham", "feedback/2026-11-20.csv"),
    )
    assert columns["is_overruled"] == [True, True, False, True]
    assert columns["is_contested"] == [False] * 4


def test_feedback_that_agrees_is_a_copy():
    columns = compared(("Call me", "ham", "sms"), ("call ME", "ham", "feedback/2026-11-20.csv"))
    assert columns["is_overruled"] == columns["is_contested"] == [False, False]
    assert columns["is_copy"] == [False, True]


def test_another_source_does_not_overrule():
    columns = compared(("Call me", "ham", "sms"), ("call ME", "spam", "files/2026-11-20.csv"))
    assert columns["is_overruled"] == columns["is_copy"] == [False, False]
    assert columns["is_contested"] == [True, True]
