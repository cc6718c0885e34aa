"""Labels messages with the model in service: `python -m pipeline.score INPUT OUTPUT`."""

import argparse
import itertools
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from pipeline import stage, tracking
from pipeline.stage import PipelineError

log = logging.getLogger(__name__)

BATCH = 4_096  # messages that are in memory at once
ADDED = ("label", "probability", "threshold", "model_version")
STANDARD = "-"  # standard input, a message a line; standard output, a JSON object a line

Tables = Iterator[pd.DataFrame]


def scored(tables: Iterable[pd.DataFrame], text: str, model: Any, version: str) -> Tables:
    """Each table with its own columns, and ADDED. Raises: PipelineError."""
    for table in tables:
        if text not in table:
            raise PipelineError(f"no column {text!r} among {', '.join(map(str, table))}; name it with --text")
        if taken := [name for name in ADDED if name in table]:
            raise PipelineError(f"the input has a column {taken[0]!r} already; rename it")
        texts = pd.DataFrame({"text": table[text].fillna("").astype(str)})
        answer = model.predict(texts).assign(model_version=version)
        yield pd.concat([table.reset_index(drop=True), answer], axis="columns")


# ---- formats


def _read_csv(path: Path, separator: str = ",") -> Tables:
    # as text, so that what came in goes out as it was: 007 stays 007
    yield from pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, chunksize=BATCH)


def _read_jsonl(path: Path) -> Tables:
    with path.open(encoding="utf-8") as file:
        while lines := list(itertools.islice(file, BATCH)):
            yield pd.DataFrame([json.loads(line) for line in lines])


def _read_parquet(path: Path) -> Tables:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH):
            yield batch.to_pandas()


def _write_csv(path: Path, tables: Iterable[pd.DataFrame], separator: str = ",") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, table in enumerate(tables):
            table.to_csv(file, sep=separator, header=number == 0, index=False, lineterminator="\n")


def _write_jsonl(path: Path, tables: Iterable[pd.DataFrame]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for table in tables:
            file.writelines(_json_lines(table))


def _json_lines(table: pd.DataFrame) -> Iterator[str]:
    return (json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_dict("records"))


def _write_parquet(path: Path, tables: Iterable[pd.DataFrame]) -> None:
    batches = (pa.Table.from_pandas(table, preserve_index=False) for table in tables)
    first = next(batches)
    with pq.ParquetWriter(path, first.schema) as file:
        for table in itertools.chain([first], batches):
            file.write_table(table.cast(first.schema))


READERS: dict[str, Callable[[Path], Tables]] = {
    ".csv": _read_csv,
    ".tsv": lambda path: _read_csv(path, "\t"),
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
WRITERS: dict[str, Callable[[Path, Iterable[pd.DataFrame]], None]] = {
    ".csv": _write_csv,
    ".tsv": lambda path, tables: _write_csv(path, tables, "\t"),
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}


def read(name: str, text: str) -> Tables:
    """The input as tables of at most BATCH rows. Raises: PipelineError."""
    if name == STANDARD:
        lines = (line.rstrip("\r\n") for line in sys.stdin)
        while part := list(itertools.islice(lines, BATCH)):
            yield pd.DataFrame({text: part})
        return
    reader = stage.choose(READERS, Path(name).suffix.lower(), f"{name}: format")
    try:
        yield from reader(Path(name))
    except (OSError, ValueError, pa.ArrowException) as error:  # pandas' and json's errors are ValueErrors
        raise PipelineError(f"{name}: {' '.join(str(error).split())}; mend the file") from error


def write(name: str, tables: Iterable[pd.DataFrame]) -> None:
    """All of the tables to the output; a file appears only when it is whole."""
    if name == STANDARD:
        for table in tables:
            sys.stdout.writelines(_json_lines(table))
            sys.stdout.flush()
        return
    writer = stage.choose(WRITERS, Path(name).suffix.lower(), f"{name}: format")
    with stage.replacing(Path(name)) as temporary:
        writer(temporary, tables)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", help="a .csv, .tsv, .jsonl or .parquet file; - for lines on standard input")
    parser.add_argument("output", help="a file of those kinds; - for JSON lines on standard output")
    parser.add_argument("--text", default="text", help="the column that holds the messages (default: text)")
    arguments = parser.parse_args(argv)
    for name, formats in ((arguments.input, READERS), (arguments.output, WRITERS)):
        if name != STANDARD:
            stage.choose(formats, Path(name).suffix.lower(), f"{name}: format")

    model, version = tracking.load_champion()
    with tqdm(unit=" messages", disable=None) as bar:

        def counted() -> Tables:
            for table in scored(read(arguments.input, arguments.text), arguments.text, model, version):
                bar.update(len(table))
                yield table

        write(arguments.output, counted())


if __name__ == "__main__":
    stage.run(main)
