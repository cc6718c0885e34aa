"""Lists the messages of train whose label a model that never saw them disputes, the surest first."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.core.cli import argument_parser
from pipeline.core.errors import PipelineError
from pipeline.core.schemas import DISPUTED_LABELS, MESSAGES
from pipeline.core.tables import read_parquet, write_parquet
from pipeline.models import baseline

log = logging.getLogger(__name__)

EXAMPLE = (
    "python -m pipeline label-noise data/validated/messages.parquet "
    "data/vectorized/splits.parquet disputed.parquet"
)

FOLDS = 10  # each campaign in one of them


def disputed(messages: pd.DataFrame, spam_scores: NDArray[np.float64]) -> pd.DataFrame:
    """The messages that look more like the other label, as DISPUTED, the least like their own first.

    spam_scores: (n,), in (0, 1), out of fold.
    Source: Northcutt, Jiang, Chuang 2021, Confident learning, whose self-confidence this ranks by.
    """
    spam = (messages["label"] == "spam").to_numpy()
    own = np.where(spam, spam_scores, 1 - spam_scores)
    listed = messages.assign(suggested=np.where(spam, "ham", "spam"), score=own)
    return listed[own < 0.5].sort_values(["score", "message_id"]).reindex(columns=DISPUTED_LABELS.names)


def train_rows(messages: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """The rows that the network trains on, with their campaigns."""
    rows = messages.merge(splits, on="message_id").sort_values("message_id", ignore_index=True)
    return rows[(rows["split"] == "train") & ~rows["left_out"]]


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    for name in ("messages", "splits", "output"):
        parser.add_argument(name, type=Path)
    messages, splits, output = vars(parser.parse_args(argv)).values()
    read: Any = (read_parquet(messages, MESSAGES.names), read_parquet(splits))
    rows = train_rows(*(table.to_pandas() for table in read))
    spam = (rows["label"] == "spam").to_numpy(np.bool_)
    fewest = min(rows.loc[spam == label, "campaign_key"].nunique() for label in (True, False))
    if fewest < FOLDS:
        raise PipelineError(
            f"{messages}: {fewest} campaigns of one label in train, {FOLDS} are needed; bring more messages"
        )
    log.info("scoring %s messages, each by a model that never saw its campaign", f"{len(rows):,}")
    keys = rows["campaign_key"].to_numpy()
    scores = baseline.out_of_fold_scores(rows["text"].tolist(), spam, keys, FOLDS)
    found = disputed(rows, scores)
    table = pa.Table.from_pandas(found, DISPUTED_LABELS, preserve_index=False)
    write_parquet(output, table.to_batches(), DISPUTED_LABELS)
    log.info(
        "label_noise: %d of %s labels are disputed: read %s", len(found), f"{len(rows):,}", output
    )
