"""Each expectation refuses what its name says, and nothing else."""

from collections import defaultdict

import great_expectations.expectations as gxe
import pandas as pd
import pytest

from pipeline.core import hashing
from pipeline.core.params import parse_params
from pipeline.validation import expectations
from pipeline.validation.builders import one_of
from pipeline.validation.expectations import EXPECTATIONS, Expectation, Params
from pipeline.validation.review import explain
from pipeline.validation.reviewed import Reviewed
from pipeline.validation.runner import run_suite
from tests.harness.errors import error_of
from tests.harness.message_tables import COPIES, STRICT, TWO_LABELS, budgets, good, strict

BANNED = "cheap loans for you"
REVIEWED = Reviewed(banned=frozenset([hashing.message_id(BANNED)]))
HEADERS = "text_has_no_mail_headers"
POINTER = "text_is_not_a_git_lfs_pointer"
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
    "label_is_not_overruled": good(text=TWO_LABELS, source={8: "feedback/2026-11-20.csv"}),
    "text_has_one_label": good(text=TWO_LABELS),
    "text_is_not_a_copy": good(text=COPIES),
    "row_count_is_within_bounds": good(rows=19),
    "spam_share_is_within_bounds": good(label=dict.fromkeys(range(1, 31), "spam")),
    "median_length_is_within_bounds": good(text={i: f"{i:_>60}" for i in range(1, 25)}),
    "both_labels_are_present": good(label=dict.fromkeys(range(1, 41), "ham")),
}
ROWS = [  # changes to a row, and the one expectation that they break
    ({"text": "tab\tand\r\nline"}, ""),
    ({"text": "São Paulo NÃO é €5"}, ""),
    ({"text": ":)"}, ""),
    ({"text": None}, "text_is_not_null"),
    ({"text": " \u200b\u00a0"}, "text_is_not_blank"),
    ({"text": "\ufeff\u00ad"}, "text_is_not_blank"),
    ({"text": "caf\ufffd au lait"}, "text_decodes"),
    ({"text": "cafÃ© au lait"}, "text_is_not_mojibake"),
    ({"text": "don\x92t"}, "text_is_not_mojibake"),
    ({"text": "From: Ann\nTo: Bob\nSubject: tea\n\nsee you"}, ""),  # forwarded by a person
    ({"text": "Received: by x.example\n for Bob\n\nhi"}, HEADERS),
    ({"text": ">From a@x.example Fri\nTo: Bob\nX-2: a\n\tb\nmime-version: 1"}, HEADERS),
    ({"text": "version https://git-lfs.github.com/spec/v1\noid sha256:f7"}, POINTER),
    ({"text": "no\x00thing"}, "text_has_no_control_characters"),
    ({"text": "x" * 81}, "text_length_is_within_bounds"),
    ({"label": None}, "label_is_not_null"),
    ({"label": "junk"}, "label_is_known"),
    ({"message_id": "0123456789abcdef" * 2}, "message_id_is_the_hash_of_its_text"),
    ({"received_at": pd.Timestamp(1991, 12, 31, tz="UTC")}, "received_at_is_plausible"),
    ({"received_at": pd.Timestamp(2101, 1, 1, tz="UTC")}, "received_at_is_plausible"),
    ({"text": BANNED}, "message_is_not_banned"),
]


def test_every_expectation_has_a_bad_table_or_row():
    assert {*BAD_TABLES, *(name for _, name in ROWS)} == {*EXPECTATIONS, ""}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_bad_table_breaks_its_expectation_and_no_other(name):
    params = strict(spam_share=(0.0, 0.5)) if name == "both_labels_are_present" else STRICT
    assert set(run_suite(BAD_TABLES[name], params).broken) == {name}


def test_a_bad_row_breaks_its_expectation_and_no_other():
    changes = defaultdict(dict)
    for row, (columns, _) in enumerate(ROWS, 1):
        for column, value in columns.items():
            changes[column][row] = value
    params = budgets(**dict.fromkeys(expectations.row_level_names(), 0.2))
    findings = run_suite(good(**changes), params, reviewed=REVIEWED)
    assert not findings.broken
    assert findings.reasons.tolist() == [name for _, name in ROWS] + [""] * (40 - len(ROWS))


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
    findings = run_suite(good(text={7: "win now!!!"}), STRICT)
    assert list(findings.broken) == [findings.reasons[6]] == ["text_is_not_loud"]
    assert "    - text is not loud; otherwise the row goes to quarantine" in explain(STRICT)


def test_a_budget_in_params_replaces_the_default():
    params = strict(budgets={"label_is_known": 0.25})
    assert (params.budget("label_is_known"), params.budget("text_has_one_label")) == (0.25, 0.001)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("budgets", {"label_is_nice": 0.1}, ": unknown 'label_is_nice'; choose from text"),
        ("budgets", {"text_decodes": 1.5}, ".text_decodes: input should be less than or equal"),
        ("text_length", (9, 8), ": the minimum, 9, is above the maximum, 8"),
        ("received_years", (0, 2100), ".0: input should be greater than or "),
    ],
)
def test_impossible_params_are_one_line(key, value, problem):
    line = error_of(parse_params, Params, STRICT.model_dump() | {key: value}, "params.yaml")
    assert line.startswith(f"params.yaml.{key}{problem}")


def test_what_later_stages_cannot_take_cannot_be_a_warning():
    impossible = EXPECTATIONS.keys() - set(expectations.possible_warnings())
    for name in [*impossible, "label_is_nice"]:
        with pytest.raises(ValueError, match=f"'{name}' cannot be a warning; choose from text_"):
            strict(warnings=[name])
