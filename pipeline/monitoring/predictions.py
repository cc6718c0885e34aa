"""The log of predictions: the schema of its files, their names, and how to read them."""

from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa

from pipeline.core.errors import PipelineError
from pipeline.core.tables import read_parquet

PREDICTIONS_FOLDER = Path("data/predictions")  # where the retraining looks for a log
PREDICTIONS = pa.schema(  # FOLDER/predictions-TIME-PROCESS.parquet: a row a message
    {
        "scored_at": pa.timestamp("us", tz="UTC"),  # in whole seconds
        "model_version": pa.string(),  # number of the registered version
        "source": pa.string(),  # as the client named it, shortened; null if it did not
        "probability": pa.float64(),  # calibrated P(spam), in [0, 1]
        "threshold": pa.float64(),  # spam is at least this probability
        "label": pa.string(),  # the model's answer, ham or spam
        "confident": pa.bool_(),  # False: the message may have the other label
        "text_id": pa.string(),  # 32 hex digits: the message_id of the text
        "text": pa.string(),  # as far as the model reads it; null unless texts are kept
    }
)
UNNAMED_SOURCE = "served"  # of messages whose client names none
FILE_PREFIX = "predictions-"


def file_name(time: datetime, suffix: str) -> str:
    """The name of a file; names are in the order of their times.

    Args:
        time: UTC, not before `scored_at` of any row in the file.
    """
    return f"{FILE_PREFIX}{time:%Y%m%dT%H%M%S.%f}{suffix}"


def prediction_files(folder: Path) -> list[Path]:
    """The files of a log, the oldest first; none if there is no folder."""
    return sorted(folder.glob(f"{FILE_PREFIX}*.parquet"))


def read_predictions(
    folder: Path, columns: list[str], since: datetime | None = None
) -> pd.DataFrame:
    """Columns of the log's rows; empty without files.

    Args:
        columns: of PREDICTIONS.
        since: UTC; older files are left out, and so is each row that was scored before.

    Raises: PipelineError.
    """
    names = dict.fromkeys(["scored_at", *columns])  # without repetition
    schema = pa.schema([PREDICTIONS.field(name) for name in names])
    tables = [schema.empty_table()]
    for path in prediction_files(folder):
        if since is None or path.name >= file_name(since, ""):
            table = read_parquet(path, schema.names)
            if table.schema != schema:
                raise PipelineError(f"{path}: not a log of predictions; move it elsewhere")
            tables.append(table)
    predictions: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    is_recent = predictions["scored_at"] >= (since or pd.Timestamp.min.tz_localize("UTC"))
    return predictions.loc[is_recent, columns].reset_index(drop=True)


def check_log(folder: Path) -> None:
    """Raises: PipelineError for a folder without predictions."""
    if not prediction_files(folder):
        remedy = f"write some with `python -m pipeline serve --log {folder}`"
        raise PipelineError(f"{folder}: no log of predictions; {remedy}")


def served_messages(folder: Path, since: datetime | None = None) -> pd.DataFrame:
    """The messages of a log that keeps texts: a row a text, without labels.

    Returns: columns `text`, `label`, which is null as the model's answer is no label, and `source`.

    Raises: PipelineError.
    """
    messages = read_predictions(folder, ["text_id", "text", "source"], since)
    messages = messages[messages["text"].notna()].drop_duplicates("text_id", keep="last")
    source = messages["source"].fillna(UNNAMED_SOURCE)
    return messages[["text"]].assign(label=None, source=source).reset_index(drop=True)
