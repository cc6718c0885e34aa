"""Each expectation refuses what it says it refuses, and nothing else."""

import contextlib
from dataclasses import replace

import pandas as pd
import pytest

from pipeline.core import hashing
from pipeline.core.errors import PipelineError
from pipeline.core.params import parse_params
from pipeline.core.reports import Figure
from pipeline.validation import expectations, runner
from pipeline.validation.expectations import EXPECTATIONS, Params
from tests.harness.message_tables import SAME, STRICT, budgets, good, table

BANNED, RELEASED = "cheap loans for you", "caf\ufffd au lait, again"
REVIEWED = expectations.Reviewed(
    frozenset([hashing.message_id(RELEASED)]), frozenset([hashing.message_id(BANNED)])
)
SAID_TWICE = {7: "Call me  now", 8: "call ME now"}  # row 7 is ham, row 8 is spam
BAD_TABLES = {  # each breaks the expectation that it is named for, and no other
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
    "label_is_not_overruled": good(text=SAID_TWICE, source={8: "feedback/2026-11-20.csv"}),
    "text_has_one_label": good(text=SAID_TWICE),
    "text_is_not_a_copy": good(text=SAME),
    "row_count_is_within_bounds": good(rows=19),
    "spam_share_is_within_bounds": good(label=dict.fromkeys(range(1, 31), "spam")),
    "median_length_is_within_bounds": good(text={i: f"{i:_>60}" for i in range(1, 25)}),
    "both_labels_are_present": good(label=dict.fromkeys(range(1, 41), "ham")),
}
LENIENT = {"both_labels_are_present": replace(STRICT, spam_share=(0.0, 0.5))}  # no spam is no share


def broken(name, params=STRICT):
    return set(inspect(BAD_TABLES[name], LENIENT.get(name, params)).broken)


def inspect(messages, params=STRICT):
    return runner.inspect(messages, params, reviewed=REVIEWED)


# ---- each expectation


def test_a_good_table_breaks_nothing():
    findings = inspect(good(), STRICT)
    assert not findings.broken
    assert {name: figure.value for name, figure in findings.breaches.items()} == dict.fromkeys(
        expectations.row_level(), 0
    )
    assert len(findings.kept) == 40


@pytest.mark.parametrize(
    "name", BAD_TABLES
)  # of which a deleted expectation leaves its own unbroken
def test_a_bad_table_breaks_its_own_expectation_and_no_other(name):
    assert broken(name) == {name}


def test_every_bad_table_has_its_expectation():
    assert list(BAD_TABLES) == list(EXPECTATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_dropped_expectation_lets_its_own_bad_table_through(name, monkeypatch):
    monkeypatch.delitem(EXPECTATIONS, name)
    kept_budgets = {other: share for other, share in STRICT.budgets.items() if other != name}
    params = replace(LENIENT.get(name, STRICT), budgets=kept_budgets)
    with contextlib.suppress(TypeError, ValueError, RuntimeError):
        assert set(inspect(BAD_TABLES[name], params).broken) == set()


@pytest.mark.parametrize("text", ["\t\n", "\u2003\u2003", "\ufeff\u00ad", "\u200e\u200f"])
def test_what_eyes_cannot_see_is_blank(text):
    assert set(inspect(good(text={7: text}), STRICT).broken) == {"text_is_not_blank"}


@pytest.mark.parametrize(
    "text", ["tab\tand\r\nline", "São Paulo NÃO é €5", "🦊 ÄÖÜ", "$100 <b>now</b> {x}", ":)"]
)
def test_ordinary_text_of_many_kinds_holds(text):
    assert not inspect(good(text={7: text}), STRICT).broken


@pytest.mark.parametrize("year", [1991, 2101])
def test_a_message_is_from_the_years_that_params_allow(year):
    messages = good(received_at={7: pd.Timestamp(year, 6, 1, tz="UTC")})
    assert set(inspect(messages, STRICT).broken) == {"received_at_is_plausible"}


def test_an_expectation_that_cannot_be_computed_is_a_bug_that_tells_no_message(monkeypatch):
    def broken(params):
        return expectations.gxe.ExpectColumnValuesToNotBeNull(column="no such column")

    monkeypatch.setitem(EXPECTATIONS, "text_is_nice", ("rows", broken))
    with pytest.raises(
        RuntimeError, match=r"could not compute .*text_is_nice.*no such column"
    ) as error:
        inspect(good(text={7: "cafÃ© secret"}), budgets(text_is_nice=0.1))
    assert "secret" not in str(error.value)


# ---- quarantine and budgets


def test_a_breach_of_exactly_its_budget_goes_on_and_one_row_more_stops():
    messages = good(100, label={row: "junk" for row in range(1, 58) if row % 4})  # 43 rows
    assert not inspect(messages, budgets(label_is_known=0.43)).broken
    assert set(inspect(messages, budgets(label_is_known=0.42)).broken) == {"label_is_known"}


def test_nulls_are_no_copies_of_one_another():
    findings = inspect(good(text={7: None, 9: None}), budgets(text_is_not_null=0.1))
    assert not findings.broken
    assert findings.breaches["text_is_not_null"].value == 2


# ---- feedback


def feedback(labels_by_file):
    """40 rows; the text of row 7, which is ham, comes again in each of these files."""
    rows = [good(text={7: "Call me now"})]
    for row, (file, label) in enumerate(labels_by_file.items(), 1):
        message_id = hashing.message_id("call ME now")
        rows.append(
            table(
                ["call ME now"],
                [label],
                message_id=[message_id],
                source=[file],
                row=[row],
                received_at=[None],
            )
        )
    return pd.concat(rows, ignore_index=True)


@pytest.mark.parametrize("order", [1, -1])
def test_a_later_label_for_the_same_text_wins_wherever_it_stands(order):
    said = {
        "feedback/b/2026-11-20.csv": "spam",
        "feedback/a/2026-11-21.csv": "ham",
        "feedback/2026-11-22.csv": "spam",
    }
    messages = feedback(said).iloc[::order]
    findings = inspect(messages, budgets(label_is_not_overruled=0.1, text_is_not_a_copy=0.1))
    assert not findings.broken
    assert findings.breaches["label_is_not_overruled"] == Figure(2, n=43)
    kept = findings.kept[findings.kept["text"].str.lower() == "call me now"]
    assert kept["label"].tolist() == ["spam"]
    overruled = findings.reasons[findings.reasons.str.contains("overruled")]
    assert set(overruled.index) == {6, 41}


def test_feedback_that_agrees_is_a_copy():
    findings = inspect(
        feedback({"feedback/2026-11-20.csv": "ham"}), budgets(text_is_not_a_copy=0.1)
    )
    assert findings.reasons[findings.reasons != ""].to_dict() == {40: "text_is_not_a_copy"}


def test_feedback_that_does_not_hold_overrules_nothing():
    findings = inspect(feedback({"feedback/2026-11-20.csv": "junk"}), budgets(label_is_known=0.1))
    assert not findings.broken
    assert "Call me now" in set(findings.kept["text"])


def test_of_other_sources_no_label_wins():
    findings = inspect(feedback({"files/2026-11-20.csv": "spam"}), budgets(text_has_one_label=0.1))
    assert set(findings.reasons[findings.reasons != ""]) == {"text_has_one_label"}


# ---- what a person released


def test_a_released_text_holds_whatever_is_said_against_it_and_no_longer_counts():
    messages = good(text={7: RELEASED, 9: "caf\ufffd au lait"})
    findings = inspect(messages, budgets(text_decodes=0.1))
    assert findings.breaches["text_decodes"] == Figure(1, n=39)
    assert RELEASED in set(findings.kept["text"])
    assert inspect(good(text={7: RELEASED}), STRICT).broken == {}


def test_a_null_cannot_be_released():
    reviewed = expectations.Reviewed(released=frozenset([hashing.message_id(None)]))
    assert set(runner.inspect(good(text={7: None}), STRICT, reviewed=reviewed).broken) == {
        "text_is_not_null"
    }


# ---- warnings


def test_a_warning_is_found_and_keeps_its_rows():
    params = replace(
        STRICT, warnings=["text_decodes", "median_length_is_within_bounds"], median_length=(1, 2)
    )
    findings = inspect(good(text={7: "caf\ufffd"}), params)
    assert not findings.broken
    assert set(findings.warned) == set(params.warnings)
    assert findings.breaches["text_decodes"] == Figure(1, n=40)
    assert len(findings.kept) == 40


@pytest.mark.parametrize(
    "name", [name for name in EXPECTATIONS if name not in expectations.may_warn()]
)
def test_what_no_later_stage_can_take_is_no_warning(name):
    with pytest.raises(
        ValueError, match=f"^warnings: '{name}' cannot be one; choose from text_is_not_blank, "
    ):
        replace(STRICT, warnings=[name])


# ---- the scoring suite


def test_the_scoring_suite_is_the_training_suites_rules_for_texts_and_needs_no_label():
    assert set(expectations.SUITES["scoring"]) < set(expectations.SUITES["training"])
    bad = ["fine", None, " ", "caf\ufffd", "cafÃ©", "no\x00thing", "x" * 81, "\x07" * 81]
    assert runner.refusals(bad, STRICT).tolist() == [
        "",
        "text_is_not_null",
        "text_is_not_blank, text_length_is_within_bounds",
        "text_decodes",
        "text_is_not_mojibake",
        "text_has_no_control_characters",
        "text_length_is_within_bounds",
        "text_has_no_control_characters, text_length_is_within_bounds",
    ]


def test_nothing_to_score_is_refused_nothing():
    assert runner.refusals([], STRICT).tolist() == []


# ---- params


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        (
            {"budgets": STRICT.budgets | {"label_is_nice": 0.1}},
            "budgets: unknown 'label_is_nice'; one for each of ",
        ),
        ({"budgets": {}}, "budgets: missing 'text_is_not_null', 'text_is_not_blank', "),
        (
            {"budgets": STRICT.budgets | {"label_is_known": 1.5}},
            "budgets: no share from 0 to 1 for 'label_is_known'; one for each of ",
        ),
        ({"text_length": (9, 8)}, "text_length: the least, 9, is above the most, 8"),
        ({"warnings": ["label_is_nice"]}, "warnings: 'label_is_nice' cannot be one; choose from "),
        ({"received_years": (0, 2100)}, "received_years: years are from 1 to 9999"),
        ({"received_years": (1992, 10_000)}, "received_years: years are from 1 to 9999"),
    ],
)
def test_params_that_cannot_be_are_refused(section, problem):
    with pytest.raises(PipelineError) as error:
        parse_params(Params, vars(STRICT) | section, "params.yaml: validate")
    assert str(error.value).startswith(f"params.yaml: validate: {problem}")
    if "unknown" in problem:
        assert str(error.value).endswith(", ".join(expectations.row_level()))
