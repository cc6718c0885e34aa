"""Reads a file of labelled messages - CSV, TSV, JSONL or Parquet - as batches of MESSAGES."""

import codecs
import csv
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import PipelineError, join_column_names
from pipeline.core.hashing import message_id
from pipeline.core.params import choose, parse_params, read_yaml
from pipeline.core.schemas import MESSAGES
from pipeline.core.tables import iter_csv_rows, read_parquet

BATCH = 20_000  # rows that are in memory at once

Row = tuple[Any, Any, Any]  # text, label, received_at, as the source has them


@dataclass(frozen=True)
class Columns:
    text: str = "text"
    label: str = "label"
    received_at: str = "received_at"  # may be missing in a file

    def all(self) -> tuple[str, str, str]:
        """What the file calls text, label and received_at."""
        return self.text, self.label, self.received_at


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How to read a file."""

    columns: Columns = Columns()  # what the file calls them
    labels: dict[str, list[str | int | bool]] = field(  # what the file writes for each of ours
        default_factory=lambda: {"spam": ["spam", 1, "junk"], "ham": ["ham", 0, "ok"]}
    )
    encoding: str = "utf-8"  # of CSV, TSV and JSONL
    format: str | None = (
        None  # one of FORMATS without its dot, where the file's ending does not say it
    )
    header: list[str] | None = None  # the columns of a CSV or TSV that begins with its first row

    def __post_init__(self) -> None:
        if self.format is not None and f".{self.format}" not in FORMATS:
            choices = ", ".join(name.strip(".") for name in FORMATS)
            raise ValueError(f"format: unknown {self.format!r}; choose from {choices}")
        if sorted(self.labels) != ["ham", "spam"]:
            raise ValueError(
                f"labels must map ham and spam, not {', '.join(self.labels) or 'nothing'}"
            )
        written = [_written(value) for values in self.labels.values() for value in values]
        if twice := [value for value, n in Counter(written).items() if n > 1]:
            raise ValueError(
                f"labels: {', '.join(twice)} stands twice; each may mean one label only"
            )
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ValueError(
                f"encoding: unknown {self.encoding!r}; utf-8, latin-1 and cp1252 are some"
            ) from None

    def utf8(self) -> bool:
        """Whether the encoding is UTF-8, however it is spelt."""
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")

    def label_of(self) -> dict[str, str]:
        """From what a file writes to `ham` or `spam`."""
        return {_written(value): label for label, values in self.labels.items() for value in values}


@dataclass(frozen=True)
class File:
    """A file that is there to be read."""

    path: Path
    source: str  # what the column `source` says of its rows
    reading: Reading
    place: str  # what errors call it
    settings: str = "ingest.files"  # where its reading stands
    needs_label: bool = True  # without it, a file without labels has null ones
    received_at: datetime | None = None  # of rows that have none of their own


def read(file: File) -> Iterator[pa.RecordBatch]:
    """The file as batches of MESSAGES. Raises: PipelineError, naming file and row."""
    suffix = f".{file.reading.format}" if file.reading.format else file.path.suffix.lower()
    rows = choose(FORMATS, suffix, f"{file.place}: format")(file)
    try:
        yield from _batches(rows, file)
    except UnicodeError as error:
        raise PipelineError(f"{file.place}: {error}; set {file.settings}.encoding") from error
    except csv.Error as error:
        raise PipelineError(f"{file.place}: {error}; mend the row") from error
    except (pa.ArrowException, OSError) as error:
        problem = " ".join(str(getattr(error, "strerror", None) or error).split()).rstrip(".")
        raise PipelineError(f"{file.place}: {problem}; mend or remove the file") from error


def _csv_rows(file: File, separator: str = ",", quoting: Any = csv.QUOTE_MINIMAL) -> Iterator[Row]:
    names = file.reading.columns
    with _opened(file) as opened:
        rows = iter_csv_rows(opened, separator, quoting, file.reading.header)
        have = _checked(next(rows, []), file)
        text, label, date = (
            have.index(name) if name in have else len(have) for name in names.all()
        )
        for row in rows:
            cells = (*row, None)  # the last for a column that may be missing
            yield cells[text], cells[label], cells[date]


def _tsv_rows(file: File) -> Iterator[Row]:
    """Tab-separated values have no quoting (IANA), and messages are full of stray quotation marks."""
    return _csv_rows(file, "\t", csv.QUOTE_NONE)


def _jsonl_rows(file: File) -> Iterator[Row]:
    names = file.reading.columns
    with _opened(file) as opened:
        for number, line in enumerate(opened, 1):
            try:
                row = json.loads(line)
                label = row[names.label] if file.needs_label else row.get(names.label)
                yield row[names.text], label, row.get(names.received_at)
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise PipelineError(
                    f"{file.place}: line {number}: not an object with {names.text!r} and {names.label!r} "
                    f"({error}); mend the line or set {file.settings}.columns"
                ) from error


def _opened(file: File) -> TextIO:
    """A text file; what is not UTF-8, where it should be, becomes U+FFFD, which validate refuses by name."""
    encoding, errors = (
        ("utf-8-sig", "replace") if file.reading.utf8() else (file.reading.encoding, "strict")
    )
    return file.path.open(encoding=encoding, errors=errors, newline="")


def _parquet_rows(file: File) -> Iterator[Row]:
    with pq.ParquetFile(file.path) as opened:
        _checked(opened.schema_arrow.names, file)
        for batch in opened.iter_batches(BATCH):
            yield from _columns(batch, file.reading)


FORMATS: dict[str, Callable[[File], Iterator[Row]]] = {
    ".csv": _csv_rows,
    ".tsv": _tsv_rows,
    ".jsonl": _jsonl_rows,
    ".parquet": _parquet_rows,
}


def _checked(have: list[str], file: File) -> list[str]:
    names = file.reading.columns
    if not have:
        raise PipelineError(f"{file.place}: empty; give it a header and rows, or remove it")
    for name, fewest in zip(names.all(), (1, int(file.needs_label), 0), strict=True):
        if not fewest <= have.count(name) <= 1:
            many = "no column" if name not in have else "more than one column"
            setting = "encoding" if "\ufffd" in "".join(have) else "columns"
            raise PipelineError(
                f"{file.place}: {many} {name!r} among {join_column_names(have)}; set {file.settings}.{setting}"
            )
    return have


def _columns(batch: pa.RecordBatch, reading: Reading) -> Iterator[Row]:
    have = batch.schema.names
    columns = (
        batch.column(name) if name in have else pa.nulls(len(batch))
        for name in reading.columns.all()
    )
    for text, label, date in zip(*columns, strict=True):
        yield text.as_py(), label.as_py(), date.as_py()


def _batches(rows: Iterable[Row], file: File) -> Iterator[pa.RecordBatch]:
    numbered, label_of = enumerate(rows, 1), file.reading.label_of()
    while chunk := list(itertools.islice(numbered, BATCH)):
        texts = [as_text(text) for _, (text, _, _) in chunk]
        labels = [label_of.get(_written(label), as_text(label)) for _, (_, label, _) in chunk]
        times = [_time(date, file, number) or file.received_at for number, (_, _, date) in chunk]
        columns = (
            [message_id(text) for text in texts],
            texts,
            labels,
            [file.source] * len(chunk),
            [number for number, _ in chunk],
            times,
        )
        arrays = [pa.array(values, of) for values, of in zip(columns, MESSAGES.types, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=MESSAGES)


def as_text(value: Any) -> str | None:
    """A value as text; bytes that are not UTF-8, and lone surrogates, become U+FFFD."""
    if value is None:
        return None
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "replace")


def _written(label: Any) -> str:
    """A label as `ingest.files.labels` would write it: 1, 1.0, True and ' 1' are not four labels."""
    written = re.sub(r"\.0+$", "", (as_text(label) or "").strip().casefold())
    return {"true": "1", "false": "0"}.get(written, written)


def as_time(value: Any) -> datetime | None:
    """A time, or an ISO 8601 text of one, in UTC; without a zone it is UTC. Raises: ValueError."""
    if value in (None, "", b""):
        return None
    try:
        time = (
            value if isinstance(value, datetime) else datetime.fromisoformat(as_text(value) or "")
        )
        return time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(error) from None


def _time(value: Any, file: File, number: int) -> datetime | None:
    try:
        return as_time(value)
    except ValueError:
        raise PipelineError(
            f"{file.place}: row {number}: received_at is not an ISO 8601 time; mend the row, "
            f"or name no such column in {file.settings}.columns.received_at"
        ) from None


# ---- any file as a table


@dataclass(frozen=True, kw_only=True)
class Files(Reading):
    """How to read the user's own files: section `ingest.files` of params.yaml."""

    glob: str  # which files of data/inbox/, `**` for subfolders

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.glob.strip("./"):
            raise ValueError("glob names no file; * takes every file of data/inbox")


def read_messages(path: Path, labels: bool = True) -> pd.DataFrame:
    """Messages as ingest wrote them, or any other file that `ingest.files` of params.yaml describes.

    labels: whether the file must have a column of them; without one they are null.
    Raises: PipelineError.
    """
    if path.suffix == ".parquet":
        table = read_parquet(path)
        if set(MESSAGES.names) <= set(table.schema.names):
            return cast(pd.DataFrame, table.select(MESSAGES.names).to_pandas())
    section = read_yaml().get("ingest", {}).get("files")
    reading = parse_params(Files, section, "params.yaml: ingest.files")
    file = File(path, path.name, reading, str(path), needs_label=labels)
    return cast(pd.DataFrame, pa.Table.from_batches(read(file), MESSAGES).to_pandas())
