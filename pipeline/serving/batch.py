"""Labels messages with the model in service: `python -m pipeline score INPUT OUTPUT`."""

import argparse
import csv
import itertools
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from tqdm import tqdm

from pipeline.core.errors import PipelineError
from pipeline.core.hashing import file_sha256
from pipeline.core.params import read_params
from pipeline.core.schemas import SCORES
from pipeline.registry import versions
from pipeline.serving.file_formats import (
    BATCH,
    STANDARD,
    Tables,
    UnfitError,
    _format,
    _json_lines,
    _said,
    read,
)
from pipeline.serving.resumable import (
    adding,
    alone,
    begin,
    begun,
    drop,
    finish,
    parquet_rows,
    part_files,
    write_part,
)
from pipeline.validation import expectations, runner

log = logging.getLogger(__name__)


def scored(
    tables: Iterable[pd.DataFrame], text: str, model: Any, version: str, params: expectations.Params
) -> Tables:
    """Each table with its own columns, and SCORES: what the `scoring` suite refuses gets no label."""
    for table in tables:
        texts = _texts(table[text])
        refused = runner.refusals(texts, params)
        held = refused[refused == ""].index
        answer = model.predict(pd.DataFrame({"text": [texts[i] for i in held]}, dtype="str"))
        answer = answer.set_index(held).reindex(refused.index)
        answer = answer.assign(
            model_version=version, scored_at=now(), refused=refused.where(refused != "")
        )
        yield pd.concat([table.reset_index(drop=True), answer], axis="columns")


def now() -> pd.Timestamp:
    """In UTC, in whole seconds."""
    return pd.Timestamp.now("UTC").floor("s")


def _texts(column: "pd.Series[Any]") -> list[str | None]:
    """The cells as the model takes them: half a surrogate pair is a `?`, a null stays one."""
    cells = column.astype(object).where(column.notna(), None)
    return [
        None if cell is None else str(cell).encode("utf-8", "replace").decode() for cell in cells
    ]


# ---- writing: lines at once, a file part by part


def write_lines(tables: Iterable[pd.DataFrame]) -> None:
    """JSON lines on standard output, those of each table as soon as it is there."""
    for table in tables:
        sys.stdout.writelines(_json_lines(table))
        sys.stdout.flush()


def write_parts(output: Path, tables: Iterable[pd.DataFrame]) -> None:
    """Each table as one more part of the output. Raises: PipelineError."""
    rows = parquet_rows(output)
    first = part_files(output)[0] if rows else None
    for table in tables:
        rows += len(table)
        part = write_part(output, rows)
        try:
            with adding(output, part) as path:
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
    return f"{Path(name).suffix.lower()} {file_sha256(Path(name))}"


def _model_of(output: Path, asked: dict[str, str], resume: bool) -> tuple[Any, str]:
    """The model to ask, and its version: that of the run that is resumed, or the champion of a new one.

    asked: what must be as it was for a run to be resumed. Raises: PipelineError.
    """
    left = begun(output)
    other = next((name for name, value in asked.items() if left.get(name) != value), None)
    if left and resume:
        if other:
            raise PipelineError(
                f"{output}: was begun with another {other}; bring that back, or start anew without --resume"
            )
        version = left["model_version"]
        log.info(
            "%s: goes on after row %s, with version %s",
            output,
            f"{parquet_rows(output):,}",
            version,
        )
        return versions.load_version(version), version
    model, version = versions.load_champion()
    if rows := parquet_rows(output):
        kept = "" if other else "; --resume would have kept them"
        log.warning("%s: drops %s rows of a run that was interrupted%s", output, f"{rows:,}", kept)
    begin(output, asked | {"model_version": version})
    return model, version


@contextmanager
def _interruptible(output: Path, resumable: bool) -> Iterator[None]:
    """Says how many rows are left to `--resume`; what it could not go on with is dropped."""
    try:
        yield
    except BaseException as error:
        rows = parquet_rows(output)
        if rows and resumable and not isinstance(error, UnfitError):
            log.warning("%s: keeps %s rows for --resume", output, f"{rows:,}")
        else:
            drop(output)
        raise


def label_file(
    arguments: argparse.Namespace, tables: Tables, columns: list[str], params: expectations.Params
) -> None:
    """Makes the output of a run, or the rest of it. Raises: PipelineError."""
    output, form = Path(arguments.output), _format(arguments.output)
    asked = {
        "input": _identity(arguments.input),
        "--text": arguments.text,
        "section validate of params.yaml": repr(params),
    }
    with alone(output):
        model, version = _model_of(output, asked, arguments.resume)
        with _interruptible(output, _readable_again(arguments.input)):
            done = parquet_rows(output)
            answers = scored(after(tables, done), arguments.text, model, version, params)
            answers = alike(answers, [*columns, *SCORES.names]) if form.alike else answers
            write_parts(output, _counted(answers, done))
            finish(output, form.join)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "input", help="a .csv, .tsv, .jsonl or .parquet file; - for lines on standard input"
    )
    parser.add_argument("output", help="a file of those kinds; - for JSON lines on standard output")
    parser.add_argument(
        "--text", default="text", help="the column that holds the messages (default: text)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on where an interrupted run stopped"
    )
    arguments = parser.parse_args(argv)
    files = [name for name in (arguments.input, arguments.output) if name != STANDARD]
    for name in files:
        _format(name)
    if arguments.resume and len(files) < 2:
        raise PipelineError("--resume: what goes through - cannot be had again; name two files")

    tables = read(arguments.input, arguments.text)
    first = next(tables)  # what is wrong with it is said before the model takes its seconds to load
    tables = itertools.chain([first], tables)
    params = read_params(expectations.Params, "validate")
    if arguments.output == STANDARD:
        model, version = versions.load_champion()
        write_lines(_counted(scored(tables, arguments.text, model, version, params)))
    else:
        label_file(arguments, tables, first.columns.to_list(), params)
