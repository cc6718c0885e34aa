"""Reads files of labelled messages in any format of `file_formats` as batches of MESSAGES."""

import codecs
import itertools
import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self, cast

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pydantic

from pipeline.core.errors import COMMON_COLUMN_NAMES, PipelineError, escape, join_column_names
from pipeline.core.hashing import message_id
from pipeline.core.params import ParamsSection, parse_params, read_yaml
from pipeline.core.schemas import MESSAGES, SCORES
from pipeline.core.tables import read_parquet
from pipeline.sources.file_formats import (
    INPUT_FORMATS,
    UTF_8,
    Format,
    FormatError,
    ReadOptions,
    RowBatch,
    convert_format_errors,
    format_of,
    read_batches,
)

log = logging.getLogger(__name__)

BATCH_ROWS = 20_000  # rows that are in memory at once
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_UNITS = ("seconds", "milliseconds")  # arguments of timedelta
DATE_FORMATS = '"%d/%m/%Y %H:%M", seconds or milliseconds, say'
TEXT_TYPES = (str, bytes)  # of a message; str() of anything else is no message
# An empty name, and what pandas writes for one. A message that was cut at its commas goes on there.
NAMELESS_COLUMN = re.compile(r"(?:Unnamed: \d+(?:\.\d+)?)?")
WORD_OR_SIGN = re.compile(r"[^\s\d.,+-]")  # in a cell: it is neither empty nor a number
LEFT_OUT = "left_out"  # the label of rows that are not read
GIT_LFS_START = b"version https://git-lfs.github.com/spec/"


# ---- params


class ColumnNames(ParamsSection):
    """What a file calls the columns of a message."""

    text: str = pydantic.Field(default="text", description="column of the message")
    label: str = pydantic.Field(default="label", description="column of its label")
    received_at: str = pydantic.Field(
        default="received_at",
        description="column of the time of receipt; a file may lack it",
    )
    kind: str = pydantic.Field(
        default="kind", description="column of the kind of message; a file may lack it"
    )
    language: str = pydantic.Field(
        default="language", description="column of its language, such as en; a file may lack it"
    )


class FileParams(ParamsSection):
    """How to read a file of labelled messages: `read:` of a source in data/sources.yaml."""

    columns: ColumnNames = pydantic.Field(default=ColumnNames(), description="its column names")
    labels: dict[str, list[str | int | bool]] = pydantic.Field(
        default={"spam": ["spam", 1, "junk"], "ham": ["ham", 0, "ok"]},
        description="what the file writes for spam and for ham; left_out: for rows not to be read",
    )
    label: Literal["ham", "spam"] | None = pydantic.Field(
        default=None, description="the label of all rows of a file that has no label column"
    )
    label_by_folder: dict[str, Literal["ham", "spam", "left_out"]] = pydantic.Field(
        default={},
        description="the same by the name of a folder, or of the file without its ending, such as "
        "{Junk: spam, Archive: ham}: the innermost name counts",
    )
    encoding: str = pydantic.Field(default="utf-8", description="encoding of CSV, TSV and JSONL")
    format: str | None = pydantic.Field(
        default=None,
        description="name of a format, if the file's ending does not say it: csv, tsv, "
        "jsonl, parquet, eml, mbox, or lines (a message a line, after its label and the separator, "
        "if any)",
    )
    separator: str | None = pydantic.Field(
        default=None,
        pattern=r'^[^"\r\n]$',
        description="character between the columns of a CSV, or after the label of a line; null: "
        "found by itself in a CSV where it is plain (its first row shows a comma, `;`, tab or `|`, "
        "or it begins with `sep=`)",
    )
    header: list[str] | None = pydantic.Field(
        default=None, description="columns of a file that has no header row"
    )
    date_format: str | None = pydantic.Field(
        default=None,
        description="how received_at is written: a format of strptime (UTC if it has no zone), "
        "or seconds or milliseconds since 1970; null: ISO 8601",
    )

    @pydantic.field_validator("format")
    @classmethod
    def _format_is_known(cls, name: str | None) -> str | None:
        if name is not None and f".{name}" not in INPUT_FORMATS:
            choices = ", ".join(suffix.strip(".") for suffix in INPUT_FORMATS)
            raise ValueError(f"unknown {name!r}; choose from {choices}")
        return name

    @pydantic.field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, name: str) -> str:
        try:
            "".encode(name)
        except LookupError:
            raise ValueError(f"unknown {name!r}; use utf-8, latin-1 or cp1252, say") from None
        return name

    @pydantic.field_validator("date_format")
    @classmethod
    def _date_format_is_valid(cls, form: str | None) -> str | None:
        if form is None or form in EPOCH_UNITS:
            return form
        try:
            datetime.strptime(EPOCH.strftime(form), form)
        except (ValueError, re.error) as error:  # re.error: a directive that is there twice
            raise ValueError(f"{error}; use {DATE_FORMATS}") from None
        if "%" not in form:
            raise ValueError(f"unknown {form!r}; use {DATE_FORMATS}")
        return form

    @pydantic.field_validator("labels")
    @classmethod
    def _labels_are_distinct(
        cls, labels: dict[str, list[str | int | bool]]
    ) -> dict[str, list[str | int | bool]]:
        if set(labels) - {LEFT_OUT} != {"ham", "spam"}:
            raise ValueError(f"must map ham and spam, not {', '.join(labels) or 'nothing'}")
        counts = Counter(label_key(value) for values in labels.values() for value in values)
        if repeated := [value for value, count in counts.items() if count > 1]:
            raise ValueError(f"{', '.join(repeated)}: listed twice; list each value once")
        return labels

    def labelled(self, name: str) -> Self:
        """These params for a file at this path, with the label that `label_by_folder` gives it."""
        path = PurePosixPath(name)
        names = [path.stem, *reversed(path.parent.parts)]
        label = next((self.label_by_folder[n] for n in names if n in self.label_by_folder), None)
        return self.model_copy(update={"label": label}) if label else self

    def label_by_key(self) -> dict[str, str]:
        """`ham`, `spam` or LEFT_OUT, by the `label_key` of what a file writes."""
        return {
            label_key(value): label for label, values in self.labels.items() for value in values
        }


class InboxParams(FileParams):
    """How to read the user's own files: section `ingest.files` of params.yaml."""

    glob: str = pydantic.Field(
        description="which files of data/inbox/; ** stands for any folders below it"
    )

    @pydantic.field_validator("glob")
    @classmethod
    def _glob_can_match(cls, glob: str) -> str:
        if not glob.strip("./"):
            raise ValueError("matches no file; use * for every file of data/inbox")
        return glob


# ---- one file


@dataclass(frozen=True)
class SourceFile:
    """A file that is present and can be read.

    path: where its bytes are.
    source: value of the column `source` of its rows.
    place: what errors call the file; its ending tells the format, if the params do not.
    settings: where its params can be changed, for errors.
    needs_label: whether it must have a label column, unless its params give the label of all rows;
        without one, labels are null.
    received_at: the time of rows that have none.
    kind: the kind of message of a file that has no such column.
    """

    path: Path
    source: str
    params: FileParams
    place: str
    settings: str = "ingest.files"
    needs_label: bool = True
    received_at: datetime | None = None
    kind: str | None = None

    @property
    def form(self) -> Format:
        """Its format. Raises: PipelineError with the choices."""
        declared = self.params.format
        return format_of(f"{self.place}.{declared}" if declared else self.place, INPUT_FORMATS)

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that it must have."""
        names = self.params.columns
        has_labels = self.needs_label and self.params.label is None
        return (names.text, names.label) if has_labels else (names.text,)


@dataclass
class Defects:
    """Values of a file that are not what they should be, collected while it is read.

    other_types: number of rows by the type that they have in place of a text.
    cut_texts: number of rows whose text goes on in columns without a name.
    wrong_times: the rows whose received_at is no time.
    left_out: number of rows that are not read because of their label.
    """

    other_types: Counter[str] = field(default_factory=Counter)
    cut_texts: int = 0
    wrong_times: list[int] = field(default_factory=list)
    left_out: int = 0


def read_file(file: SourceFile) -> Iterator[pa.RecordBatch]:
    """The file as batches of MESSAGES, with a null for a text that is cut, a list or the like.

    Raises: PipelineError, with file, row and way out.
    """
    _refuse_pointer(file)
    rows = 0
    defects = Defects()
    for batch in read_batches(file.form, file.path, _read_options(file), BATCH_ROWS):
        _refuse_scores(batch.columns, file)
        messages = _messages(batch, file, rows + 1, defects)
        rows += messages.num_rows
        messages = _without_left_out(messages, defects)
        if messages.num_rows and not defects.wrong_times:
            yield messages
    for line in _null_text_lines(file, defects):
        log.warning("warning: %s: %s", file.place, line)
    if count := defects.left_out:
        log.info("%s: left out by %s.labels: %s rows", file.place, file.settings, f"{count:,}")
    if defects.wrong_times:
        raise PipelineError(_wrong_times_problem(file, defects.wrong_times, rows))


def _refuse_pointer(file: SourceFile) -> None:
    """Refuses what Git has in place of a large file that was not fetched."""
    if file.path.is_dir():
        return
    with convert_format_errors(file.place), file.path.open("rb") as opened:
        start = opened.read(len(GIT_LFS_START))
    if start == GIT_LFS_START:
        problem = "a Git LFS pointer, not the file itself"
        raise FormatError(f"{file.place}: {problem}; run `git lfs pull` where it comes from")


def _null_text_lines(file: SourceFile, defects: Defects) -> Iterator[str]:
    """Why texts are null, and in how many rows."""
    refused = "rows, which validate refuses as null"
    for name, count in defects.other_types.items():
        yield f"a {name} in place of the text in {count:,} {refused}"
    if count := defects.cut_texts:
        columns = f"columns without a name, right of {file.params.columns.text!r}"
        remedy = "write each text into one cell, or name these columns"
        yield f"{columns}, hold text in {count:,} {refused}; {remedy}"


def _wrong_times_problem(file: SourceFile, wrong: list[int], rows: int) -> str:
    form = file.params.date_format
    expected = f"of the format {form!r}" if form else "an ISO 8601 time"
    return (
        f"{file.place}: received_at is not {expected} in {len(wrong):,} of {rows:,} rows, of which "
        f"row {wrong[0]} is the first; set {file.settings}.date_format ({DATE_FORMATS}), or "
        f"{file.settings}.columns.received_at to a column that does not exist"
    )


def _read_options(file: SourceFile) -> ReadOptions:
    """Bytes that are not UTF-8, where they should be, become U+FFFD, which validate reports."""
    encoding = file.params.encoding
    is_utf8 = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
    return ReadOptions(
        file.place,
        encoding=UTF_8 if is_utf8 else encoding,
        errors="replace" if is_utf8 else "strict",
        separator=file.params.separator,
        header=file.params.header,
        required=file.required,
        mail_columns=(file.params.columns.text, file.params.columns.received_at),
        check_columns=partial(_check_columns, file),
        settings=file.settings,
    )


def _refuse_scores(columns: list[str], file: SourceFile) -> None:
    """Refuses labels that a model gave: they would overrule those that people gave."""
    if file.needs_label and file.params.columns.label == "label":
        added = [name for name in SCORES.names if name != "label" and name in columns]
        if len(added) > 1:
            raise FormatError(
                f"{file.place}: `python -m pipeline score` wrote it ({', '.join(added)}), so its "
                "labels are guesses of a model; give the labels of people, without these columns"
            )


def _check_columns(file: SourceFile, columns: list[str]) -> None:
    names = file.params.columns
    for name in names.model_dump().values():
        count = columns.count(name)
        if count > 1 or (name in file.required and not count):
            problem = "more than one column" if count else "no column"
            raise FormatError(
                f"{file.place}: {problem} {name!r} among {join_column_names(columns)}; "
                f"set {_setting_to_find_columns(file, columns)}"
            )


def _setting_to_find_columns(file: SourceFile, columns: list[str]) -> str:
    names = file.params.columns
    known = COMMON_COLUMN_NAMES | {names.text, names.label, names.received_at}
    if {"\ufffd", "\0"} & set("".join(columns)):  # the zeros of UTF-16
        return f"{file.settings}.encoding"
    if any(name in known or name.casefold() in known for name in columns):
        return f"{file.settings}.columns"
    if len(columns) == 1:
        return f"{file.settings}.separator, or {file.settings}.columns"
    return f"{file.settings}.columns, or {file.settings}.header if its first row is a message"


def _messages(
    batch: RowBatch, file: SourceFile, first_row: int, defects: Defects
) -> pa.RecordBatch:
    """The rows as MESSAGES, numbered from `first_row`; adds to the defects."""
    names = file.params.columns
    labels = file.params.label_by_key()
    texts = [_text(value, defects) for value in batch.values(names.text)]
    for row in _cut_rows(batch, file):
        texts[row] = None
        defects.cut_texts += 1
    rows = range(first_row, first_row + len(texts))
    times = zip(batch.values(names.received_at), rows, strict=True)
    label = file.params.label
    columns = {
        "message_id": [message_id(text) for text in texts],
        "text": texts,
        "label": [
            label or labels.get(label_key(value), as_text(value))
            for value in batch.values(names.label)
        ],
        "source": list(itertools.repeat(file.source, len(texts))),
        "row": list(rows),
        "received_at": [_row_time(time, file, row, defects) for time, row in times],
        "kind": [kind or file.kind for kind in _optional_texts(batch, names.kind, file)],
        "language": _optional_texts(batch, names.language, file),
    }
    arrays = [pa.array(columns[field.name], field.type) for field in MESSAGES]
    return pa.RecordBatch.from_arrays(arrays, schema=MESSAGES)


def _optional_texts(batch: RowBatch, column: str, file: SourceFile) -> list[str | None]:
    """The values of a column, unless it is one that the file must have."""
    values = [None] * len(batch.values(column)) if column in file.required else batch.values(column)
    return list(map(as_text, values))


def _without_left_out(messages: pa.RecordBatch, defects: Defects) -> pa.RecordBatch:
    is_left_out = pc.fill_null(pc.equal(messages["label"], LEFT_OUT), False)
    defects.left_out += pc.sum(is_left_out).as_py() or 0
    return messages.filter(pc.invert(is_left_out))


def _text(value: Any, defects: Defects) -> str | None:
    if value is None or isinstance(value, TEXT_TYPES):
        return as_text(value)
    defects.other_types[type(value).__name__] += 1
    return None


def _cut_rows(batch: RowBatch, file: SourceFile) -> list[int]:
    """The rows whose text goes on in columns without a name, right of it."""
    columns, text = batch.columns, file.params.columns.text
    right = range(columns.index(text) + 1, len(columns)) if text in columns else ()
    places = [place for place in right if NAMELESS_COLUMN.fullmatch(columns[place])]
    if not places:
        return []
    with convert_format_errors(file.place):
        rows = batch.frame().iloc[:, places].to_numpy(object)
    return [number for number, cells in enumerate(rows) if any(map(_is_word_or_sign, cells))]


def _is_word_or_sign(cell: Any) -> bool:
    return isinstance(cell, str) and bool(WORD_OR_SIGN.search(cell))


def _row_time(value: Any, file: SourceFile, row: int, defects: Defects) -> datetime | None:
    try:
        return as_time(value, file.params.date_format) or file.received_at
    except ValueError:
        defects.wrong_times.append(row)
        return None


# ---- values


def as_text(value: Any) -> str | None:
    """A value as text; bytes that are not UTF-8, and lone surrogates, become U+FFFD."""
    if value is None:
        return None
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "replace")


def as_time(value: Any, date_format: str | None = None) -> datetime | None:
    """A time, or a text of one, in UTC; one without a zone is UTC.

    Args:
        date_format: of FileParams; what does not fit it may be ISO 8601, too.

    Raises: ValueError.
    """
    if value in (None, "", b""):
        return None
    try:
        time = value if isinstance(value, datetime) else _parse_time(value, date_format)
        return time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(error) from None


def _parse_time(value: Any, date_format: str | None) -> datetime:
    text = as_text(value) or ""
    if date_format:
        with suppress(ValueError):
            if date_format in EPOCH_UNITS:
                return EPOCH + timedelta(**{date_format: float(text)})
            return datetime.strptime(text.strip(), date_format)
    return datetime.fromisoformat(text)


def label_key(label: Any) -> str:
    """A label in one spelling: 1, 1.0, True and ' 1' are all `1`."""
    key = re.sub(r"\.0+$", "", (as_text(label) or "").strip().casefold())
    return {"true": "1", "false": "0"}.get(key, key)


# ---- any file as a table


def read_messages(path: Path, labels: bool = True) -> pd.DataFrame:
    """A table of MESSAGES that ingest wrote, or any file that `ingest.files` describes.

    Args:
        labels: whether the file must have a label column; without one, labels are null.

    Raises: PipelineError.
    """
    if path.suffix == ".parquet" and set(MESSAGES.names) <= set(_parquet_columns(path)):
        return cast(pd.DataFrame, read_parquet(path, MESSAGES.names).to_pandas())
    section = read_yaml().get("ingest")
    files = section.get("files") if isinstance(section, dict) else None
    params = parse_params(InboxParams, files, "params.yaml: ingest.files")
    params = params.labelled(str(path))
    file = SourceFile(path, escape(path.name), params, str(path), needs_label=labels)
    return cast(pd.DataFrame, pa.Table.from_batches(read_file(file), MESSAGES).to_pandas())


def _parquet_columns(path: Path) -> list[str]:
    """The columns of a file; those of MESSAGES for one of which `read_parquet` tells a problem."""
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return list(MESSAGES.names)
