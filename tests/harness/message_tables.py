"""Tables as ingest writes them: a good one, changes to it, and the validate stage on them."""

import json
import random
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import validate
from pipeline.core import hashing
from pipeline.core.errors import PipelineError
from pipeline.core.schemas import MESSAGES
from pipeline.validation import expectations
from pipeline.validation.expectations import Params
from tests.harness.small_project import stage_arguments

FILES = {  # the paths of the stage, in the order of dvc.yaml
    "messages": "data/ingested/messages.parquet",
    "reviewed": "data/reviewed.csv",
    "validated": "data/validated/messages.parquet",
    "quarantine": "data/review/quarantine.parquet",
    "docs": "data/docs",
    "report": "reports/validate.json",
    "by_month": "reports/quarantine.csv",
}
STRICT = Params(
    row_count=(20, 400),
    spam_share=(0.1, 0.5),
    text_length=(2, 80),
    median_length=(10, 40),
    received_years=(1992, 2100),
    warnings=[],
    budgets=dict.fromkeys(expectations.row_level_names(), 0.0),
)
COPIES = {1: "Call me  now", 2: "call ME now"}  # in `good`, rows 1 to 3 are ham, row 4 is spam
TWO_LABELS = {7: "Call me  now", 8: "call ME now"}  # row 7 is ham, row 8 is spam
WORDS = {
    "ham": "lunch home later see you love walk dog rain bus work tea soon kids mum",
    "spam": "prize win claim cash txt free call urgent offer award code reply mobile",
}


def message_table(texts: list, labels: list) -> pd.DataFrame:
    """Rows as ingest writes them."""
    rows = len(texts)
    columns = {
        "message_id": [hashing.message_id(text) for text in texts],
        "text": texts,
        "label": labels,
        "source": ["sms"] * rows,
        "row": range(1, rows + 1),
        "received_at": [datetime(2024, 2, 29, tzinfo=UTC)] * (rows - 3) + [None] * 3,
        "kind": [None] * rows,
        "language": [None] * rows,
    }
    return pa.table(columns, schema=MESSAGES).to_pandas()


def worded_messages(rows: int, seed: int) -> pd.DataFrame:
    """Messages whose words depend on the label; every fifth is spam."""
    rng = random.Random(seed)
    labels = ["ham" if i % 5 else "spam" for i in range(rows)]
    texts = [" ".join(rng.choices(WORDS[label].split(), k=7)) for label in labels]
    return message_table(texts, labels)


def good(rows: int = 40, **changes: dict) -> pd.DataFrame:
    """A table that passes STRICT; every fourth row is spam. `changes`: column -> {row: value}."""
    texts = [f"this is message number {i}" for i in range(1, rows + 1)]
    labels = ["ham", "ham", "ham", "spam"] * (rows // 4) + ["ham"] * (rows % 4)
    for column, values in {"text": texts, "label": labels}.items():
        for row, value in changes.pop(column, {}).items():
            values[row - 1] = value
    messages = message_table(texts, labels)
    for column, values in changes.items():
        for row, value in values.items():
            messages.loc[row - 1, column] = value
    return messages


def strict(**changes: object) -> Params:
    """STRICT with other values."""
    return Params(**STRICT.model_dump() | changes)


def budgets(**shares: float) -> Params:
    """STRICT with other budgets."""
    return strict(budgets=STRICT.budgets | shares)


def run_validate(
    messages: pd.DataFrame,
    params: Params = STRICT,
    reviewed: dict | None = None,
    later_sections: dict | None = None,
) -> str:
    """The error message of the stage in the current folder, or "".

    Args:
        reviewed: verdict by message_id.
        later_sections: of params.yaml, those of later stages.
    """
    sections = {"validate": params.model_dump(), **(later_sections or {})}
    Path("params.yaml").write_text(json.dumps(sections))  # JSON is YAML
    Path(FILES["messages"]).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(messages, preserve_index=False), FILES["messages"])
    rows = [f"{message_id},{verdict}," for message_id, verdict in (reviewed or {}).items()]
    Path(FILES["reviewed"]).write_text("\n".join(["message_id,verdict,why", *rows]) + "\n")
    try:
        validate.main(stage_arguments("validate", *FILES.values()))
    except PipelineError as error:
        return str(error)
    return ""
