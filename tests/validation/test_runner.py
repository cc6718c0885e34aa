"""A suite runs step by step; budgets, warnings, feedback and reviewed messages count."""

import pandas as pd
import pytest

from pipeline.core import hashing
from pipeline.core.reports import Figure
from pipeline.validation import runner
from pipeline.validation.builders import not_null
from pipeline.validation.expectations import EXPECTATIONS, SUITES, Expectation
from pipeline.validation.reviewed import Reviewed
from pipeline.validation.runner import run_suite
from tests.harness.message_tables import STRICT, budgets, good, message_table, strict

# ---- quarantine and budgets


def test_a_breach_of_exactly_its_budget_passes():
    messages = good(100, label={row: "junk" for row in range(1, 58) if row % 4})  # 43 rows
    assert not run_suite(messages, budgets(label_is_known=0.43)).broken
    assert set(run_suite(messages, budgets(label_is_known=0.42)).broken) == {"label_is_known"}


def test_null_texts_are_not_copies_of_each_other():
    findings = run_suite(good(text={7: None, 9: None}), budgets(text_is_not_null=0.1))
    assert not findings.broken
    assert findings.breaches["text_is_not_null"].value == 2


def test_an_expectation_that_cannot_be_computed_is_a_bug(monkeypatch):
    entry = Expectation("rows", not_null("no such column"), default_budget=0.1)
    monkeypatch.setitem(EXPECTATIONS, "text_is_nice", entry)
    problem = r"could not compute .*text_is_nice.*no such column"
    with pytest.raises(RuntimeError, match=problem) as error:
        run_suite(good(text={7: "cafÃ© secret"}), STRICT)
    assert "secret" not in str(error.value)


def test_a_warning_is_counted_and_keeps_its_rows():
    names = ["text_decodes", "median_length_is_within_bounds"]
    params = strict(warnings=names, median_length=(1, 2))
    findings = run_suite(good(text={7: "caf\ufffd"}), params)
    assert not findings.broken
    assert set(findings.warned) == set(names)
    assert findings.breaches["text_decodes"] == Figure(1, n=40)
    assert len(findings.kept) == 40


# ---- feedback


def with_feedback(label_by_file):
    """40 rows; the text of row 7, which is ham, comes again in each of these files."""
    tables = [good(text={7: "Call me now"})]
    for row, (file, label) in enumerate(label_by_file.items(), 1):
        again = message_table(
            ["call ME now"], [label], source=[file], row=[row], received_at=[None]
        )
        tables.append(again)
    return pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize("order", [1, -1])
def test_the_latest_feedback_overrules_in_any_order(order):
    feedback = {
        "feedback/b/2026-11-20.csv": "spam",
        "feedback/a/2026-11-21.csv": "ham",
        "feedback/2026-11-22.csv": "spam",
    }
    messages = with_feedback(feedback).iloc[::order]
    findings = run_suite(messages, budgets(label_is_not_overruled=0.1, text_is_not_a_copy=0.1))
    assert not findings.broken
    assert findings.breaches["label_is_not_overruled"] == Figure(2, n=43)
    kept = findings.kept[findings.kept["text"].str.lower() == "call me now"]
    assert kept["label"].tolist() == ["spam"]
    overruled = findings.reasons[findings.reasons.str.contains("overruled")]
    assert set(overruled.index) == {6, 41}


@pytest.mark.parametrize(
    ("file", "label", "budget", "reasons"),
    [
        ("feedback/2026-11-20.csv", "ham", "text_is_not_a_copy", {40: "text_is_not_a_copy"}),
        ("feedback/2026-11-20.csv", "junk", "label_is_known", {40: "label_is_known"}),
        (
            "files/2026-11-20.csv",
            "spam",
            "text_has_one_label",
            {6: "text_has_one_label", 40: "text_has_one_label"},
        ),
    ],
    ids=["feedback that agrees", "invalid feedback", "another source"],
)
def test_no_other_row_overrules_a_label(file, label, budget, reasons):
    findings = run_suite(with_feedback({file: label}), budgets(**{budget: 0.1}))
    assert not findings.broken
    assert findings.reasons[findings.reasons != ""].to_dict() == reasons


# ---- reviewed messages


def test_a_released_text_passes_and_is_not_counted():
    released = "caf\ufffd au lait, again"
    ids = frozenset([hashing.message_id(released), hashing.message_id(None)])
    messages = good(text={7: released, 9: "caf\ufffd au lait", 11: None})
    params = budgets(text_decodes=0.1, text_is_not_null=0.1)
    findings = run_suite(messages, params, reviewed=Reviewed(released=ids))
    assert findings.breaches["text_decodes"] == Figure(1, n=38)
    assert findings.breaches["text_is_not_null"] == Figure(1, n=39)  # a null cannot be released
    assert released in set(findings.kept["text"])


# ---- the scoring suite


def test_the_scoring_suite_needs_texts_only():
    assert set(SUITES["scoring"]) < set(SUITES["training"])
    texts = ["fine", None, " ", "caf\ufffd", "cafÃ©", "no\x00thing", "x" * 81, "\x07" * 81]
    assert runner.refusals(texts, STRICT).tolist() == [
        "",
        "text_is_not_null",
        "text_is_not_blank, text_length_is_within_bounds",
        "text_decodes",
        "text_is_not_mojibake",
        "text_has_no_control_characters",
        "text_length_is_within_bounds",
        "text_has_no_control_characters, text_length_is_within_bounds",
    ]
    assert runner.refusals([], STRICT).tolist() == []
