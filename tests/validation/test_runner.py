"""A suite runs step by step; budgets, warnings and reviewed messages count."""

import pandas as pd
import pytest

from pipeline.core import hashing
from pipeline.core.reports import Figure
from pipeline.validation import runner
from pipeline.validation.builders import not_null
from pipeline.validation.expectations import EXPECTATIONS, SUITES, Expectation
from pipeline.validation.reviewed import Reviewed
from pipeline.validation.runner import run_suite
from tests.harness.message_tables import STRICT, budgets, good


def test_a_breach_of_exactly_its_budget_passes():
    labels = {row: "junk" for row in range(1, 58) if row % 4}  # 43 rows
    dates = dict.fromkeys((60, 64), pd.Timestamp(0, tz="UTC"))
    messages = good(100, label=labels, received_at=dates)
    findings = run_suite(messages, budgets(label_is_known=0.43, received_at_is_plausible=0.02))
    assert set(findings.broken) == {"received_at_is_plausible"}  # 2 of 97, as 3 are null


def test_an_expectation_that_cannot_be_computed_is_a_bug(monkeypatch):
    entry = Expectation("rows", not_null("no such column"), default_budget=0.1)
    monkeypatch.setitem(EXPECTATIONS, "text_is_nice", entry)
    problem = r"could not compute .*text_is_nice.*no such column"
    with pytest.raises(RuntimeError, match=problem) as error:
        run_suite(good(text={7: "cafÃ© secret"}), STRICT)
    assert "secret" not in str(error.value)


def test_a_released_text_passes_and_is_not_counted():
    released = "caf\ufffd au lait, again"
    ids = frozenset([hashing.message_id(released), hashing.message_id(None)])
    messages = good(text={7: released, 9: "caf\ufffd au lait", 11: None, 13: None})
    params = budgets(text_decodes=0.1, text_is_not_null=0.1)
    findings = run_suite(messages, params, reviewed=Reviewed(released=ids))
    assert not findings.broken  # nulls are not copies of each other
    assert findings.breaches["text_decodes"] == Figure(1, n=37)
    assert findings.breaches["text_is_not_null"] == Figure(2, n=39)  # a null cannot be released
    assert released in set(findings.kept["text"])


def test_the_scoring_suite_needs_texts_only():
    assert set(SUITES["scoring"]) < set(SUITES["training"])
    texts = ["fine", None, " ", "caf\ufffd", "cafÃ©", "no\x00thing", "x" * 81, "a\x07" * 41]
    length, control = "text_length_is_within_bounds", "text_has_no_control_characters"
    single = ["text_decodes", "text_is_not_mojibake", control, length]
    blank, both = f"text_is_not_blank, {length}", f"{control}, {length}"
    assert runner.refusals(texts, STRICT).tolist() == ["", "text_is_not_null", blank, *single, both]
    assert runner.refusals([], STRICT).tolist() == []
