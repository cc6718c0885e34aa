"""Each expectation refuses what its name says, and nothing else."""

import great_expectations.expectations as gxe
import pandas as pd
import pytest

from pipeline.core import hashing
from pipeline.core.errors import PipelineError
from pipeline.core.params import parse_params
from pipeline.validation import expectations
from pipeline.validation.builders import one_of
from pipeline.validation.expectations import EXPECTATIONS, Expectation, Params
from pipeline.validation.review import explain
from pipeline.validation.reviewed import Reviewed
from pipeline.validation.runner import run_suite
from tests.harness.message_tables import COPIES, STRICT, TWO_LABELS, good, strict

BANNED = "cheap loans for you"
REVIEWED = Reviewed(banned=frozenset([hashing.message_id(BANNED)]))
BAD_TABLES = {  # each breaks the expectation of its name, and no other
    "columns_are_the_contract": good().assign(note="from another tool"),
    "message_id_is_a_string": good().astype({"message_id": "category"}),
    "text_is_a_string": good().astype({"text": "category"}),
    "label_is_a_string": good().astype({"label": "category"}),
    "source_is_a_string": good().astype({"source": "category"}),
    "source_is_not_null": good(source={7: None}),
    "row_is_an_integer": good().astype({"row": "float64"}),
    "received_at_is_a_time": good().assign(received_at=pd.Timestamp("2024-02-29")),
    "source_and_row_are_unique": good(row={7: 8}),
    "text_is_not_null": good(text={7: None}),
    "text_is_not_blank": good(text={7: " \u200b\u00a0"}),
    "text_decodes": good(text={7: "caf\ufffd au lait"}),
    "text_is_not_mojibake": good(text={7: "cafÃ© au lait"}),
    "text_has_no_control_characters": good(text={7: "no\x00thing"}),
    "text_length_is_within_bounds": good(text={7: "x" * 81}),
    "label_is_not_null": good(label={7: None}),
    "label_is_known": good(label={7: "junk"}),
    "message_id_is_the_hash_of_its_text": good(message_id={7: "0123456789abcdef"}),
    "received_at_is_plausible": good(received_at={7: pd.Timestamp(0, tz="UTC")}),
    "message_is_not_banned": good(text={7: BANNED}),
    "label_is_not_overruled": good(text=TWO_LABELS, source={8: "feedback/2026-11-20.csv"}),
    "text_has_one_label": good(text=TWO_LABELS),
    "text_is_not_a_copy": good(text=COPIES),
    "row_count_is_within_bounds": good(rows=19),
    "spam_share_is_within_bounds": good(label=dict.fromkeys(range(1, 31), "spam")),
    "median_length_is_within_bounds": good(text={i: f"{i:_>60}" for i in range(1, 25)}),
    "both_labels_are_present": good(label=dict.fromkeys(range(1, 41), "ham")),
}


def broken(messages, params=STRICT):
    return set(run_suite(messages, params, reviewed=REVIEWED).broken)


# ---- each expectation


def test_a_good_table_breaks_nothing():
    findings = run_suite(good(), STRICT)
    assert not findings.broken
    breaches = {name: figure.value for name, figure in findings.breaches.items()}
    assert breaches == dict.fromkeys(expectations.row_level_names(), 0)
    assert len(findings.kept) == 40


def test_every_expectation_has_a_bad_table():
    assert list(BAD_TABLES) == list(EXPECTATIONS)


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_bad_table_breaks_its_expectation_and_no_other(name):
    no_spam_is_allowed = strict(spam_share=(0.0, 0.5))
    params = no_spam_is_allowed if name == "both_labels_are_present" else STRICT
    assert broken(BAD_TABLES[name], params) == {name}


def test_invisible_characters_are_blank():
    texts = ["\t\n", "\u2003\u2003", "\ufeff\u00ad", "\u200e\u200f"]
    findings = run_suite(good(text=dict(enumerate(texts, 1))), STRICT)
    assert set(findings.broken) == {"text_is_not_blank"}
    assert findings.breaches["text_is_not_blank"].value == 4


def test_ordinary_texts_of_many_kinds_pass():
    texts = ["tab\tand\r\nline", "São Paulo NÃO é €5", "🦊 ÄÖÜ", "$100 <b>now</b> {x}", ":)"]
    assert broken(good(text=dict(enumerate(texts, 1)))) == set()


def test_a_year_outside_the_params_is_refused():
    dates = {row: pd.Timestamp(year, 6, 1, tz="UTC") for row, year in ((7, 1991), (9, 2101))}
    findings = run_suite(good(received_at=dates), STRICT)
    assert set(findings.broken) == {"received_at_is_plausible"}
    assert findings.breaches["received_at_is_plausible"].value == 2


# ---- a new expectation is one function and one entry


def not_loud(params):
    return gxe.ExpectColumnValuesToNotMatchRegex(column="text", regex="!!!")


def loud_texts(messages, reviewed):
    return {"is_loud": messages["text"].str.contains("!!!", regex=False)}


@pytest.mark.parametrize(
    "entry",
    [
        Expectation("text", not_loud, default_budget=0.0),
        Expectation("text", one_of("is_loud", False), default_budget=0.0, columns=loud_texts),
    ],
    ids=["Great Expectations", "a computed column"],
)
def test_a_new_expectation_is_one_function_and_one_entry(entry, monkeypatch):
    monkeypatch.setitem(EXPECTATIONS, "text_is_not_loud", entry)
    assert "text_is_not_loud" not in STRICT.budgets
    bad = good(text={7: "win now!!!"})
    findings = run_suite(bad, STRICT)
    assert list(findings.broken) == [findings.reasons[6]] == ["text_is_not_loud"]
    assert broken(bad, strict(budgets={"text_is_not_loud": 0.1})) == set()
    assert "    - text is not loud; otherwise the row goes to quarantine" in explain(STRICT)


# ---- params


def test_a_budget_in_params_replaces_the_default():
    params = strict(budgets={"label_is_known": 0.25})
    assert params.budget("label_is_known") == 0.25
    assert params.budget("text_has_one_label") == 0.001
    assert params.budget("row_count_is_within_bounds") is None


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"budgets": {"label_is_nice": 0.1}}, "budgets: unknown 'label_is_nice'; choose from text"),
        (
            {"budgets": {"label_is_known": 1.5}},
            "budgets.label_is_known: input should be less than or equal to 1, not 1.5",
        ),
        ({"text_length": (9, 8)}, "text_length: the minimum, 9, is above the maximum, 8"),
        ({"received_years": (0, 2100)}, "received_years.0: input should be greater than or "),
        ({"spam_share": (0.1, 1.1)}, "spam_share.1: input should be less than or equal to 1"),
    ],
)
def test_impossible_params_are_one_line(section, problem):
    with pytest.raises(PipelineError) as error:
        parse_params(Params, STRICT.model_dump() | section, "params.yaml: validate")
    assert str(error.value).startswith(f"params.yaml: validate.{problem}")


def test_what_later_stages_cannot_take_cannot_be_a_warning():
    for name in EXPECTATIONS.keys() - set(expectations.possible_warnings()):
        with pytest.raises(ValueError, match=f"'{name}' cannot be a warning"):
            strict(warnings=[name])
    with pytest.raises(ValueError, match="'label_is_nice' cannot be a warning; choose from text_"):
        strict(warnings=["label_is_nice"])
