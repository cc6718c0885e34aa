"""Removes messages from a file of any input format, and leaves every other byte as it is."""

import csv
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import PipelineError
from pipeline.core.tables import write_parquet
from pipeline.sources.file_formats import COLUMN_SEPARATORS
from pipeline.sources.mail import mbox_lines
from pipeline.sources.readers import ColumnNames, SourceFile, read_file

NO_COLUMN = "\0"  # so that labels and times, which may be wrong, are not read
# The lines of a file, each with the number of its row, from 1, or 0 if it is blank; the header is
# a row, too.
# Bytes are read as Latin-1, which has a character for each, and so written as they were.
NumberLines = Callable[[Path], Iterator[tuple[int, str]]]


def read_ids(file: SourceFile) -> list[str]:
    """The message_id of each row, in their order. Raises: PipelineError."""
    names = dict.fromkeys(ColumnNames.model_fields, NO_COLUMN)
    columns = ColumnNames(**(names | {"text": file.params.columns.text}))
    params = file.params.model_copy(update={"columns": columns, "label": None})
    batches = read_file(replace(file, params=params, needs_label=False))
    return [one for batch in batches for one in batch["message_id"].to_pylist()]


def write_without(
    file: SourceFile, before: Sequence[str], ids: Collection[str], target: Path
) -> int:
    """Writes the rows of other messages; returns the number of those that are left out.

    The target is not written if the file has none of the messages, or is one mail.

    Args:
        before: of the file, by `read_ids`.

    Raises: PipelineError if the file cannot be written without them.
    """
    kept = [one for one in before if one not in ids]
    removed = len(before) - len(kept)
    suffix = f".{file.params.format}" if file.params.format else Path(file.place).suffix.lower()
    if not removed or suffix == ".eml":
        return removed
    rows = {row for row, one in enumerate(before, 1) if one in ids}
    for write in _writers(suffix, file.params.separator):
        with suppress(PipelineError, csv.Error):  # not the separator of this file
            write(file.path, rows, len(before), target)
            if read_ids(replace(file, path=target)) == kept:
                return removed
    raise PipelineError(
        f"{file.place}: row {min(rows)} cannot be removed without a change of others; "
        "remove it by hand, and run it again"
    )


def _writers(suffix: str, separator: str | None) -> Iterator[Callable[..., None]]:
    """What may write a file of a format without some rows: each is tried."""
    match suffix:
        case ".parquet":
            yield _write_other_groups
        case ".csv":
            for one in [separator] if separator else COLUMN_SEPARATORS:
                yield partial(_write_other_lines, partial(_csv_rows, separator=one))
        case ".tsv":
            number_lines = partial(_csv_rows, separator="\t", quoting=csv.QUOTE_NONE)
            yield partial(_write_other_lines, number_lines)
        case ".mbox":
            yield partial(_write_other_lines, _mbox_rows)
        case _:
            yield partial(_write_other_lines, _line_rows)


def _write_other_lines(
    number_lines: NumberLines, path: Path, rows: Collection[int], total: int, target: Path
) -> None:
    """Args: rows: those to leave out, counted from 1 without the header; total: of all rows."""
    last = max((number for number, _ in number_lines(path)), default=0)
    header = last - total
    with target.open("w", encoding="latin-1", newline="") as file:
        file.writelines(line for number, line in number_lines(path) if number - header not in rows)


def _line_rows(path: Path) -> Iterator[tuple[int, str]]:
    """Each line that is not blank is a row."""
    number = 0
    with path.open(encoding="latin-1", newline="") as file:
        for line in file:
            is_row = bool(line.strip())
            number += is_row
            yield number if is_row else 0, line


def _csv_rows(
    path: Path, separator: str, quoting: Any = csv.QUOTE_MINIMAL
) -> Iterator[tuple[int, str]]:
    """A row may have several lines."""
    number = 0
    lines: list[str] = []  # of the row that is read

    def remembered(file: Iterable[str]) -> Iterator[str]:
        for line in file:
            lines.append(line)
            yield line

    with path.open(encoding="latin-1", newline="") as file:
        for row in csv.reader(remembered(file), delimiter=separator, quoting=quoting):
            number += bool(row)
            yield from [(number if row else 0, line) for line in lines]
            lines.clear()


def _mbox_rows(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for number, line in mbox_lines(file):
            yield number, line.decode("latin-1")


def _write_other_groups(path: Path, rows: Collection[int], total: int, target: Path) -> None:
    with pq.ParquetFile(path) as file:
        write_parquet(target, _other_batches(file.iter_batches(), rows), file.schema_arrow)


def _other_batches(
    batches: Iterable[pa.RecordBatch], rows: Collection[int]
) -> Iterator[pa.RecordBatch]:
    start = 1
    for batch in batches:
        is_kept = [row not in rows for row in range(start, start + batch.num_rows)]
        yield batch.filter(pa.array(is_kept, pa.bool_()))
        start += batch.num_rows
