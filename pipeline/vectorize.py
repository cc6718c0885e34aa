"""Splits by campaign and by time, fits a sub-word tokenizer on train alone, and turns text into token ids."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
from tokenizers import (
    Tokenizer,
)

from pipeline.core.cli import parse_paths, run_stage
from pipeline.core.errors import PipelineError
from pipeline.core.files import atomic_path, write_text
from pipeline.core.params import read_params
from pipeline.core.reports import Figure, write_report
from pipeline.core.schemas import SPLITS
from pipeline.core.tables import read_parquet, write_csv, write_parquet, write_shards
from pipeline.preprocessing import profile
from pipeline.preprocessing.params import Params
from pipeline.preprocessing.splits import RANK, assign_splits, figures_of
from pipeline.preprocessing.time_windows import NEWEST
from pipeline.preprocessing.tokenizer import encode_texts, fit_tokenizer, shards

log = logging.getLogger(__name__)
CLASSES = "ham", "spam"


def write_profile(
    used: Mapping[str, pd.DataFrame], tokenizer: Tokenizer, report: Path, folder: Path
) -> None:
    """What each split is made of, as a report and as tables for plots."""
    counts = {
        name: [len(ids) for ids in encode_texts(part["text"].tolist(), tokenizer)]
        for name, part in used.items()
    }
    found = profile.describe(used)
    rows = sum(map(len, used.values()))
    write_report(
        report, rows, profile.figures(found, counts), f"{rows:,} rows in {len(used)} splits"
    )
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for name, (columns, table) in profile.tables(found, counts).items():
            for part in CLASSES if name == "terms" else used:
                own = (row[1:] for row in table if row[0] == part)
                write_csv(temporary / f"{name}_{part}.csv", columns[1:], own)


def sentence(rows: pd.DataFrame, used: Mapping[str, pd.DataFrame]) -> str:
    """How many rows each split has, and why the others are left out."""
    counts = ", ".join(f"{name} {len(part):,}" for name, part in used.items())
    retired = int(rows["retired"].sum())
    alike = int(rows["left_out"].sum()) - retired
    return f"{counts}; left out: {alike:,} like a row of a higher split, {retired:,} retired"


def main(argv: list[str] | None = None) -> None:
    names = "messages", "tokenizer", "splits", "train", "val", "report", "profile", "profile-tables"
    messages, tokenizer_path, splits, train, val, report, described, tables = vars(
        parse_paths(argv, __doc__, *names)
    ).values()
    params = read_params(Params, "vectorize")

    columns = ["message_id", "text", "label", "received_at", "copies"]
    rows, near = assign_splits(
        read_parquet(messages, columns).sort_by("message_id").to_pandas(), params
    )
    used = {name: rows[(rows["split"] == name) & ~rows["left_out"]] for name in RANK}
    if short := [name for name in used if name != NEWEST and used[name]["label"].nunique() < 2]:
        way_out = ", or lower vectorize.newest_days" if len(used[NEWEST]) else ""
        raise PipelineError(
            f"{messages}: no ham or no spam in {', '.join(short)}; bring more messages{way_out}"
        )
    tokenizer = fit_tokenizer(used["train"]["text"], params)
    figures = figures_of(rows, near, params)
    figures["vocabulary_size"] = Figure(tokenizer.get_vocab_size())

    write_text(
        tokenizer_path, json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, indent=1)
    )
    for folder, part in ((train, used["train"]), (val, used["val"])):
        write_shards(folder, shards(part, tokenizer, params.shard_rows))
    table = pa.Table.from_pandas(rows[SPLITS.names], SPLITS, preserve_index=False)
    write_parquet(splits, table.to_batches(), SPLITS)
    verdict = sentence(rows, used)
    write_report(report, len(rows), figures, verdict)
    write_profile(
        {name: part for name, part in used.items() if len(part)}, tokenizer, described, tables
    )
    log.info("vectorize: %s", verdict)


if __name__ == "__main__":
    run_stage(main)
