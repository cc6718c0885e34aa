"""Labels messages with the model in service: `python -m pipeline.score INPUT OUTPUT`."""

import argparse
import csv
import itertools
import json
import logging
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from pipeline import parts, registry, stage, suites
from pipeline.stage import PipelineError

log = logging.getLogger(__name__)

BATCH = 4_096  # messages that are in memory at once, and that an interruption may cost
ADDED = ("label", "probability", "threshold", "model_version", "scored_at", "refused")
STANDARD = "-"  # standard input, a message a line; standard output, a JSON object a line

Tables = Iterator[pd.DataFrame]


class UnfitError(PipelineError):
    """The input, or the format of the output, is such that no other try would get any further."""


@dataclass(frozen=True)
class Format:
    """A kind of file."""

    read: Callable[[Path], Tables]
    write: Callable[[Path, pd.DataFrame, Path | None], None]  # a part of a file, alike to its first part
    join: parts.Join
    alike: bool = True  # each row has the columns of the first ones


def scored(
    tables: Iterable[pd.DataFrame], text: str, model: Any, version: str, params: suites.Params
) -> Tables:
    """Each table with its own columns, and ADDED: what the `scoring` suite refuses gets no label."""
    for table in tables:
        texts = _texts(table[text])
        refused = suites.refusals(texts, params)
        held = refused[refused == ""].index
        answer = model.predict(pd.DataFrame({"text": [texts[i] for i in held]}, dtype="str"))
        answer = answer.set_index(held).reindex(refused.index)
        answer = answer.assign(model_version=version, scored_at=now(), refused=refused.where(refused != ""))
        yield pd.concat([table.reset_index(drop=True), answer], axis="columns")


def now() -> pd.Timestamp:
    """In UTC, in whole seconds."""
    return pd.Timestamp.now("UTC").floor("s")


def _texts(column: "pd.Series[Any]") -> list[str | None]:
    """The cells as the model takes them: half a surrogate pair is a `?`, a null stays one."""
    cells = column.astype(object).where(column.notna(), None)
    return [None if cell is None else str(cell).encode("utf-8", "replace").decode() for cell in cells]


# ---- formats: what came in goes out as it was


def _read_lines(text: str) -> Tables:
    lines = (line.rstrip("\r\n") for line in sys.stdin)
    while part := list(itertools.islice(lines, BATCH)):
        yield pd.DataFrame({text: part})


def _read_csv(path: Path, separator: str = ",", quoting: Any = csv.QUOTE_MINIMAL) -> Tables:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = stage.csv_rows(file, separator, quoting)
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
            file, sep=separator, quoting=quoting, header=first is None, index=False, lineterminator="\n"
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
    return stage.choose(FORMATS, Path(name).suffix.lower(), f"{name}: format")


def read(name: str, text: str) -> Tables:
    """The input as tables of at most BATCH rows, at least one. Raises: PipelineError."""
    tables = _read_lines(text) if name == STANDARD else _format(name).read(Path(name))
    try:
        for table in itertools.chain([next(tables, pd.DataFrame({text: []}, dtype="str"))], tables):
            if text not in table:
                raise UnfitError(
                    f"{name}: no column {text!r} among {stage.listed(table)}; name it with --text"
                )
            if taken := [column for column in ADDED if column in table]:
                raise UnfitError(f"{name}: has a column {taken[0]!r} already; rename it")
            yield table
    except OSError as error:
        raise PipelineError(f"{name}: {_said(error.strerror or error)}; mend the input") from error
    except (ValueError, csv.Error) as error:  # json's and Arrow's errors are ValueErrors
        raise UnfitError(f"{name}: {_said(error)}; mend the input") from error


def _said(problem: object) -> str:
    return " ".join(str(problem).split())


# ---- writing: lines at once, a file part by part


def write_lines(tables: Iterable[pd.DataFrame]) -> None:
    """JSON lines on standard output, those of each table as soon as it is there."""
    for table in tables:
        sys.stdout.writelines(_json_lines(table))
        sys.stdout.flush()


def write_parts(output: Path, tables: Iterable[pd.DataFrame]) -> None:
    """Each table as one more part of the output. Raises: PipelineError."""
    rows = parts.rows(output)
    first = parts.files(output)[0] if rows else None
    for table in tables:
        rows += len(table)
        part = parts.part(output, rows)
        try:
            with parts.adding(output, part) as path:
                _format(output.name).write(path, table, first)
        except (csv.Error, UnicodeError, pa.ArrowException) as error:  # what the format cannot hold
            raise UnfitError(f"{output}: {_said(error)}; write .jsonl") from error
        first = first or part


def alike(tables: Iterable[pd.DataFrame], columns: list[str]) -> Tables:
    """The tables with these columns: the lines of a JSONL file need not be alike."""
    for table in tables:
        if new := [name for name in table if name not in columns]:
            raise UnfitError(
                f"the input has a column {new[0]!r} that its first {BATCH:,} rows do not have; write .jsonl"
            )
        yield table.reindex(columns=columns)


def after(tables: Iterable[pd.DataFrame], rows: int) -> Tables:
    """The tables without so many rows at their beginning."""
    for table in tables:
        if rows < len(table) or not rows:
            yield table.iloc[rows:]
        rows = max(0, rows - len(table))


def _counted(tables: Iterable[pd.DataFrame], done: int = 0) -> Tables:
    with tqdm(unit=" messages", disable=None, initial=done) as bar:
        for table in tables:
            yield table
            bar.update(len(table))


# ---- runs that may be interrupted


def _readable_again(name: str) -> bool:
    return name != STANDARD and Path(name).is_file()


def _identity(name: str) -> str:
    """Names the rows of an input; those of a pipe nobody else sees."""
    if not _readable_again(name):
        return f"process {os.getpid()}"
    return f"{Path(name).suffix.lower()} {stage.file_sha256(Path(name))}"


def _model_of(output: Path, asked: dict[str, str], resume: bool) -> tuple[Any, str]:
    """The model to ask, and its version: that of the run that is resumed, or the champion of a new one.

    asked: what must be as it was for a run to be resumed. Raises: PipelineError.
    """
    left = parts.begun(output)
    other = next((name for name, value in asked.items() if left.get(name) != value), None)
    if left and resume:
        if other:
            raise PipelineError(
                f"{output}: was begun with another {other}; bring that back, or start anew without --resume"
            )
        version = left["model_version"]
        log.info("%s: goes on after row %s, with version %s", output, f"{parts.rows(output):,}", version)
        return registry.load_version(version), version
    model, version = registry.load_champion()
    if rows := parts.rows(output):
        kept = "" if other else "; --resume would have kept them"
        log.warning("%s: drops %s rows of a run that was interrupted%s", output, f"{rows:,}", kept)
    parts.begin(output, asked | {"model_version": version})
    return model, version


@contextmanager
def _interruptible(output: Path, resumable: bool) -> Iterator[None]:
    """Says how many rows are left to `--resume`; what it could not go on with is dropped."""
    try:
        yield
    except BaseException as error:
        rows = parts.rows(output)
        if rows and resumable and not isinstance(error, UnfitError):
            log.warning("%s: keeps %s rows for --resume", output, f"{rows:,}")
        else:
            parts.drop(output)
        raise


def label_file(
    arguments: argparse.Namespace, tables: Tables, columns: list[str], params: suites.Params
) -> None:
    """Makes the output of a run, or the rest of it. Raises: PipelineError."""
    output, form = Path(arguments.output), _format(arguments.output)
    asked = {
        "input": _identity(arguments.input),
        "--text": arguments.text,
        "section validate of params.yaml": repr(params),
    }
    with parts.alone(output):
        model, version = _model_of(output, asked, arguments.resume)
        with _interruptible(output, _readable_again(arguments.input)):
            done = parts.rows(output)
            answers = scored(after(tables, done), arguments.text, model, version, params)
            answers = alike(answers, [*columns, *ADDED]) if form.alike else answers
            write_parts(output, _counted(answers, done))
            parts.finish(output, form.join)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", help="a .csv, .tsv, .jsonl or .parquet file; - for lines on standard input")
    parser.add_argument("output", help="a file of those kinds; - for JSON lines on standard output")
    parser.add_argument("--text", default="text", help="the column that holds the messages (default: text)")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    arguments = parser.parse_args(argv)
    files = [name for name in (arguments.input, arguments.output) if name != STANDARD]
    for name in files:
        _format(name)
    if arguments.resume and len(files) < 2:
        raise PipelineError("--resume: what goes through - cannot be had again; name two files")

    tables = read(arguments.input, arguments.text)
    first = next(tables)  # what is wrong with it is said before the model takes its seconds to load
    tables = itertools.chain([first], tables)
    params = stage.read_params(suites.Params, "validate")
    if arguments.output == STANDARD:
        model, version = registry.load_champion()
        write_lines(_counted(scored(tables, arguments.text, model, version, params)))
    else:
        label_file(arguments, tables, first.columns.to_list(), params)


if __name__ == "__main__":
    stage.command(main)
