"""Reads and writes Parquet and CSV; equal rows are equal bytes."""

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import PipelineError
from pipeline.core.files import REBUILD_HINT, atomic_path, read_bytes
from pipeline.core.reports import round_number

csv.field_size_limit(1 << 30)  # characters of one value, in place of 128 Ki
ROW_GROUP_SIZE = 65_536  # rows; fixed, so that equal rows are equal bytes


def write_parquet(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> int:
    """Writes the batches as one canonical Parquet file: equal rows are equal bytes. Returns rows."""
    rows, held, pending = 0, 0, list[pa.RecordBatch]()
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as out,
    ):
        for batch in batches:
            pending.append(batch)
            held += batch.num_rows
            rows += batch.num_rows
            while held >= ROW_GROUP_SIZE:
                table = pa.Table.from_batches(pending, schema)
                out.write_table(_one_chunk(table.slice(0, ROW_GROUP_SIZE)), row_group_size=ROW_GROUP_SIZE)
                pending = table.slice(ROW_GROUP_SIZE).to_batches()
                held -= ROW_GROUP_SIZE
        if pending or not rows:
            out.write_table(
                _one_chunk(pa.Table.from_batches(pending, schema)), row_group_size=ROW_GROUP_SIZE
            )
    return rows


def _one_chunk(table: pa.Table) -> pa.Table:
    return table.combine_chunks()  # the pages of a file follow the chunks of its columns


def write_shards(folder: Path, tables: Iterable[pa.Table]) -> None:
    """Writes the tables as `shard-00000.parquet` and on, and nothing else, into a folder."""
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for number, table in enumerate(tables):
            shard = temporary / f"shard-{number:05d}.parquet"
            write_parquet(shard, table.to_batches(), table.schema)


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A whole Parquet file or folder of shards, or some columns of it. Raises: PipelineError."""
    try:
        table = pq.read_table(path, columns=columns)
    except FileNotFoundError:
        raise PipelineError(f"{path}: missing; {REBUILD_HINT}") from None
    except (pa.ArrowException, OSError) as error:
        problem = str(error).splitlines()[0].rstrip(".")
        raise PipelineError(
            f"{path}: not readable as Parquet: {problem}; {REBUILD_HINT}"
        ) from error
    if not table.schema.names:
        raise PipelineError(f"{path}: a folder without Parquet; {REBUILD_HINT}")
    return table


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A small table for a plot; floats rounded as figures are."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(columns)
        out.writerows([round_number(value) for value in row] for row in rows)


def read_csv(path: Path, way_out: str = REBUILD_HINT) -> dict[str, list[str]]:
    """The columns of a small table, as `write_csv` writes it. Raises: PipelineError."""
    try:
        header, *rows = iter_csv_rows(
            io.StringIO(read_bytes(path, way_out).decode("utf-8-sig"), newline="")
        )
        return {name: [row[place] for row in rows] for place, name in enumerate(header)}
    except (ValueError, csv.Error) as error:
        raise PipelineError(f"{path}: not CSV: {error}; {way_out}") from error


def iter_csv_rows(
    file: TextIO,
    separator: str = ",",
    quoting: Any = csv.QUOTE_MINIMAL,
    header: list[str] | None = None,
) -> Iterator[list[str]]:
    """The rows of any CSV file, the header first, all of one length; a blank line is none.

    header: of a file that begins with its first row.

    Raises: csv.Error, naming the row; also for a stray quotation mark, which would swallow the rows up to
    the next one.
    """
    rows = filter(None, csv.reader(file, delimiter=separator, quoting=quoting, strict=True))
    if header:
        yield header
    for number in itertools.count(1 if header else 0):
        place = f"row {number}" if number else "the header"
        try:
            row = next(rows, None)
        except csv.Error as error:
            problem = f"a quotation mark is not closed or not doubled ({error})"
            raise csv.Error(f"{place}: {problem}") from error
        if row is None:
            return
        header = header or row
        if len(row) != len(header):
            raise csv.Error(f"{place}: {len(row)} columns, not {len(header)}")
        yield row
