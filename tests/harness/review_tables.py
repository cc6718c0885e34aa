"""Small tables of messages for people to review, as the stages and the server write them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.core.hashing import message_id
from pipeline.core.schemas import DISPUTED_LABELS, MISTAKES, QUARANTINE
from pipeline.core.tables import write_parquet
from tests.harness.small_project import ROOT

SCHEMAS = {"quarantine": QUARANTINE, "mistakes": MISTAKES, "label_noise": DISPUTED_LABELS}
ROW = {
    "label": "ham",
    "source": "sms",
    "row": 1,
    "reasons": "text_is_not_blank",
    "probability": 0.25,
    "wrong": True,
    "suggested": "spam",
    "score": 0.125,
}


def new_review_project(folder: Path) -> None:
    """What the page needs of a project: its params, and decisions of nobody."""
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (folder / "data" / "review").mkdir(parents=True)
    (folder / "data" / "reviewed.csv").write_text("message_id,verdict,why\n")


def write_review_table(folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Writes data/review/NAME.parquet: rows with a text at least, the rest as in ROW."""
    whole = [{**ROW, "message_id": message_id(row["text"]), **row} for row in rows]
    batch = pa.RecordBatch.from_pylist(whole, SCHEMAS[name])
    write_parquet(folder / "data" / "review" / f"{name}.parquet", [batch], SCHEMAS[name])
