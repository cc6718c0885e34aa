"""Reads and writes message files: CSV, TSV, JSONL and Parquet."""

import csv
import itertools
import json
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import PipelineError, join_column_names
from pipeline.core.params import choose
from pipeline.core.schemas import SCORES
from pipeline.core.tables import iter_csv_rows
from pipeline.serving import resumable

BATCH = 4_096  # messages that are in memory at once, and that an interruption may cost
STANDARD = "-"  # standard input, a message a line; standard output, a JSON object a line

Tables = Iterator[pd.DataFrame]


class UnfitError(PipelineError):
    """The input, or the format of the output, is such that no other try would get any further."""


@dataclass(frozen=True)
class Format:
    """A kind of file."""

    read: Callable[[Path], Tables]
    write: Callable[
        [Path, pd.DataFrame, Path | None], None
    ]  # a part of a file, alike to its first part
    join: resumable.Join
    alike: bool = True  # each row has the columns of the first ones


# ---- formats: what came in goes out as it was


def _read_lines(text: str) -> Tables:
    lines = (line.rstrip("\r\n") for line in sys.stdin)
    while part := list(itertools.islice(lines, BATCH)):
        yield pd.DataFrame({text: part})


def _read_csv(path: Path, separator: str = ",", quoting: Any = csv.QUOTE_MINIMAL) -> Tables:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = iter_csv_rows(file, separator, quoting)
        header = next(rows, [])
        if len(set(header)) < max(1, len(header)):
            raise ValueError("no header, or one that has a name twice")
        yield pd.DataFrame(list(itertools.islice(rows, BATCH)), columns=header, dtype="str")
        while part := list(itertools.islice(rows, BATCH)):
            yield pd.DataFrame(part, columns=header, dtype="str")


def _read_tsv(path: Path) -> Tables:
    """Without quoting, as ingest reads it: messages are full of stray quotation marks."""
    return _read_csv(path, "\t", csv.QUOTE_NONE)


def _read_jsonl(path: Path) -> Tables:
    with path.open(encoding="utf-8-sig") as file:
        numbered = enumerate(file, 1)
        while part := list(itertools.islice(numbered, BATCH)):
            yield pd.DataFrame([_object(line, number) for number, line in part], dtype=object)


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number}: {error}") from None
    if not isinstance(row, dict):
        raise ValueError(f"line {number}: not an object")
    return row


def _read_parquet(path: Path) -> Tables:
    with pq.ParquetFile(path) as file:
        empty = [file.schema_arrow.empty_table()]
        for batch in file.iter_batches(BATCH) if file.metadata.num_rows else empty:
            yield batch.to_pandas(types_mapper=pd.ArrowDtype)  # integers with nulls stay integers


def _write_csv(
    path: Path,
    table: pd.DataFrame,
    first: Path | None,
    separator: str = ",",
    quoting: Any = csv.QUOTE_MINIMAL,
) -> None:
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        _in_words(table).to_csv(
            file,
            sep=separator,
            quoting=quoting,
            header=first is None,
            index=False,
            lineterminator="\n",
        )


def _in_words(table: pd.DataFrame) -> pd.DataFrame:
    """The table for a format without times: `scored_at` is 2026-11-25T14:20:00+00:00."""
    return table.assign(scored_at=[time.isoformat() for time in table["scored_at"]])


def _write_tsv(path: Path, table: pd.DataFrame, first: Path | None) -> None:
    try:
        _write_csv(path, table, first, "\t", csv.QUOTE_NONE)
    except csv.Error:
        raise csv.Error("a cell holds a tab or a line break") from None


def _write_jsonl(path: Path, table: pd.DataFrame, first: Path | None) -> None:
    with path.open("w", encoding="utf-8", errors="replace") as file:
        file.writelines(_json_lines(table))


def _json_lines(table: pd.DataFrame) -> Iterator[str]:
    for row in _in_words(table).astype(object).where(table.notna(), None).to_dict("records"):
        plain = {name: _plain(value) for name, value in row.items()}
        yield json.dumps(plain, ensure_ascii=False, default=str) + "\n"


def _plain(value: Any) -> Any:
    """A value as JSON knows it: NaN is null, an array a list."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.tolist() if isinstance(value, np.ndarray) else value


def _write_parquet(path: Path, table: pd.DataFrame, first: Path | None) -> None:
    made = pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(made.cast(pq.read_schema(first)) if first else made, path)


def _join_text(path: Path, files: Sequence[Path]) -> None:
    with path.open("wb") as whole:
        for part in files:
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole)


def _join_parquet(path: Path, files: Sequence[Path]) -> None:
    with pq.ParquetWriter(path, pq.read_schema(files[0])) as whole:
        for part in files:
            with pq.ParquetFile(part) as file:
                whole.write_table(file.read())


FORMATS = {
    ".csv": Format(_read_csv, _write_csv, _join_text),
    ".tsv": Format(_read_tsv, _write_tsv, _join_text),
    ".jsonl": Format(_read_jsonl, _write_jsonl, _join_text, alike=False),
    ".parquet": Format(_read_parquet, _write_parquet, _join_parquet),
}


def _format(name: str) -> Format:
    return choose(FORMATS, Path(name).suffix.lower(), f"{name}: format")


def read(name: str, text: str) -> Tables:
    """The input as tables of at most BATCH rows, at least one. Raises: PipelineError."""
    tables = _read_lines(text) if name == STANDARD else _format(name).read(Path(name))
    try:
        for table in itertools.chain([next(tables, pd.DataFrame({text: []}, dtype="str"))], tables):
            if text not in table:
                raise UnfitError(
                    f"{name}: no column {text!r} among {join_column_names(table)}; name it with --text"
                )
            if taken := [column for column in SCORES.names if column in table]:
                raise UnfitError(f"{name}: has a column {taken[0]!r} already; rename it")
            yield table
    except OSError as error:
        raise PipelineError(f"{name}: {_said(error.strerror or error)}; mend the input") from error
    except (ValueError, csv.Error) as error:  # json's and Arrow's errors are ValueErrors
        raise UnfitError(f"{name}: {_said(error)}; mend the input") from error


def _said(problem: object) -> str:
    return " ".join(str(problem).split())
