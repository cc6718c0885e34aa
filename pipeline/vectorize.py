"""Splits messages by campaign and time, fits a tokenizer on train, and makes token ids."""

import logging

import pyarrow as pa
from pydantic import Field

from pipeline.core.cli import parse_paths, run_stage
from pipeline.core.errors import PipelineError
from pipeline.core.files import atomic_path, write_text
from pipeline.core.params import read_params, read_yaml
from pipeline.core.reports import Figure, write_report
from pipeline.core.schemas import SPLITS
from pipeline.core.tables import read_parquet, write_csv, write_parquet, write_shards
from pipeline.preprocessing.profile import describe_sets, profile_figures, profile_tables
from pipeline.preprocessing.size_checks import cut_problem, share_cut, size_problems
from pipeline.preprocessing.splits import (
    SPLIT_RANK,
    SplitParams,
    assign_splits,
    split_figures,
    split_summary,
    used_rows,
)
from pipeline.preprocessing.time_windows import newest_and_old
from pipeline.preprocessing.tokenizer import (
    count_tokens,
    fit_tokenizer,
    shard_tables,
    tokenizer_json,
)

log = logging.getLogger(__name__)

SHARD_FOLDERS = ("train", "val", "test")  # splits whose token ids are written


class Params(SplitParams):
    """The section `vectorize` of params.yaml."""

    vocabulary_size: int = Field(
        ge=300, le=1_000_000, description="sub-words, of which 256 are the bytes"
    )
    sequence_length: int = Field(
        ge=2, le=100_000, description="tokens per message; longer messages are cut"
    )
    window_length: int = Field(
        ge=50,
        le=100_000,
        description="characters that are judged together; of longer messages the most spam-like "
        "part counts",
    )
    shard_rows: int = Field(ge=1, le=1_000_000, description="messages per shard file")


def main(argv: list[str] | None = None) -> None:
    names = ("messages", "tokenizer", "splits", *SHARD_FOLDERS, "report", "profile")
    paths = parse_paths(argv, __doc__, *names, "profile-tables")
    params = read_params(Params, "vectorize")
    columns = ["message_id", "text", "label", "received_at", "copies"]
    messages = read_parquet(paths.messages, columns).sort_by("message_id").to_pandas()

    rows, near_copies = assign_splits(messages, params)
    used = used_rows(rows)
    stops, warnings = size_problems(used, read_yaml(), paths.messages)
    for line in warnings:
        log.warning("warning: %s", line)
    if stops:
        raise PipelineError(*stops)
    tokenizer = fit_tokenizer(
        used["train"]["text"],
        vocabulary_size=params.vocabulary_size,
        sequence_length=params.sequence_length,
    )
    figures = split_figures(rows, near_copies, params.split.train)
    figures["vocabulary_size"] = Figure(tokenizer.get_vocab_size())
    summary = split_summary(rows)
    sets = describe_sets({name: part for name, part in used.items() if len(part)})
    token_counts = {name: count_tokens(used[name]["text"], tokenizer) for name in sets.names}
    for name in SPLIT_RANK:
        counts = token_counts.get(name, [])
        share = share_cut(counts, params.sequence_length)
        figures[f"{name}.cut_share"] = Figure(share, n=len(counts))
    profile = profile_figures(sets, token_counts)
    profile_summary = f"{len(sets.texts):,} rows in {len(sets.names)} splits"

    write_text(paths.tokenizer, tokenizer_json(tokenizer, params.window_length))
    newest, _ = newest_and_old(rows["received_at"], params.newest_days, params.window_days)
    for name in SHARD_FOLDERS:
        part = used[name].drop(rows.index[newest], errors="ignore")
        write_shards(vars(paths)[name], shard_tables(part, tokenizer, params.shard_rows))
    splits = pa.Table.from_pandas(rows[SPLITS.names], SPLITS, preserve_index=False)
    write_parquet(paths.splits, splits.to_batches(), SPLITS)
    write_report(paths.report, len(rows), figures, summary)
    write_report(paths.profile, len(sets.texts), profile, profile_summary)
    with atomic_path(paths.profile_tables) as folder:
        for name, (columns, table) in profile_tables(sets, token_counts).items():
            write_csv(folder / f"{name}.csv", columns, table)
    if problem := cut_problem(token_counts["train"], params.sequence_length):
        log.warning("warning: %s", problem)
    log.info("vectorize: %s", summary)


if __name__ == "__main__":
    run_stage(main)
