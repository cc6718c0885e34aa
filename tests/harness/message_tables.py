"""Tables as ingest writes them, good ones and one that breaks each expectation."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ruamel.yaml

from pipeline import validate
from pipeline.core import hashing
from pipeline.core.errors import PipelineError
from pipeline.core.schemas import MESSAGES
from pipeline.validation import expectations
from pipeline.validation.expectations import Params
from tests.harness.small_project import stage_arguments

FILES = {
    "messages": "data/ingested/messages.parquet",
    "reviewed": "data/reviewed.csv",
    "validated": "data/validated/messages.parquet",
    "quarantine": "data/review/quarantine.parquet",
    "docs": "data/docs",
    "report": "reports/validate.json",
    "over_time": "reports/quarantine.csv",
}
STRICT = Params(
    row_count=(20, 400),
    spam_share=(0.1, 0.5),
    text_length=(2, 80),
    median_length=(10, 40),
    received_years=(1992, 2100),
    warnings=[],
    budgets=dict.fromkeys(expectations.row_level(), 0.0),
)


def table(texts, labels, **columns):
    """Rows as ingest writes them; `columns` overrides."""
    rows = len(texts)
    columns = {
        "message_id": [hashing.message_id(text) for text in texts],
        "text": texts,
        "label": labels,
        "source": ["sms"] * rows,
        "row": range(1, rows + 1),
        "received_at": [datetime(2024, 2, 29, tzinfo=UTC)] * (rows - 3) + [None] * 3,
    } | columns
    return pa.table(columns, schema=MESSAGES).to_pandas()


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


def budgets(**shares):
    """STRICT with other budgets."""
    return replace(STRICT, budgets=STRICT.budgets | shares)


def run(messages, params=STRICT, reviewed=()):
    """The command in the current folder. Returns its error message, or None."""
    section = ruamel.yaml.YAML()
    with open("params.yaml", "w") as file:
        section.dump({"validate": json.loads(json.dumps(vars(params)))}, file)
    Path(FILES["messages"]).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(messages, preserve_index=False), FILES["messages"])
    decisions = [
        "message_id,verdict,why",
        *(f"{message_id},{verdict}," for message_id, verdict in reviewed),
    ]
    Path(FILES["reviewed"]).write_text("\n".join(decisions) + "\n")
    try:
        validate.main(stage_arguments("validate", *FILES.values()))
    except PipelineError as error:
        return str(error)
    return None
