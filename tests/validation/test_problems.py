"""Each failed expectation is one line: place, problem, remedy."""

from pathlib import Path

import pytest

from pipeline.validation.problems import problem_lines
from pipeline.validation.runner import run_suite
from tests.harness.message_tables import STRICT, budgets, good

MESSAGES = Path("messages.parquet")
SEE = "see bad.parquet, or run `python -m pipeline review`"
LABELS = "add what the file writes to ingest.files.labels"
SCHEMA = "the table must be as MESSAGES in pipeline/core/schemas.py says"


def lines_of(messages, params=STRICT):
    return problem_lines(run_suite(messages, params).broken, MESSAGES, Path("bad.parquet"))


def test_a_breach_above_its_budget_names_rows_and_budget():
    messages = good(rows=20, label=dict.fromkeys((1, 2, 3), "junk"))
    assert lines_of(messages, budgets(label_is_known=0.01)) == [
        "messages.parquet: label_is_known: 3 of 20 rows (15.0 %) break it, "
        f"the budget is 1.0 %, unknown: junk; {LABELS}, or {SEE}",
        "messages.parquet: row_count_is_within_bounds: found 17, the bounds are 20 to 400; "
        "if the data is right, change section validate of params.yaml; "
        "`python -m pipeline review --propose messages.parquet` suggests one",
    ]
    [line] = lines_of(good(text={7: "caf\ufffd"}))
    assert line.endswith(
        "; set ingest.files.encoding to the encoding of the files, such as cp1252: "
        "`python -m pipeline review --propose messages.parquet` names it"
    )


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (["no", "yes", "no", "yes", "once"], ", unknown: no, yes"),
        (["see you at six", "hunter2"] + 2 * ["call me now"], ""),
        (2 * [f"m{n}" for n in range(11)], ""),  # columns are swapped
    ],
)
def test_unknown_labels_are_named_unless_they_may_be_messages(labels, shown):
    (line, *_) = lines_of(good(label=dict(enumerate(labels))))
    assert f"the budget is 0.0 %{shown}; {LABELS}, or {SEE}" in line


def test_an_empty_table_has_nothing_within_bounds():
    assert any("found nothing, the bounds are 0.1 to" in line for line in lines_of(good().head(0)))


def test_a_broken_schema_names_the_difference():
    renamed = good().drop(columns="label").assign(labels="ham")
    assert lines_of(renamed) == [
        f"messages.parquet: columns_are_the_contract: unexpected: labels; missing: label; {SCHEMA}",
        "messages.parquet: label_is_a_string: cannot be checked, as its column is missing; "
        f"{SCHEMA}",
    ]
    assert lines_of(good(row={7: 8}).astype({"row": "float64"})) == [
        f"messages.parquet: row_is_an_integer: found float64, not int64; {SCHEMA}",
        f"messages.parquet: source_and_row_are_unique: 2 of 40 rows (5.0 %) break it; {SCHEMA}",
    ]
