"""The gate refuses what it says it refuses, and nothing else."""

import contextlib
import csv
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ruamel.yaml

from pipeline import ingest, stage, validate
from pipeline.stage import PipelineError
from pipeline.validate import EXPECTATIONS, Params

ROOT = Path(__file__).parents[1]
FILES = {
    "messages": "data/ingested/messages.parquet",
    "validated": "data/validated/messages.parquet",
    "quarantine": "data/review/quarantine.parquet",
    "docs": "data/docs",
    "report": "reports/validate.json",
}
STRICT = Params(
    row_count=(20, 400),
    spam_share=(0.1, 0.5),
    text_length=(2, 80),
    median_length=(10, 40),
    received_years=(1992, 2100),
    budgets=dict.fromkeys(validate.row_level(), 0.0),
)


def table(texts, labels, **columns):
    """Rows as ingest writes them; `columns` overrides."""
    rows = len(texts)
    columns = {
        "message_id": [ingest.message_id(text) for text in texts],
        "text": texts,
        "label": labels,
        "source": ["sms"] * rows,
        "row": range(1, rows + 1),
        "received_at": [datetime(2024, 2, 29, tzinfo=UTC)] * (rows - 3) + [None] * 3,
    } | columns
    return pa.table(columns, schema=ingest.MESSAGES).to_pandas()


def good(rows=40, **changes):
    """A table that holds: every fourth row is spam. `changes`: column -> {row: value}."""
    texts = [f"this is message number {i}" for i in range(1, rows + 1)]
    labels = ["ham", "ham", "ham", "spam"] * (rows // 4) + ["ham"] * (rows % 4)
    for column, values in {"text": texts, "label": labels}.items():
        for row, value in changes.pop(column, {}).items():
            values[row - 1] = value
    messages = table(texts, labels)
    for column, values in changes.items():
        for row, value in values.items():
            messages.loc[row - 1, column] = value
    return messages


SAME = {1: "Call me  now", 2: "call ME now"}  # rows 1 to 3 are ham, row 4 is spam
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
    "text_has_one_label": good(text={3: "Call me  now", 4: "call ME now"}),
    "text_is_not_a_copy": good(text=SAME),
    "row_count_is_within_bounds": good(rows=19),
    "spam_share_is_within_bounds": good(label=dict.fromkeys(range(1, 31), "spam")),
    "median_length_is_within_bounds": good(text={i: f"{i:_>60}" for i in range(1, 25)}),
    "both_labels_are_present": good(label=dict.fromkeys(range(1, 41), "ham")),
}
LENIENT = {"both_labels_are_present": replace(STRICT, spam_share=(0.0, 0.5))}  # no spam is no share


def broken(name, params=STRICT):
    return set(validate.inspect(BAD_TABLES[name], LENIENT.get(name, params)).broken)


def budgets(**shares):
    return replace(STRICT, budgets=STRICT.budgets | shares)


def run(messages, params=STRICT):
    """The command in the current folder. Returns its error message, or None."""
    section = ruamel.yaml.YAML()
    with open("params.yaml", "w") as file:
        section.dump({"validate": json.loads(json.dumps(vars(params)))}, file)
    Path(FILES["messages"]).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(messages, preserve_index=False), FILES["messages"])
    try:
        validate.main(list(FILES.values()))
    except PipelineError as error:
        return str(error)
    return None


@pytest.fixture(autouse=True)
def _workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# ---- each expectation


def test_a_good_table_breaks_nothing():
    findings = validate.inspect(good(), STRICT)
    assert not findings.broken
    assert {name: figure.value for name, figure in findings.breaches.items()} == dict.fromkeys(
        validate.row_level(), 0
    )
    assert len(findings.kept) == 40


@pytest.mark.parametrize("name", BAD_TABLES)  # of which a deleted expectation leaves its own unbroken
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
    with contextlib.suppress(TypeError, RuntimeError):  # of wrong types that nobody checked any more
        assert set(validate.inspect(BAD_TABLES[name], params).broken) == set()


@pytest.mark.parametrize("text", ["\t\n", "\u2003\u2003", "\ufeff\u00ad", "\u200e\u200f"])
def test_what_eyes_cannot_see_is_blank(text):
    assert set(validate.inspect(good(text={7: text}), STRICT).broken) == {"text_is_not_blank"}


@pytest.mark.parametrize(
    "text", ["tab\tand\r\nline", "São Paulo NÃO é €5", "🦊 ÄÖÜ", "$100 <b>now</b> {x}", ":)"]
)
def test_ordinary_text_of_many_kinds_holds(text):
    assert not validate.inspect(good(text={7: text}), STRICT).broken


@pytest.mark.parametrize("year", [1991, 2101])
def test_a_message_is_from_the_years_that_params_allow(year):
    messages = good(received_at={7: pd.Timestamp(year, 6, 1, tz="UTC")})
    assert set(validate.inspect(messages, STRICT).broken) == {"received_at_is_plausible"}


def test_a_table_without_a_column_is_refused_by_name():
    error = run(good().drop(columns="label").assign(labels="ham"))
    assert error.splitlines() == [
        f"{FILES['messages']}: columns_are_the_contract: unexpected: labels; missing: label; "
        "it must be MESSAGES of pipeline/ingest.py",
        f"error: {FILES['messages']}: label_is_a_string: cannot be checked, for want of its column; "
        "it must be MESSAGES of pipeline/ingest.py",
    ]
    assert pq.read_table(FILES["quarantine"]).num_rows == 0


def test_an_empty_table_is_refused():
    broken = validate.inspect(good().head(0), STRICT).broken
    assert "row_count_is_within_bounds" in broken
    assert "found nothing, the bounds are 0.1 to 0.5" in run(good().head(0))


def test_an_expectation_that_cannot_be_computed_is_a_bug_that_tells_no_message(monkeypatch):
    def broken(params):
        return validate.gxe.ExpectColumnValuesToNotBeNull(column="no such column")

    monkeypatch.setitem(EXPECTATIONS, "text_is_nice", ("rows", broken))
    with pytest.raises(RuntimeError, match=r"could not compute .*text_is_nice.*no such column") as error:
        validate.inspect(good(text={7: "cafÃ© secret"}), budgets(text_is_nice=0.1))
    assert "secret" not in str(error.value)


# ---- quarantine and budgets


def test_a_breach_of_exactly_its_budget_goes_on_and_one_row_more_stops():
    messages = good(100, label={row: "junk" for row in range(1, 58) if row % 4})  # 43 rows
    assert not validate.inspect(messages, budgets(label_is_known=0.43)).broken
    assert set(validate.inspect(messages, budgets(label_is_known=0.42)).broken) == {"label_is_known"}


def test_rows_that_break_something_go_to_quarantine_with_every_reason():
    messages = good(text={7: "\ufffd\x07", 9: None}, label={9: "junk"})
    assert run(messages, budgets(**dict.fromkeys(validate.row_level(), 0.1))) is None
    rows = pq.read_table(FILES["quarantine"]).to_pylist()
    assert rows == [
        {
            "message_id": ingest.message_id("\ufffd\x07"),
            "text": "\ufffd\x07",
            "label": "ham",
            "source": "sms",
            "row": 7,
            "reasons": "text_decodes, text_has_no_control_characters",
        },
        {
            "message_id": ingest.message_id(None),
            "text": None,
            "label": "junk",
            "source": "sms",
            "row": 9,
            "reasons": "text_is_not_null, label_is_known",
        },
    ]
    kept = pq.read_table(FILES["validated"])
    assert kept.schema.equals(validate.VALIDATED)
    assert kept["message_id"].to_pylist() == sorted(kept["message_id"].to_pylist())
    assert set(kept["row"].to_pylist()) == set(range(1, 41)) - {7, 9}


def test_quarantine_has_all_rows_beyond_the_200_that_great_expectations_lists():
    messages = good(400, text=dict.fromkeys([row for row in range(1, 400) if row % 4][:251], "one text"))
    findings = validate.inspect(messages, budgets(text_is_not_a_copy=0.9))
    assert len(findings.quarantined) == findings.breaches["text_is_not_a_copy"].value == 250
    assert len(findings.kept) == 150


def test_the_first_copy_is_kept_and_counts_the_others():
    findings = validate.inspect(good(text={**SAME, 5: "CALL me now"}), budgets(text_is_not_a_copy=0.1))
    copies = findings.kept.set_index("row")["copies"]
    assert copies[1] == 3
    assert set(copies.drop(1)) == {1}
    assert findings.quarantined["row"].tolist() == [2, 5]


def test_a_copy_is_kept_when_what_came_before_it_does_not_hold():
    findings = validate.inspect(good(text=SAME, label={1: None}), budgets(label_is_not_null=0.1))
    assert findings.quarantined["row"].tolist() == [1]
    assert not findings.broken


def test_all_rows_of_a_text_with_two_labels_go():
    messages = good(text={3: "Call me now", 4: "call me now", 5: "call me  now"})
    findings = validate.inspect(messages, budgets(text_has_one_label=0.1, text_is_not_a_copy=0.1))
    assert findings.quarantined[["row", "reasons"]].to_numpy().tolist() == [
        [3, "text_has_one_label"],
        [4, "text_has_one_label"],
        [5, "text_has_one_label, text_is_not_a_copy"],
    ]


def test_nulls_are_no_copies_of_one_another():
    findings = validate.inspect(good(text={7: None, 9: None}), budgets(text_is_not_null=0.1))
    assert not findings.broken
    assert findings.breaches["text_is_not_null"].value == 2


def test_rows_of_two_sources_may_have_one_number():
    messages = pd.concat([good(), good(text={i: f"{i} is another text" for i in range(1, 41)}, source={})])
    messages = messages.assign(source=["sms"] * 40 + ["files/b.csv"] * 40).reset_index(drop=True)
    messages.loc[46, "label"] = "junk"
    findings = validate.inspect(messages, budgets(label_is_known=0.1))
    assert findings.quarantined[["source", "row"]].to_numpy().tolist() == [["files/b.csv", 7]]
    assert len(findings.kept) == 79


# ---- the command


def test_a_breach_above_its_budget_says_place_problem_and_way_out():
    assert run(good(label=dict.fromkeys((1, 2, 3, 5, 6, 7, 9), "junk")), budgets(label_is_known=0.01)) == (
        f"{FILES['messages']}: label_is_known: 7 of 40 rows (17.5 %) break it, the budget is 1.0 %; "
        f"see {FILES['quarantine']}"
    )


def test_each_broken_expectation_has_its_line():
    error = run(good(rows=19, label={1: None}), STRICT)
    assert error.split("\nerror: ") == [
        f"{FILES['messages']}: label_is_not_null: 1 of 19 rows (5.3 %) break it, the budget is 0.0 %; "
        f"see {FILES['quarantine']}",
        f"{FILES['messages']}: row_count_is_within_bounds: found 18, the bounds are 20 to 400; "
        "if the data is right, set section validate of params.yaml; "
        f"`python -m pipeline.validate --propose {FILES['messages']}` works it out",
    ]


def test_a_wrong_type_and_a_shared_place_say_what_was_found():
    assert (
        f": row_is_an_integer: found float64, not int64; {'it must be MESSAGES of pipeline/ingest.py'}"
        in run(BAD_TABLES["row_is_an_integer"])
    )
    assert ": source_and_row_are_unique: 2 of 40 rows (5.0 %) break it; it must" in run(
        BAD_TABLES["source_and_row_are_unique"]
    )


def test_nothing_is_validated_after_a_stop_and_a_stale_table_is_gone():
    assert run(good()) is None
    assert Path(FILES["validated"]).exists()
    assert run(good(label={7: "junk"})) is not None
    assert not Path(FILES["validated"]).exists()
    assert Path(FILES["docs"], "index.html").exists()
    assert pq.read_table(FILES["quarantine"])["row"].to_pylist() == [7]
    assert stage.read_json(Path(FILES["report"]))["verdict"] == "stopped: label_is_known"


def test_the_report_counts_rows_and_breaches():
    run(good(text=SAME, label={7: "junk"}), budgets(label_is_known=0.1, text_is_not_a_copy=0.1))
    report = stage.read_json(Path(FILES["report"]))
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
        for name in validate.row_level()
        if name not in ("label_is_known", "text_is_not_a_copy")
    ]
    assert {figure["value"] for figure in figures.values()} == {0}


def test_equal_input_gives_equal_bytes_and_the_order_of_rows_is_no_matter():
    run(good())
    before = Path(FILES["validated"]).read_bytes()
    run(good().sample(frac=1, random_state=3))
    assert Path(FILES["validated"]).read_bytes() == before


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
        ({"received_years": (0, 2100)}, "received_years: years are from 1 to 9999"),
        ({"received_years": (1992, 10_000)}, "received_years: years are from 1 to 9999"),
    ],
)
def test_params_that_cannot_be_are_refused(section, problem):
    with pytest.raises(PipelineError) as error:
        stage.typed(Params, vars(STRICT) | section, "params.yaml: validate")
    assert str(error.value).startswith(f"params.yaml: validate: {problem}")
    if "unknown" in problem:
        assert str(error.value).endswith(", ".join(validate.row_level()))


# ---- --propose


def pasted(text):
    return stage.typed(Params, ruamel.yaml.YAML(typ="safe").load(text)["validate"], "params.yaml: validate")


@pytest.mark.parametrize(
    "messages",
    [
        good(),
        good(400, text=dict.fromkeys([i for i in range(400) if i % 4], "one text"), label={1: "?", 2: None}),
        good(text={1: None, 2: "", 3: "x" * 70_001, 5: "\x00", 7: "Ã©", 8: "this is message number 9"}),
        good(received_at=dict.fromkeys(range(1, 30), pd.Timestamp(0, tz="UTC"))),
    ],
    ids=["good", "copies", "texts", "times"],
)
def test_the_proposed_section_lets_its_data_through(messages):
    assert run(messages, pasted(validate.propose(messages, Path("x")))) is None


def test_a_proposal_stands_on_what_was_measured(capsys):
    run(good(text=SAME))
    validate.main(["--propose", FILES["messages"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == [
        "validate:",
        "  row_count: [3, 390]  # messages that hold, at least and at most; here 39",
        "  spam_share: [0.12, 0.52]  # of the messages that hold; here 25.6 %",
        "  text_length: [1, 50]  # characters; here 12 to 25",
        "  median_length: [12.0, 50.0]  # characters; here 25",
        "  received_years: [1992, 2100]  # first and last; the first SMS was sent in 1992",
    ]
    assert lines[-1] == "    text_is_not_a_copy: 0.038  # here 1 of 40 rows break it"


def test_a_proposal_reads_any_file_that_ingest_reads(capsys):
    (Path.cwd() / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"))
    with open("mine.csv", "w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *good()[["text", "label"]].itertuples(index=False)])
    validate.main(["--propose", "mine.csv"])
    assert pasted(capsys.readouterr().out).row_count == (4, 400)


def test_data_that_no_bounds_let_through_gets_no_proposal():
    with pytest.raises(PipelineError, match=r"^x\.csv: both_labels_are_present: broken within any bounds"):
        validate.propose(BAD_TABLES["both_labels_are_present"], Path("x.csv"))
