"""Lands extracts of a database and files of feedback in the inbox, as files that are only ever added to."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy
from tqdm import tqdm

from pipeline.core.errors import PipelineError, join_column_names, redact_credentials
from pipeline.core.files import atomic_path
from pipeline.core.hashing import file_sha256
from pipeline.core.schemas import EXTRACT, FEEDBACK_SOURCE
from pipeline.core.tables import read_parquet, write_parquet
from pipeline.sources import download, readers

CHUNK = 10_000  # rows that are in memory at once
SINCE = datetime(1970, 1, 1, tzinfo=UTC)  # where an incremental query starts
MEND = "see to the database, and to url and query in data/sources.yaml"
BACK = "`git checkout` or `dvc checkout` brings it back, or fetch with --update"
APPEND = "feedback is only ever added to: give corrections in a new file"


@dataclass(frozen=True)
class Sql:
    """A query whose columns are `text`, `label` and, if it has one, `received_at`."""

    url: str  # SQLAlchemy's, with $NAME for what stands in the environment
    query: str  # with `:since` for the newest received_at that has landed, where it adds to what is there


@dataclass(frozen=True)
class Feedback:
    """A folder, or a pattern of files, at any address that fsspec knows."""

    url: str  # with $NAME for what stands in the environment


def now() -> datetime:
    return datetime.now(UTC)


# ---- databases


def sql(
    name: str,
    declared: Sql,
    inbox: Path,
    pinned: dict[str, str],
    update: bool,
    clock: Callable[[], datetime] = now,
) -> dict[str, str]:
    """Runs the query into `inbox/NAME/<time>.parquet`. Returns sha256 by path below the inbox: what to read.

    A query with `:since` adds a file to those that are pinned; one without takes their place. What has landed
    stays as it is unless `update`. Raises: PipelineError, and then nothing has landed.
    """
    if pinned and not update:
        return checked(inbox, pinned)
    url = download.expanded(declared.url, f"{name}.url")
    adds = ":since" in declared.query
    path = PurePosixPath(name, f"{clock():%Y-%m-%dT%H%M%SZ}.parquet").as_posix()
    with _reached(name), sqlalchemy.create_engine(url).connect() as connection:
        since = {"since": _newest(inbox, pinned)} if adds else {}
        streaming = connection.execution_options(stream_results=True, yield_per=CHUNK)
        result = streaming.execute(sqlalchemy.text(declared.query), since)
        rows = write_parquet(inbox / path, _extracted(result, name), EXTRACT)
    sha256 = file_sha256(inbox / path)
    if not rows or sha256 in pinned.values():  # nothing new
        (inbox / path).unlink()
        if not pinned:
            raise PipelineError(f"{name}: the query returns no rows; mend it")
        return pinned
    return {**(pinned if adds else {}), path: sha256}


def _extracted(result: Any, name: str) -> Iterator[pa.RecordBatch]:
    """The result as batches of EXTRACT, whatever types the database has."""
    have = list(result.keys())
    if missing := [column for column in ("text", "label") if have.count(column) != 1]:
        raise PipelineError(
            f"{name}: the query returns {join_column_names(have)}, not one {missing[0]!r}; name it with AS"
        )
    with tqdm(unit=" rows", disable=None) as bar:
        for rows in result.mappings().partitions(CHUNK):
            bar.update(len(rows))
            columns = [
                [readers.as_text(row["text"]) for row in rows],
                [readers.as_text(row["label"]) for row in rows],
                [_time(row.get("received_at"), name) for row in rows],
            ]
            arrays = [
                pa.array(values, of) for values, of in zip(columns, EXTRACT.types, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=EXTRACT)


def _time(value: Any, name: str) -> datetime | None:
    try:
        return readers.as_time(value)
    except ValueError:
        raise PipelineError(f"{name}: received_at is not a time; cast it in the query") from None


def _newest(inbox: Path, pinned: dict[str, str]) -> datetime:
    """The newest time that has landed."""
    columns = (read_parquet(inbox / path, ["received_at"])["received_at"] for path in pinned)
    return max((newest for column in columns if (newest := pc.max(column).as_py())), default=SINCE)


@contextmanager
def _reached(name: str) -> Iterator[None]:
    """Turns what the database, its driver and its values raise into one line. Raises: PipelineError."""
    try:
        yield
    except sqlalchemy.exc.SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__]
        raise PipelineError(
            f"{name}: {redact_credentials(said[0].rstrip('.'))}; {MEND}"
        ) from error
    except ModuleNotFoundError as error:
        raise PipelineError(
            f"{name}: the database's driver {error.name} is missing; install it"
        ) from error


# ---- feedback


def feedback(
    name: str, declared: Feedback, inbox: Path, pinned: dict[str, str], update: bool
) -> dict[str, str]:
    """Brings every file that has not landed to `inbox/feedback/NAME/`. Returns their sha256 by path.

    What has landed stays, also when it is gone upstream; a landed file that has another size or other bytes
    upstream is an error. Without `update` only what is pinned and missing here comes, again.
    Raises: PipelineError.
    """
    url = download.expanded(declared.url, f"{name}.url")
    folder = f"{FEEDBACK_SOURCE}/{name}"
    missing = {path for path in pinned if not (inbox / path).exists()}
    if pinned and not update and not missing:
        return checked(inbox, pinned)
    offered, landed = _offered(url, folder), dict(pinned)
    if pinned and not update:
        offered = {path: remote for path, remote in offered.items() if path in missing}
    for path, remote in tqdm(offered.items(), unit=" files", disable=None):
        with tempfile.TemporaryDirectory() as home, atomic_path(inbox / path) as temporary:
            came = Path(home) / "came"
            download.download(url, came, remote.path)
            shutil.copyfile(came, temporary)
            sha256 = file_sha256(temporary)
            if landed.setdefault(path, sha256) != sha256:
                raise PipelineError(f"{name}: {path} has changed since it landed; {APPEND}")
    return checked(inbox, dict(sorted(landed.items())))


def _offered(url: str, folder: str) -> dict[str, download.Remote]:
    """The remote files by the paths below the inbox that they land in. Raises: PipelineError."""
    found = download.listing(url)
    for name in found:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise PipelineError(
                f"{redact_credentials(url)}: {name!r} leads out of the folder; rename it"
            )
    return {f"{folder}/{name}": remote for name, remote in found.items()}


# ---- what has landed


def checked(inbox: Path, files: dict[str, str]) -> dict[str, str]:
    """The files, once each is there with its sha256. Raises: PipelineError."""
    for path, sha256 in files.items():
        found = file_sha256(inbox / path) if (inbox / path).is_file() else None
        if found != sha256:
            problem = "missing" if found is None else "changed since it landed"
            raise PipelineError(f"{inbox / path}: {problem}; {BACK}")
    return files
