"""The edge of every stage: paths, typed params, atomic and canonical writing, one-line errors."""

import argparse
import csv
import hashlib
import json
import logging
import math
import numbers
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets from C++ before Python can hush it

import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import ruamel.yaml
import ruamel.yaml.error

log = logging.getLogger(__name__)
P = TypeVar("P")

PARAMS_FILE = Path("params.yaml")
DECIMALS = 6  # of every figure in reports/: finer than any interval, coarser than rounding noise
MAKE = "`dvc repro` or `dvc pull` makes it"
ROW_GROUP = 65_536  # rows; fixed, so that equal rows are equal bytes


class PipelineError(Exception):
    """Something that the person at the keyboard can put right: place, problem and way out."""


@dataclass(frozen=True)
class Figure:
    """One measured number: its value, its 95 % interval where there is one, and rows behind it."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None


# ---- params


def read_yaml(path: Path = PARAMS_FILE) -> dict[str, Any]:
    """All of a params file, as nested dicts. Raises: PipelineError."""
    try:
        loaded = ruamel.yaml.YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PipelineError(f"{path}: {error.strerror}; run from the project's root") from error
    except ruamel.yaml.error.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise PipelineError(f"{path}: {line}not YAML: {error.problem}; mend the line") from error
    except (ruamel.yaml.error.YAMLError, UnicodeError) as error:
        raise PipelineError(f"{path}: not YAML: {' '.join(str(error).split())}; mend the file") from error
    if not isinstance(loaded, dict):
        raise PipelineError(f"{path}: holds no sections; see the one that came with the project")
    return loaded


def read_params(params: type[P], section: str, path: Path = PARAMS_FILE) -> P:
    """A stage's own section, checked against its dataclass. Raises: PipelineError, one line a key."""
    sections = read_yaml(path)
    if section not in sections:
        raise PipelineError(f"{path}: {section}: missing; choose from {', '.join(sections)}")
    return typed(params, sections[section], f"{path}: {section}")


def typed(params: type[P], value: object, place: str) -> P:
    """`value` as the dataclass `params`, unknown, missing and mistyped keys refused."""
    strict = pydantic.dataclasses.dataclass(params, frozen=True, config={"extra": "forbid", "strict": True})
    try:  # as JSON, where a strict dataclass takes a mapping and a strict tuple takes a list
        return cast(P, pydantic.TypeAdapter(strict).validate_json(json.dumps(value, default=str)))
    except pydantic.ValidationError as error:
        raise PipelineError("\nerror: ".join(_problem(e, place) for e in error.errors())) from None


def _problem(error: Any, place: str) -> str:
    where = ".".join([place, *map(str, error["loc"])])
    match error["type"]:
        case "missing":
            return f"{where}: missing"
        case "unexpected_keyword_argument":
            return f"{where}: unknown key; remove it or mend its spelling"
        case "value_error":
            return f"{where}: {error['ctx']['error']}"
        case _:
            return f"{where}: {error['msg'][0].lower()}{error['msg'][1:]}, not {error['input']!r}"


def choose(registry: Mapping[str, P], name: str, place: str) -> P:
    """The registry's entry, or one line with the choices. Raises: PipelineError."""
    if name not in registry:
        raise PipelineError(f"{place}: unknown {name!r}; choose from {', '.join(registry)}")
    return registry[name]


# ---- the command line


def root() -> Path:
    """The project's root; the same one in the temporary copies that `dvc exp run --temp` works in."""
    return Path(os.environ.get("DVC_ROOT", "."))


def paths(argv: Sequence[str] | None, doc: str | None, *names: str) -> list[Path]:
    """The positional paths of a stage's command, in the order that `dvc.yaml` gives them."""
    parser = argparse.ArgumentParser(description=doc)
    for name in names:
        parser.add_argument(name, type=Path)
    parsed = parser.parse_args(argv)
    return [getattr(parsed, name) for name in names]


def run(main: Callable[[], None]) -> None:
    """Runs a command's `main`: plain log lines, its seconds, and exit 1 with one line on error."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("pipeline").setLevel(logging.INFO)
    logging.getLogger("__main__").setLevel(logging.INFO)
    start = time.perf_counter()
    try:
        main()
    except PipelineError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    log.info("%.1f s", time.perf_counter() - start)


# ---- reading and writing


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, which becomes `path` (a file or a folder) if all goes well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def write_parquet(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> int:
    """Writes the batches as one canonical Parquet file: equal rows are equal bytes. Returns rows."""
    rows, held, pending = 0, 0, list[pa.RecordBatch]()
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as out:
        for batch in batches:
            pending.append(batch)
            held += batch.num_rows
            rows += batch.num_rows
            while held >= ROW_GROUP:
                table = pa.Table.from_batches(pending, schema)
                out.write_table(_one_chunk(table.slice(0, ROW_GROUP)), row_group_size=ROW_GROUP)
                pending = table.slice(ROW_GROUP).to_batches()
                held -= ROW_GROUP
        if pending or not rows:
            out.write_table(_one_chunk(pa.Table.from_batches(pending, schema)), row_group_size=ROW_GROUP)
    return rows


def _one_chunk(table: pa.Table) -> pa.Table:
    return table.combine_chunks()  # the pages of a file follow the chunks of its columns


def write_shards(folder: Path, tables: Iterable[pa.Table]) -> None:
    """Writes the tables as `shard-00000.parquet` and on, and nothing else, into a folder."""
    with replacing(folder) as temporary:
        temporary.mkdir()
        for number, table in enumerate(tables):
            shard = temporary / f"shard-{number:05d}.parquet"
            write_parquet(shard, table.to_batches(), table.schema)


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A whole Parquet file or folder of shards, or some columns of it. Raises: PipelineError."""
    try:
        return pq.read_table(path, columns=columns)
    except FileNotFoundError:
        raise PipelineError(f"{path}: missing; {MAKE}") from None
    except pa.ArrowException as error:
        raise PipelineError(f"{path}: not readable as Parquet: {str(error).splitlines()[0]}") from error


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Canonical JSON: keys in the order given, two spaces, a newline at the end."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """A JSON file's value. Raises: PipelineError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(f"{path}: missing; {MAKE}") from None
    except ValueError as error:
        raise PipelineError(f"{path}: not JSON: {error}") from error


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A small table for a plot; floats rounded as figures are."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(columns)
        out.writerows([_rounded(value) for value in row] for row in rows)


def sha256(*paths: Path) -> str:
    """One hash of the files' bytes, in the order given."""
    whole = hashlib.sha256()
    for path in paths:
        try:
            whole.update(hashlib.sha256(path.read_bytes()).digest())
        except FileNotFoundError:
            raise PipelineError(f"{path}: missing; {MAKE}") from None
    return whole.hexdigest()


def write_report(path: Path, rows: int, figures: Mapping[str, Figure], verdict: str) -> None:
    """A stage's report, in the one schema: `{rows, figures: {name: Figure}, verdict}`."""
    rounded = {
        name: {k: _rounded(v) for k, v in asdict(figure).items() if k == "value" or v is not None}
        for name, figure in figures.items()
    }
    write_json(path, {"rows": rows, "figures": rounded, "verdict": verdict})


def _rounded(value: Any) -> Any:
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    number = float(value)
    return round(number, DECIMALS) + 0.0 if math.isfinite(number) else None
