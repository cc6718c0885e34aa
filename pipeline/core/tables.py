"""Reads and writes Parquet and CSV. Equal rows give equal bytes."""

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import PipelineError
from pipeline.core.files import REBUILD_HINT, atomic_path, read_bytes
from pipeline.core.reports import round_number

csv.field_size_limit(1 << 30)  # characters of one cell; the default is 128 Ki


# ---- Parquet

ROW_GROUP_SIZE = 65_536  # rows; fixed, so that equal rows give equal bytes


def write_parquet(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> int:
    """Writes the batches as one file, whose bytes depend on the rows alone. Returns the rows.

    Raises: PipelineError.
    """
    rows = 0
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for group in _row_groups(batches, schema):
            writer.write_table(group, row_group_size=ROW_GROUP_SIZE)
            rows += group.num_rows
    return rows


def _row_groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows in tables of ROW_GROUP_SIZE and a last, smaller one; one empty table if no rows."""
    pending: list[pa.RecordBatch] = []
    pending_rows = 0
    is_empty = True
    for batch in batches:
        pending.append(batch)
        pending_rows += batch.num_rows
        while pending_rows >= ROW_GROUP_SIZE:
            table = pa.Table.from_batches(pending, schema)
            # the pages of a file follow the chunks of its columns
            yield table.slice(0, ROW_GROUP_SIZE).combine_chunks()
            pending = table.slice(ROW_GROUP_SIZE).to_batches()
            pending_rows -= ROW_GROUP_SIZE
            is_empty = False
    if pending or is_empty:
        yield pa.Table.from_batches(pending, schema).combine_chunks()


def write_shards(folder: Path, tables: Iterable[pa.Table]) -> None:
    """Replaces a folder by `shard-00000.parquet`, `shard-00001.parquet` and so on.

    Raises: PipelineError.
    """
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for number, table in enumerate(tables):
            shard = temporary / f"shard-{number:05d}.parquet"
            write_parquet(shard, table.to_batches(), table.schema)


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file or a folder of shards, all columns or some. Raises: PipelineError."""
    try:
        table = pq.read_table(path, columns=columns)
    except FileNotFoundError:
        raise PipelineError(f"{path}: missing; {REBUILD_HINT}") from None
    except (pa.ArrowException, OSError) as error:
        problem = f"not readable as Parquet: {str(error).splitlines()[0].rstrip('.')}"
        raise PipelineError(f"{path}: {problem}; {REBUILD_HINT}") from error
    if not table.schema.names:
        raise PipelineError(f"{path}: a folder without Parquet; {REBUILD_HINT}")
    return table


# ---- CSV


class CsvFile(io.TextIOWrapper):
    """A file in which a line feed ends each row that csv.writer writes with ROW_END.

    csv.writer quotes no other line ends than its own, but readers take each of them for the end.
    """

    ROW_END = "\r\n"

    def write(self, row: str) -> int:
        """Writes one row."""
        return super().write(row.removesuffix(self.ROW_END) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a small table, numbers rounded as in reports. Raises: PipelineError."""
    with (
        atomic_path(path) as temporary,
        CsvFile(temporary.open("wb"), "utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator=CsvFile.ROW_END)
        writer.writerow(columns)
        writer.writerows([round_number(value) for value in row] for row in rows)


def read_csv(path: Path, remedy: str = REBUILD_HINT) -> dict[str, list[str]]:
    """The columns of a small table, cells as text, by name. Raises: PipelineError."""
    try:
        text = read_bytes(path, remedy).decode("utf-8-sig")
        header, *rows = iter_csv_rows(io.StringIO(text, newline=""))
    except (ValueError, csv.Error) as error:
        raise PipelineError(f"{path}: not CSV: {error}; {remedy}") from error
    return {name: [row[place] for row in rows] for place, name in enumerate(header)}


def read_numbers(path: Path) -> dict[str, list[float]]:
    """The columns of a small table of numbers; empty cells are NaN. Raises: PipelineError."""
    columns: dict[str, list[float]] = {}
    for name, cells in read_csv(path).items():
        try:
            columns[name] = [float(cell or "nan") for cell in cells]
        except ValueError as error:
            raise PipelineError(f"{path}: column {name}: {error}; {REBUILD_HINT}") from None
    return columns


def iter_csv_rows(
    lines: Iterable[str],
    separator: str = ",",
    quoting: Any = csv.QUOTE_MINIMAL,
    header: list[str] | None = None,
) -> Iterator[list[str]]:
    """The rows of a CSV file, the header first, all of one length, without blank lines.

    Args:
        header: the columns, if the file has no header line.
    Raises: csv.Error, which names the row; also for an unbalanced quotation mark, which would
        otherwise swallow the rows up to the next one.
    """
    rows = filter(None, csv.reader(lines, delimiter=separator, quoting=quoting, strict=True))
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
            nameless = "" if header[-1] else ", as the header ends with a separator"
            raise csv.Error(f"{place}: {len(row)} columns, not {len(header)}{nameless}")
        yield row
