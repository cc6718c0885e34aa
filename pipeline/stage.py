"""The edge of every stage: paths, typed params, atomic and canonical writing, one-line errors."""

import argparse
import csv
import errno
import glob
import hashlib
import io
import itertools
import json
import logging
import math
import numbers
import os
import re
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import ruamel.yaml
import ruamel.yaml.error
from filelock import FileLock, Timeout

log = logging.getLogger(__name__)
P = TypeVar("P")

PARAMS_FILE = Path("params.yaml")
DEFINITIONS = Path("dvc.yaml")
DECIMALS = 6  # of every figure in reports/: finer than any interval, coarser than rounding noise
MAKE = "`dvc repro` or `dvc pull` makes it"
csv.field_size_limit(1 << 30)  # characters of one value, in place of 128 Ki
ROW_GROUP = 65_536  # rows; fixed, so that equal rows are equal bytes
LOCK = Path(".checkpoints") / "lock"  # held by the stage that is at work in this folder
WAY_BACK = (  # --force, for the Data Docs of a stopped validate; dvc.yaml, so that a tracked inbox stays
    "the last good outputs come back with: git checkout dvc.lock reports && dvc checkout --force dvc.yaml"
)
CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+(?=@)")  # the `user:password` of an address
TEMPORARY = re.compile(r"\.([^/]+)\.\d+\.tmp")  # a temporary name, and in it what it will be
FULL = {errno.ENOSPC: "free space", errno.EDQUOT: "free space", errno.EROFS: "give permission"}
MACHINE = {  # what the machine may refuse, and the way out
    **FULL,
    errno.EACCES: "give permission",
    errno.EPERM: "give permission",
    errno.EISDIR: "move it out of the way",
    errno.ENOTDIR: "move what is in the way",
    errno.EEXIST: "move it out of the way",
    errno.EMFILE: "raise `ulimit -n`",
    errno.EIO: "check the disk",
}


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
    content = read_bytes(path, f"run in the project's root, or `git checkout {path}` brings it back")
    try:
        loaded = ruamel.yaml.YAML(typ="safe").load(content.decode("utf-8-sig"))
    except ruamel.yaml.error.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise PipelineError(f"{path}: {line}not YAML: {error.problem}; mend the line") from error
    except (ruamel.yaml.error.YAMLError, ValueError) as error:  # no text; a day or a number that is none
        raise PipelineError(f"{path}: not YAML: {' '.join(str(error).split())}; mend the file") from error
    if not isinstance(loaded, dict):
        raise PipelineError(f"{path}: holds no sections; `git checkout {path}` brings them back")
    return loaded


def read_params(params: type[P], section: str, path: Path = PARAMS_FILE) -> P:
    """A stage's own section, checked against its dataclass. Raises: PipelineError, one line a key."""
    sections = read_yaml(path)
    if section not in sections:
        raise PipelineError(f"{path}: {section}: missing; choose from {', '.join(map(str, sections))}")
    return typed(params, sections[section], f"{path}: {section}")


def typed(params: type[P], value: object, place: str) -> P:
    """`value` as the dataclass `params`, unknown, missing and mistyped keys refused."""
    rules: Any = {"extra": "forbid", "strict": True, "allow_inf_nan": False}
    strict = pydantic.dataclasses.dataclass(params, frozen=True, config=rules)
    try:  # as JSON, where a strict dataclass takes a mapping and a strict tuple takes a list
        return cast(P, pydantic.TypeAdapter(strict).validate_json(json.dumps(value, default=str)))
    except pydantic.ValidationError as error:
        raise PipelineError("\nerror: ".join(_problem(e, place) for e in error.errors())) from None
    except (TypeError, ValueError) as error:  # a date for a key, a list that holds itself
        raise PipelineError(f"{place}: {error}; remove it") from error


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
            return f"{where}: {error['msg'][0].lower()}{error['msg'][1:]}, not {error['input']!r:.80}"


def choose(registry: Mapping[str, P], name: str, place: str) -> P:
    """The registry's entry, or one line with the choices. Raises: PipelineError."""
    if name not in registry:
        raise PipelineError(f"{place}: unknown {name!r}; choose from {', '.join(registry) or 'nothing'}")
    return registry[name]


def listed(columns: Iterable[object]) -> str:
    """Column names for an error line; `…` for what may be a message, where a file has no header."""
    return ", ".join(str(name) if re.fullmatch(r"[\w-]{1,40}", str(name)) else "…" for name in columns)


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
    """Runs a stage's `main` as `command` does, alone in this folder."""

    def alone() -> None:
        with one_at_a_time():
            main()

    command(alone)


def command(main: Callable[[], None]) -> None:
    """Runs a command's `main`: plain log lines, its seconds, and exit 1 with one line on error."""
    handler = logging.StreamHandler()
    handler.setFormatter(Discreet("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("pipeline").setLevel(logging.INFO)
    logging.getLogger("__main__").setLevel(logging.INFO)
    start = time.perf_counter()
    try:
        with on_disk("this machine"):
            main()
    except PipelineError as error:
        _stop(f"error: {error}")
    except KeyboardInterrupt:
        _stop("interrupted")
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception:  # a bug keeps its traceback, but for passwords
        _stop(traceback.format_exc().rstrip())
    log.info("%.1f s", time.perf_counter() - start)


def _stop(said: str) -> NoReturn:
    under_dvc = "DVC_STAGE" in os.environ and Path("dvc.lock").exists()
    sys.exit(discreet(f"{said}\n{WAY_BACK}" if under_dvc else said))


def discreet(text: str) -> str:
    """The text without the user names and passwords that addresses in it hold."""
    return CREDENTIALS.sub("***", text)


class Discreet(logging.Formatter):
    """Log lines without credentials, whichever library wrote them."""

    def format(self, record: logging.LogRecord) -> str:
        return discreet(super().format(record))


@contextmanager
def on_disk(place: Path | str) -> Iterator[None]:
    """A full disk, a folder that may not be written, whichever library says so: one line.

    Raises: PipelineError.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        if refused := _refused(error, place):
            raise PipelineError(refused) from error
        raise


def _refused(error: Exception, place: Path | str) -> str | None:
    """What the machine would not do: place, problem, way out; None where it is a bug."""
    said = str(error)
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)  # where to, or where
    if "No usable temporary directory" in said:
        return f"{getattr(error, 'strerror', said)}; free space or give permission, then run it again"
    for number, way_out in MACHINE.items():
        problem = os.strerror(number)
        if getattr(error, "errno", None) == number or (number in FULL and problem in said):
            where = TEMPORARY.sub(r"\1", str(named or place))
            return f"{where}: {problem}; {way_out}, then run it again"
    return None


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Waits until no other stage is at work in this folder.

    DVC lets no second `dvc repro` in beside a first; but one that was killed leaves its stage alive, which
    would write its outputs over those of the next.
    """
    LOCK.parent.mkdir(exist_ok=True)
    lock = FileLock(LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.warning("a stage that outlived its `dvc repro` is at work in this folder: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


# ---- reading and writing


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, which becomes `path` (a file or a folder) if all goes well.

    Raises: PipelineError on a full disk and the like.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with on_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_what_the_killed_left(path)
            yield temporary
            if temporary.is_dir() and path.is_dir():
                shutil.rmtree(path)
            temporary.replace(path)
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


def _remove_what_the_killed_left(path: Path) -> None:
    """Temporary names of processes that are no more."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        try:
            os.kill(int(left.suffixes[-2][1:]), 0)
        except ProcessLookupError:
            _remove(left)
        except (PermissionError, ValueError):  # somebody else's process; no name of ours
            continue


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
        table = pq.read_table(path, columns=columns)
    except FileNotFoundError:
        raise PipelineError(f"{path}: missing; {MAKE}") from None
    except (pa.ArrowException, OSError) as error:
        problem = str(error).splitlines()[0].rstrip(".")
        raise PipelineError(f"{path}: not readable as Parquet: {problem}; {MAKE}") from error
    if not table.schema.names:
        raise PipelineError(f"{path}: a folder without Parquet; {MAKE}")
    return table


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Canonical JSON: keys in the order given, two spaces, a newline at the end."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_bytes(path: Path, way_out: str = MAKE) -> bytes:
    """All of a file. Raises: PipelineError, also for a folder of that name and the like."""
    try:
        return path.read_bytes()
    except OSError as error:
        problem = "missing" if error.errno == errno.ENOENT else error.strerror
        raise PipelineError(f"{path}: {problem}; {way_out}") from error


def read_json(path: Path, way_out: str = MAKE) -> Any:
    """A JSON file's value. Raises: PipelineError."""
    try:
        return json.loads(read_bytes(path, way_out))
    except ValueError as error:
        raise PipelineError(f"{path}: not JSON: {error}; {way_out}") from error


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A small table for a plot; floats rounded as figures are."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(columns)
        out.writerows([_rounded(value) for value in row] for row in rows)


def read_csv(path: Path, way_out: str = MAKE) -> dict[str, list[str]]:
    """The columns of a small table, as `write_csv` writes it. Raises: PipelineError."""
    try:
        header, *rows = csv_rows(io.StringIO(read_bytes(path, way_out).decode("utf-8-sig"), newline=""))
        return {name: [row[place] for row in rows] for place, name in enumerate(header)}
    except (ValueError, csv.Error) as error:
        raise PipelineError(f"{path}: not CSV: {error}; {way_out}") from error


def csv_rows(
    file: TextIO, separator: str = ",", quoting: Any = csv.QUOTE_MINIMAL, header: list[str] | None = None
) -> Iterator[list[str]]:
    """The rows of any CSV file, the header first, all of one length; a blank line is none.

    header: of a file that begins with its first row.

    Raises: csv.Error, naming the row; also for a stray quotation mark, which would swallow the rows up to
    the next one.
    """
    rows = filter(None, csv.reader(file, delimiter=separator, quoting=quoting, strict=True))
    if header:
        yield header
    for number in itertools.count(1 if header else 0):
        place = f"row {number}" if number else "the header"
        try:
            row = next(rows, None)
        except csv.Error as error:
            problem = f"a quotation mark is not closed or not doubled ({error})"
            raise csv.Error(f"{place}: {problem}") from error
        if row is None:
            return
        header = header or row
        if len(row) != len(header):
            raise csv.Error(f"{place}: {len(row)} columns, not {len(header)}")
        yield row


def file_sha256(path: Path, way_out: str = MAKE) -> str:
    """The sha256 of a file of any size. Raises: PipelineError, also for a folder of that name."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        problem = "missing" if error.errno == errno.ENOENT else error.strerror
        raise PipelineError(f"{path}: {problem}; {way_out}") from error


def sha256(*paths: Path) -> str:
    """One hash of the files' bytes, in the order given."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(hashlib.sha256(read_bytes(path)).digest())
    return whole.hexdigest()


def write_report(path: Path, rows: int, figures: Mapping[str, Figure], verdict: str) -> None:
    """A stage's report, in the one schema: `{rows, figures: {name: Figure}, verdict}`."""
    write_json(path, {"rows": rows, "figures": rounded(figures), "verdict": verdict})


def rounded(figures: Mapping[str, Figure]) -> dict[str, dict[str, Any]]:
    """Figures as reports hold them: rounded, without what is not there."""
    return {
        name: {k: _rounded(v) for k, v in asdict(figure).items() if k == "value" or v is not None}
        for name, figure in figures.items()
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    number = float(value)
    return round(number, DECIMALS) + 0.0 if math.isfinite(number) else None
