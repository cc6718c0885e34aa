"""Lists the training messages whose label a model disputes, the most disputed first.

Each message is scored by a linear model that did not see its campaign. The output is a Parquet file
for a person, who corrects the labels at their source.
"""

import logging
from pathlib import Path

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
    "data/vectorized/splits.parquet data/review/label_noise.parquet"
)
CAMPAIGN_FOLDS = 10  # more than the baseline's default: each model sees 90 % of the campaigns


def disputed_labels(messages: pd.DataFrame, spam_scores: NDArray[np.float64]) -> pd.DataFrame:
    """The messages that look more like the other label, as DISPUTED_LABELS.

    Source: Northcutt, Jiang, Chuang 2021, Confident learning; ranked by their self-confidence.

    Args:
        messages: n rows of MESSAGES.
        spam_scores: (n,), out of fold, in (0, 1).
    """
    spam = (messages["label"] == "spam").to_numpy()
    score = np.where(spam, spam_scores, 1 - spam_scores)
    rows = messages.assign(suggested=np.where(spam, "ham", "spam"), score=score)[score < 0.5]
    return rows.sort_values(["score", "message_id"]).reindex(columns=DISPUTED_LABELS.names)


def train_rows(messages: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """The messages that the network trains on, with their campaign keys, sorted by message_id.

    Args:
        messages: MESSAGES.
        splits: SPLITS.
    """
    rows = messages.merge(splits, on="message_id").sort_values("message_id", ignore_index=True)
    return rows[(rows["split"] == "train") & ~rows["left_out"]]


def main(argv: list[str] | None = None) -> None:
    """Runs the command. Raises: PipelineError if there are too few campaigns."""
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("messages", type=Path, metavar="MESSAGES", help="validated messages")
    parser.add_argument("splits", type=Path, metavar="SPLITS", help="their splits")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="Parquet file to write")
    arguments = parser.parse_args(argv)
    messages = read_parquet(arguments.messages, MESSAGES.names).to_pandas()
    rows = train_rows(messages, read_parquet(arguments.splits).to_pandas())
    spam = (rows["label"] == "spam").to_numpy(np.bool_)
    campaigns = min(rows.loc[spam == label, "campaign_key"].nunique() for label in (True, False))
    if campaigns < CAMPAIGN_FOLDS:
        problem = f"{campaigns} campaigns of one label in train, but {CAMPAIGN_FOLDS} are needed"
        raise PipelineError(f"{arguments.messages}: {problem}; add messages")
    log.info("label-noise: scoring %s messages", f"{len(rows):,}")
    keys = rows["campaign_key"].to_numpy()
    scores = baseline.out_of_fold_scores(rows["text"].tolist(), spam, keys, CAMPAIGN_FOLDS)
    disputed = disputed_labels(rows, scores)
    table = pa.Table.from_pandas(disputed, DISPUTED_LABELS, preserve_index=False)
    write_parquet(arguments.output, table.to_batches(), DISPUTED_LABELS)
    counts = f"{len(disputed):,} of {len(rows):,}"
    log.info("label-noise: %s labels are disputed; see %s", counts, arguments.output)
