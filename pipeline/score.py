"""Labels messages with the model in service: `python -m pipeline.score INPUT OUTPUT`."""

import argparse
import csv
import itertools
import json
import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from pipeline import registry, stage, suites
from pipeline.stage import PipelineError

log = logging.getLogger(__name__)

BATCH = 4_096  # messages that are in memory at once
ADDED = ("label", "probability", "threshold", "model_version", "refused")
STANDARD = "-"  # standard input, a message a line; standard output, a JSON object a line

Tables = Iterator[pd.DataFrame]
F = TypeVar("F")


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
        answer = answer.assign(model_version=version, refused=refused.where(refused != ""))
        yield pd.concat([table.reset_index(drop=True), answer], axis="columns")


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
    path: Path, tables: Iterable[pd.DataFrame], separator: str = ",", quoting: Any = csv.QUOTE_MINIMAL
) -> None:
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        for number, table in enumerate(_alike(tables)):
            table.to_csv(
                file, sep=separator, quoting=quoting, header=number == 0, index=False, lineterminator="\n"
            )


def _write_tsv(path: Path, tables: Iterable[pd.DataFrame]) -> None:
    try:
        _write_csv(path, tables, "\t", csv.QUOTE_NONE)
    except csv.Error:
        raise csv.Error("a cell holds a tab or a line break") from None


def _write_jsonl(path: Path, tables: Iterable[pd.DataFrame]) -> None:
    with path.open("w", encoding="utf-8", errors="replace") as file:
        for table in tables:
            file.writelines(_json_lines(table))


def _json_lines(table: pd.DataFrame) -> Iterator[str]:
    for row in table.astype(object).where(table.notna(), None).to_dict("records"):
        plain = {name: _plain(value) for name, value in row.items()}
        yield json.dumps(plain, ensure_ascii=False, default=str) + "\n"


def _plain(value: Any) -> Any:
    """A value as JSON knows it: NaN is null, an array a list."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.tolist() if isinstance(value, np.ndarray) else value


def _write_parquet(path: Path, tables: Iterable[pd.DataFrame]) -> None:
    batches = (pa.Table.from_pandas(table, preserve_index=False) for table in _alike(tables))
    first = next(batches)
    with pq.ParquetWriter(path, first.schema) as file:
        for table in itertools.chain([first], batches):
            file.write_table(table.cast(first.schema))


def _alike(tables: Iterable[pd.DataFrame]) -> Tables:
    """The tables with the columns of the first: the lines of a JSONL file need not be alike."""
    columns = None
    for table in tables:
        columns = table.columns if columns is None else columns
        if new := [name for name in table if name not in columns]:
            raise PipelineError(
                f"the input has a column {new[0]!r} that its first {BATCH:,} rows do not have; write .jsonl"
            )
        yield table.reindex(columns=columns)


READERS: dict[str, Callable[[Path], Tables]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
WRITERS: dict[str, Callable[[Path, Iterable[pd.DataFrame]], None]] = {
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}


def _format(formats: Mapping[str, F], name: str) -> F:
    return stage.choose(formats, Path(name).suffix.lower(), f"{name}: format")


def read(name: str, text: str) -> Tables:
    """The input as tables of at most BATCH rows, at least one. Raises: PipelineError."""
    tables = _read_lines(text) if name == STANDARD else _format(READERS, name)(Path(name))
    try:
        for table in itertools.chain([next(tables, pd.DataFrame({text: []}, dtype="str"))], tables):
            if text not in table:
                raise PipelineError(
                    f"{name}: no column {text!r} among {stage.listed(table)}; name it with --text"
                )
            if taken := [column for column in ADDED if column in table]:
                raise PipelineError(f"{name}: has a column {taken[0]!r} already; rename it")
            yield table
    except (OSError, ValueError, csv.Error) as error:  # json's and Arrow's errors are ValueErrors
        problem = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise PipelineError(f"{name}: {problem}; mend the input") from error


def write(name: str, tables: Iterable[pd.DataFrame]) -> None:
    """All of the tables to the output; a file appears only when it is whole. Raises: PipelineError."""
    if name == STANDARD:
        for table in tables:
            sys.stdout.writelines(_json_lines(table))
            sys.stdout.flush()
        return
    try:
        with stage.replacing(Path(name)) as temporary:
            _format(WRITERS, name)(temporary, tables)
    except (csv.Error, UnicodeError, pa.ArrowException) as error:  # what the format cannot hold
        raise PipelineError(f"{name}: {' '.join(str(error).split())}; write .jsonl") from error


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", help="a .csv, .tsv, .jsonl or .parquet file; - for lines on standard input")
    parser.add_argument("output", help="a file of those kinds; - for JSON lines on standard output")
    parser.add_argument("--text", default="text", help="the column that holds the messages (default: text)")
    arguments = parser.parse_args(argv)
    for name, formats in ((arguments.input, READERS), (arguments.output, WRITERS)):
        if name != STANDARD:
            _format(formats, name)

    tables = read(arguments.input, arguments.text)
    first = next(tables)  # what is wrong with it is said before the model takes its seconds to load
    params = stage.read_params(suites.Params, "validate")
    model, version = registry.load_champion()
    with tqdm(unit=" messages", disable=None) as bar:

        def counted() -> Tables:
            for table in scored(itertools.chain([first], tables), arguments.text, model, version, params):
                bar.update(len(table))
                yield table

        write(arguments.output, counted())


if __name__ == "__main__":
    stage.command(main)
