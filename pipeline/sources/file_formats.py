"""The one registry of file formats: reads a file in batches, writes parts of one, joins them."""

import codecs
import csv
import itertools
import json
import logging
import math
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import PipelineError
from pipeline.core.params import choose
from pipeline.core.tables import CsvFile, iter_csv_rows
from pipeline.sources.archives import kind_of
from pipeline.sources.mail import MAX_MAIL_BYTES, Mail, read_mail, split_mbox
from pipeline.sources.mail_folders import list_mail, open_regular

log = logging.getLogger(__name__)

UTF_8 = "utf-8-sig"  # with or without a byte order mark
UTF_MARKS = {  # the longer ones first, as one begins with another
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class FormatError(PipelineError):
    """The content does not fit the format, so another try with the same file cannot succeed."""


MAX_COLUMNS = 5_000  # a table of thousands of rows with more of them takes gigabytes


def _check_width(columns: int) -> None:
    if columns > MAX_COLUMNS:
        problem = f"{columns:,} columns, and at most {MAX_COLUMNS:,} can be read"
        raise ValueError(f"{problem}; leave out those that are not needed")


def _accept_columns(columns: list[str]) -> None:
    """Accepts any columns."""


@dataclass(frozen=True)
class ReadOptions:
    """How to read a file, as far as the file itself does not say.

    place: what errors and log lines call the file.
    check_columns: is called with the columns of a CSV, TSV or Parquet before any row is read.
    """

    place: str
    encoding: str = UTF_8  # of CSV, TSV and JSONL
    errors: str = "strict"  # or "replace": bytes that the encoding does not have become U+FFFD
    separator: str | None = None  # of CSV; None: the one that its first row shows
    header: list[str] | None = None  # the columns of a CSV or TSV without a header row
    required: tuple[str, ...] = ()  # columns, and keys that each line of JSONL must have
    check_columns: Callable[[list[str]], None] = _accept_columns
    settings: str | None = None  # where the user sets the encoding and the columns, for errors
    mail_columns: tuple[str, str] = (
        "text",
        "received_at",
    )  # what these columns of mails are called


class RowBatch(Protocol):
    """Some rows of a file, with the values as the file has them."""

    @property
    def columns(self) -> list[str]:
        """The column names, in the order of the file; of JSONL, the keys of any line."""

    def values(self, column: str) -> list[Any]:
        """The values of one column; `None` where the file has none."""

    def frame(self) -> pd.DataFrame:
        """All columns as a table."""


# ---- CSV and TSV

COLUMN_SEPARATORS = (",", ";", "\t", "|")  # that are found without a param
EXCEL_SEPARATOR = re.compile(
    r'(?i)sep=([^"\r\n])[\r\n]*'
)  # a first line that Excel reads and writes
FIRST_LINES = 100  # in which the first row ends


@dataclass(frozen=True)
class CsvBatch:
    """Rows of text cells, each as long as the header."""

    columns: list[str]
    rows: list[list[str]]

    def values(self, column: str) -> list[str | None]:
        if column not in self.columns:
            return [None] * len(self.rows)
        place = self.columns.index(column)
        return [row[place] for row in self.rows]

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=self.columns, dtype="str")


def _open_text(path: Path, options: ReadOptions) -> TextIO:
    return path.open(encoding=options.encoding, errors=options.errors, newline="")


def _read_csv(path: Path, options: ReadOptions, size: int) -> Iterator[CsvBatch]:
    with _open_text(path, options) as file:
        start = list(itertools.islice(file, FIRST_LINES))
        declared = EXCEL_SEPARATOR.fullmatch(start[0]) if start else None
        if declared:
            del start[0]
        separator = options.separator or (declared and declared[1]) or _separator(start, options)
        if separator != options.separator and separator != ",":
            log.info("%s: columns separated by %r", options.place, separator)
        yield from _csv_batches(itertools.chain(start, file), options, size, separator)


def _separator(start: list[str], options: ReadOptions) -> str:
    """The separator that gives the first rows the columns they must have, a comma if it can be."""

    last_may_go_on = len(start) == FIRST_LINES

    def fit(separator: str) -> tuple[bool, bool]:
        rows = [row for row in csv.reader(start, delimiter=separator) if row] or [[]]
        if options.header:
            lengths = [len(row) == len(options.header) for row in rows]
            return all(lengths[:-1] if last_may_go_on else lengths), lengths[0]
        return set(options.required) <= set(_trim_names(rows[0], options)), len(rows[0]) > 1

    return max(COLUMN_SEPARATORS, key=fit)


def _read_tsv(path: Path, options: ReadOptions, size: int) -> Iterator[CsvBatch]:
    """Without quoting (as IANA defines TSV), as messages contain stray quotation marks."""
    with _open_text(path, options) as file:
        yield from _csv_batches(file, options, size, "\t", csv.QUOTE_NONE)


def _csv_batches(
    lines: Iterable[str],
    options: ReadOptions,
    size: int,
    separator: str,
    quoting: Any = csv.QUOTE_MINIMAL,
) -> Iterator[CsvBatch]:
    rows = iter_csv_rows(lines, separator, quoting, options.header)
    first = next(rows, None)
    if first is None:
        raise ValueError("empty; give it a header and rows, or remove it")
    header = _trim_names(first, options)
    options.check_columns(header)
    _check_width(len(header))
    yield CsvBatch(header, list(itertools.islice(rows, size)))
    while part := list(itertools.islice(rows, size)):
        yield CsvBatch(header, part)


def _trim_names(names: list[str], options: ReadOptions) -> list[str]:
    """The names without white space around them, unless it belongs to a required one."""
    return [name if name in options.required else name.strip() for name in names]


def _write_csv(
    path: Path,
    table: pd.DataFrame,
    first: Path | None,
    separator: str = ",",
    quoting: Any = csv.QUOTE_MINIMAL,
) -> None:
    with CsvFile(path.open("wb"), "utf-8", "replace", newline="") as file:
        table.to_csv(
            file,
            sep=separator,
            quoting=quoting,
            header=first is None,
            index=False,
            lineterminator=CsvFile.ROW_END,
        )


def _write_tsv(path: Path, table: pd.DataFrame, first: Path | None) -> None:
    try:
        _write_csv(path, table, first, "\t", csv.QUOTE_NONE)
    except csv.Error:
        raise csv.Error("a cell holds a tab or a line break") from None


def _join_text(path: Path, parts: Sequence[Path]) -> None:
    with path.open("wb") as joined:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, joined)


# ---- lines


def _read_message_lines(path: Path, options: ReadOptions, size: int) -> Iterator[CsvBatch]:
    """A row a line, without quoting; its last column may hold the separator, too."""
    header = options.header or ["text"]
    options.check_columns(header)
    with _open_text(path, options) as file:
        lines = (line.rstrip("\r\n") for line in file)
        rows = _split_lines(lines, options.separator, header)
        yield CsvBatch(header, list(itertools.islice(rows, size)))
        while part := list(itertools.islice(rows, size)):
            yield CsvBatch(header, part)


def _split_lines(
    lines: Iterable[str], separator: str | None, header: list[str]
) -> Iterator[list[str]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = line.split(separator, len(header) - 1) if len(header) > 1 else [line]
        if len(row) < len(header):
            problem = f"{len(row)} of {len(header)} columns (separator {separator!r})"
            raise ValueError(f"line {number}: {problem}; correct the line, header or separator")
        yield row


def _refuse_to_write(path: Path, table: pd.DataFrame, first: Path | None) -> None:
    raise ValueError(f"{path.suffix} files are only read; choose another format")


# ---- JSONL


@dataclass(frozen=True)
class JsonBatch:
    """Objects, which need not have the same keys."""

    rows: list[dict[str, Any]]

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(itertools.chain.from_iterable(self.rows)))

    def values(self, column: str) -> list[Any]:
        return [row.get(column) for row in self.rows]

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, dtype=object)


def _read_jsonl(path: Path, options: ReadOptions, size: int) -> Iterator[JsonBatch]:
    with _open_text(path, options) as file:
        numbered = ((number, line) for number, line in enumerate(file, 1) if line.strip())
        while part := list(itertools.islice(numbered, size)):
            batch = JsonBatch([_json_object(line, number, options) for number, line in part])
            _check_width(len(batch.columns))
            yield batch


def _json_object(line: str, number: int, options: ReadOptions) -> dict[str, Any]:
    way_out = f", or set {options.settings}.columns" if options.settings else ""
    try:
        row = json.loads(line, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number}: {error}; correct the line") from None
    if not isinstance(row, dict):
        raise ValueError(f"line {number}: not an object; correct the line")
    for key in options.required:
        if key not in row:
            raise ValueError(f"line {number}: no key {key!r}; correct the line{way_out}")
    return row


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, for `json.loads`, which would take the last of several values of a key.

    Raises: ValueError.
    """
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key is there twice")
    return row


def json_lines(table: pd.DataFrame) -> Iterator[str]:
    """Each row of a table as a line of JSON: missing values and NaN are null, arrays are lists."""
    for row in table.astype(object).where(table.notna(), None).to_dict("records"):
        values = {name: _json_value(value) for name, value in row.items()}
        yield json.dumps(values, ensure_ascii=False, default=str) + "\n"


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.tolist() if isinstance(value, np.ndarray) else value


def _write_jsonl(path: Path, table: pd.DataFrame, first: Path | None) -> None:
    with path.open("w", encoding="utf-8", errors="replace") as file:
        file.writelines(json_lines(table))


# ---- Parquet


@dataclass(frozen=True)
class ParquetBatch:
    """Rows with the types of the file."""

    batch: pa.RecordBatch
    place: str  # of the file, for errors

    @property
    def columns(self) -> list[str]:
        return list(self.batch.schema.names)

    def values(self, column: str) -> list[Any]:
        if column not in self.batch.schema.names:
            return [None] * self.batch.num_rows
        try:
            return [value.as_py() for value in self.batch.column(column)]
        # years beyond Python's, strings that are not UTF-8, unknown time zones
        except (ValueError, OverflowError, KeyError) as error:
            problem = f"column {column!r}: {one_line(error)}"
            raise FormatError(f"{self.place}: {problem}; correct or remove the file") from error

    def frame(self) -> pd.DataFrame:
        return self.batch.to_pandas(types_mapper=pd.ArrowDtype)  # integers with nulls stay integers


def _read_parquet(path: Path, options: ReadOptions, size: int) -> Iterator[ParquetBatch]:
    with pq.ParquetFile(path) as file:
        if not file.schema_arrow.names:
            raise ValueError("no columns; give it columns and rows, or remove it")
        options.check_columns(list(file.schema_arrow.names))
        _check_width(len(file.schema_arrow.names))
        if not file.metadata.num_rows:
            columns = [pa.nulls(0, field.type) for field in file.schema_arrow]
            empty = pa.RecordBatch.from_arrays(columns, schema=file.schema_arrow)
            yield ParquetBatch(empty, options.place)
        for batch in file.iter_batches(size):
            yield ParquetBatch(batch, options.place)


def _write_parquet(path: Path, table: pd.DataFrame, first: Path | None) -> None:
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(arrow.cast(pq.read_schema(first)) if first else arrow, path)


def _join_parquet(path: Path, parts: Sequence[Path]) -> None:
    with pq.ParquetWriter(path, pq.read_schema(parts[0])) as joined:
        for part in parts:
            with pq.ParquetFile(part) as file:
                joined.write_table(file.read())


# ---- mail

MAIL_COLUMNS = ("text", "received_at")  # of Mail, whose names in the user's files may differ
MAILS_AT_ONCE = 1_000  # in memory; their texts are long


def _read_eml(path: Path, options: ReadOptions, size: int) -> Iterator[JsonBatch]:
    """One mail a file; of a folder, all files."""
    files = iter(sorted(path.iterdir()) if path.is_dir() else [path])
    while part := list(itertools.islice(files, MAILS_AT_ONCE)):
        yield _mail_batch(list(map(_read_eml_file, part)), options)


def _read_eml_file(path: Path) -> Mail:
    with path.open("rb") as file:
        return read_mail(file.read(MAX_MAIL_BYTES))


def _read_mail_folder(path: Path, options: ReadOptions, size: int) -> Iterator[JsonBatch]:
    """The mails of a Maildir or of a folder of .eml files, with the names of their files."""
    others: Counter[str] = Counter()
    files = iter(list_mail(path, others))
    if others:
        counts = ", ".join(f"{kind} {count:,}" for kind, count in sorted(others.items()))
        log.warning("warning: %s: not read: %s", path, counts)
    while part := list(itertools.islice(files, min(size, MAILS_AT_ONCE))):
        batch = _mail_batch([_read_listed(file.path) for file in part], options)
        named = zip(batch.rows, part, strict=True)
        yield JsonBatch([row | {"file": file.name} for row, file in named])


def _read_listed(path: Path) -> Mail:
    """The mail of a file that a stranger may have replaced."""
    with convert_format_errors(str(path)), open_regular(path) as file:
        return read_mail(file.read(MAX_MAIL_BYTES))


def _read_mbox(path: Path, options: ReadOptions, size: int) -> Iterator[JsonBatch]:
    with path.open("rb") as file:
        mails = map(read_mail, split_mbox(file))
        while part := list(itertools.islice(mails, min(size, MAILS_AT_ONCE))):
            yield _mail_batch(part, options)


def _mail_batch(mails: list[Mail], options: ReadOptions) -> JsonBatch:
    """The mails as rows."""
    if len(options.required) > 1:
        raise ValueError(
            "mails have no column of labels; set "
            f"{options.settings}.label_by_folder, such as {{Junk: spam, Archive: ham}}, or .label"
        )
    text, received_at = options.mail_columns
    rows = []
    for mail in mails:
        time = mail.received_at and mail.received_at.isoformat()
        facts = {name: value for name, value in vars(mail).items() if name not in MAIL_COLUMNS}
        rows.append({text: mail.text, received_at: time} | facts)
    return JsonBatch(rows)


# ---- the registry


@dataclass(frozen=True)
class Format:
    """A file format.

    read: the batches of at most so many rows of a file.
    write: writes a table as one part; with the first part of the file, as more rows of that.
    join: writes one file that has the rows of all parts, in their order.
    """

    read: Callable[[Path, ReadOptions, int], Iterator[RowBatch]]
    write: Callable[[Path, pd.DataFrame, Path | None], None]
    join: Callable[[Path, Sequence[Path]], None]
    fixed_columns: bool = True  # each row has the columns of the first one
    typed: bool = False  # holds times as times, not as text
    encoded: bool = True  # has one encoding, which the params may name


FORMATS = {  # by the ending of a file's name
    ".csv": Format(_read_csv, _write_csv, _join_text),
    ".tsv": Format(_read_tsv, _write_tsv, _join_text),
    ".jsonl": Format(_read_jsonl, _write_jsonl, _join_text, fixed_columns=False),
    ".parquet": Format(_read_parquet, _write_parquet, _join_parquet, typed=True),
}


INPUT_FORMATS = {  # those that are only read among them
    **FORMATS,
    ".lines": Format(_read_message_lines, _refuse_to_write, _join_text),
    ".eml": Format(_read_eml, _refuse_to_write, _join_text, encoded=False),
    ".mbox": Format(_read_mbox, _refuse_to_write, _join_text, encoded=False),
}


MAIL_FORMATS = (".eml", ".mbox")
MAIL_FOLDER = Format(_read_mail_folder, _refuse_to_write, _join_text, encoded=False)


def input_format(name: str) -> Format:
    """The format of an input, a file or a folder of mails. Raises: PipelineError."""
    return MAIL_FOLDER if Path(name).is_dir() else format_of(name, INPUT_FORMATS)


def format_of(name: str, formats: dict[str, Format] = FORMATS) -> Format:
    """The format of a file, by the ending of its name. Raises: PipelineError with the choices."""
    return choose(formats, Path(name).suffix.lower(), f"{name}: format")


def read_batches(form: Format, path: Path, options: ReadOptions, size: int) -> Iterator[RowBatch]:
    """The rows of a file, at most `size` at once; of a CSV, TSV or Parquet file at least one batch.

    Raises: FormatError for a content that does not fit, with row or line; PipelineError for a file
        that cannot be opened.
    """
    with convert_format_errors(options.place, options.settings):
        if path.is_file():  # a pipe can be read only once
            _refuse_other_kinds(path, options)
        yield from form.read(path, options, size)


def _refuse_other_kinds(path: Path, options: ReadOptions) -> None:
    """Raises: ValueError for what no format and no encoding of the params can read."""
    kind = kind_of(path)
    if kind != "plain":
        also = ", or a workbook; export its sheet as CSV" if kind == "zip" else ""
        raise ValueError(f"a {kind} file, which must be unpacked first{also}")
    with path.open("rb") as file:
        start = file.read(max(map(len, UTF_MARKS)))
    encoding = next((name for mark, name in UTF_MARKS.items() if start.startswith(mark)), None)
    if encoding and options.encoding == UTF_8:
        way_out = f"set {options.settings}.encoding to {encoding}" if options.settings else ""
        raise ValueError(f"in {encoding.upper()}; {way_out or 'save it as UTF-8'}")


@contextmanager
def convert_format_errors(place: str, settings: str | None = None) -> Iterator[None]:
    """Turns what readers raise into one line. Raises: FormatError, PipelineError."""
    try:
        yield
    except UnicodeError as error:
        way_out = f"set {settings}.encoding" if settings else "save it as UTF-8"
        raise FormatError(f"{place}: {error}; {way_out}") from error
    except csv.Error as error:
        raise FormatError(f"{place}: {error}; correct the row") from error
    except pa.ArrowException as error:
        raise FormatError(f"{place}: {one_line(error)}; correct or remove the file") from error
    except OSError as error:
        problem = one_line(error.strerror or error)
        raise PipelineError(f"{place}: {problem}; correct or remove the file") from error
    except ValueError as error:  # with its way out, from the readers above
        raise FormatError(f"{place}: {error}") from error


def one_line(problem: object) -> str:
    """A library's error text on one line, without a full stop at its end."""
    return " ".join(str(problem).split()).rstrip(".")
