"""Files of a log of predictions, as the server writes them."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from pipeline.core.hashing import message_id
from pipeline.core.tables import write_parquet
from pipeline.monitoring.predictions import PREDICTIONS, file_name

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ROW = {
    "model_version": "3",
    "source": "sms",
    "probability": 0.25,
    "threshold": 0.5,
    "label": "ham",
    "confident": True,
}


def write_log(folder: Path, rows: list[dict], time: datetime = NOON) -> Path:
    """A file with these rows, which were scored and written at a time; the rest is as in ROW."""
    rows = [
        {**ROW, "scored_at": time, "text_id": message_id(row.get("text", str(place))), **row}
        for place, row in enumerate(rows)
    ]
    path = folder / file_name(time, "-7.parquet")
    write_parquet(path, [pa.RecordBatch.from_pylist(rows, PREDICTIONS)], PREDICTIONS)
    return path
