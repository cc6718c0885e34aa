"""Saves database extracts and feedback in data/inbox/, as files that never change."""

import itertools
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pydantic
import sqlalchemy
from tqdm import tqdm

from pipeline.core.dates import current_time
from pipeline.core.errors import PipelineError, join_column_names, redact_credentials
from pipeline.core.files import atomic_path
from pipeline.core.hashing import file_sha256
from pipeline.core.params import ParamsSection
from pipeline.core.schemas import EXTRACT, FEEDBACK_SOURCE
from pipeline.core.tables import read_parquet, write_parquet
from pipeline.sources import download
from pipeline.sources.readers import as_text, as_time

log = logging.getLogger(__name__)

EXTRACT_ROWS = 10_000  # rows that are in memory at once
FIRST_SINCE = datetime(1970, 1, 1, tzinfo=UTC)  # `:since` of the first incremental extract
OVERLAP = timedelta(days=1)  # is queried again, for rows that were written late
DATABASE_REMEDY = "check the database, and url and query in data/sources.yaml"
RESTORE_REMEDY = "restore it, or run `python -m pipeline fetch --update`"
CHANGED_REMEDY = "feedback files must not change: put corrections in a new file"

Checksums = dict[str, str]  # sha256 by path below the inbox
Row = tuple[Any, ...]  # of EXTRACT


class SqlDeclaration(ParamsSection):
    """A query whose columns are `text`, `label` and, if it has one, `received_at`."""

    url: str = pydantic.Field(description="SQLAlchemy's URL; $NAME is taken from the environment")
    query: str = pydantic.Field(
        description="SQL; with `:since`, a day before the newest received_at so far, each extract "
        "adds the rows that no earlier one has"
    )


class FeedbackDeclaration(ParamsSection):
    """A folder of files whose labels overrule those of other sources."""

    url: str = pydantic.Field(
        description="a folder or a pattern, at any address of fsspec; $NAME as above"
    )


# ---- databases


def save_extract(
    name: str,
    declared: SqlDeclaration,
    inbox: Path,
    pinned: Checksums,
    update: bool,
    clock: Callable[[], datetime] = current_time,
) -> Checksums:
    """Runs the query and saves its rows as `inbox/NAME/TIME.parquet`, with the columns of EXTRACT.

    Args:
        pinned: the files of earlier extracts. A query with `:since` adds a file of rows that they
            lack; the file of any other query replaces them. They stay as they are unless `update`.

    Returns: the files to read.
    Raises: PipelineError, and then no file is saved.
    """
    if pinned and not update:
        return check_files(inbox, pinned)
    url = download.expand_variables(declared.url, f"{name}.url")
    is_incremental = ":since" in declared.query
    now = clock()
    values = {}
    seen = set[Row]()
    if is_incremental:
        values["since"] = _next_since(name, inbox, pinned, now)
        seen = _rows_since(inbox, pinned, values["since"])
    path = unused_path(inbox, PurePosixPath(name, f"{now:%Y-%m-%dT%H%M%SZ}"))
    with _convert_database_errors(name), sqlalchemy.create_engine(url).connect() as connection:
        streaming = connection.execution_options(stream_results=True, yield_per=EXTRACT_ROWS)
        result = streaming.execute(sqlalchemy.text(declared.query), values)
        batches = _without_rows(_extract_batches(result, name), seen)
        rows = write_parquet(inbox / path, batches, EXTRACT)
    sha256 = file_sha256(inbox / path)
    if not rows or sha256 in pinned.values():  # nothing new
        (inbox / path).unlink()
        if not pinned:
            raise PipelineError(f"{name}: the query returns no rows; correct it")
        return pinned
    return {**(pinned if is_incremental else {}), path: sha256}


def _extract_batches(result: Any, name: str) -> Iterator[pa.RecordBatch]:
    """The rows as batches of EXTRACT, whatever types the database has."""
    columns = list(result.keys())
    for needed in ("text", "label"):
        if columns.count(needed) != 1:
            raise PipelineError(
                f"{name}: the query returns {join_column_names(columns)}, not one {needed!r}; "
                "name it with AS"
            )
    with tqdm(unit=" rows", disable=None) as bar:
        for rows in result.mappings().partitions(EXTRACT_ROWS):
            bar.update(len(rows))
            values = {
                "text": [as_text(row["text"]) for row in rows],
                "label": [as_text(row["label"]) for row in rows],
                "received_at": [_extract_time(row.get("received_at"), name) for row in rows],
            }
            arrays = [pa.array(values[field.name], field.type) for field in EXTRACT]
            yield pa.RecordBatch.from_arrays(arrays, schema=EXTRACT)


def _extract_time(value: Any, name: str) -> datetime | None:
    try:
        return as_time(value)
    except ValueError:
        raise PipelineError(f"{name}: received_at is not a time; cast it in the query") from None


def _next_since(name: str, inbox: Path, pinned: Checksums, now: datetime) -> datetime:
    """A day before the newest received_at of all extracts, which is not later than now."""
    columns = [read_parquet(inbox / path, ["received_at"])["received_at"] for path in pinned]
    times = [newest for column in columns if (newest := pc.max(column).as_py())]
    newest = max(times, default=FIRST_SINCE)
    if newest > now + OVERLAP:
        log.warning(
            "warning: %s: a received_at is in the future, %s; correct the row in the database",
            name,
            newest.isoformat(),
        )
    return max(FIRST_SINCE, min(newest, now) - OVERLAP)


def _rows_since(inbox: Path, pinned: Checksums, since: datetime) -> set[Row]:
    """The rows of all extracts that the next query can return again.

    These are rows without a time too, and those of a day more: a time that is text in the database
    is compared as text.
    """
    seen = set[Row]()
    for path in pinned:
        table = read_parquet(inbox / path, EXTRACT.names)
        times = table["received_at"]
        again = pc.fill_null(pc.greater_equal(times, pa.scalar(since - OVERLAP, times.type)), True)
        seen.update(tuple(row.values()) for row in table.filter(again).to_pylist())
    return seen


def _without_rows(batches: Iterator[pa.RecordBatch], seen: set[Row]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        is_new = [tuple(row.values()) not in seen for row in batch.to_pylist()]
        yield batch.filter(pa.array(is_new, pa.bool_()))


def unused_path(inbox: Path, stem: PurePosixPath) -> str:
    """A path below the inbox for a new file: earlier extracts, even of this second, stay."""
    endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    paths = (f"{stem}{ending}.parquet" for ending in endings)
    return next(path for path in paths if not (inbox / path).exists())


@contextmanager
def _convert_database_errors(name: str) -> Iterator[None]:
    """Turns what the database, its driver and its values raise into one line."""
    try:
        yield
    except sqlalchemy.exc.SQLAlchemyError as error:
        text = str(getattr(error, "orig", None) or error)
        first_line = text.splitlines()[0] if text else type(error).__name__
        problem = redact_credentials(first_line.rstrip("."))
        raise PipelineError(f"{name}: {problem}; {DATABASE_REMEDY}") from error
    except ModuleNotFoundError as error:
        raise PipelineError(
            f"{name}: the database's driver {error.name} is missing; install it"
        ) from error


# ---- feedback


def save_feedback(
    name: str, declared: FeedbackDeclaration, inbox: Path, pinned: Checksums, update: bool
) -> Checksums:
    """Downloads every new file to `inbox/feedback/NAME/`.

    A saved file stays when it disappears at its source; one that changes there is an error.

    Args:
        pinned: the saved files. Without `update` only those that are missing here are downloaded.

    Returns: the files to read.
    Raises: PipelineError.
    """
    url = download.expand_variables(declared.url, f"{name}.url")
    folder = f"{FEEDBACK_SOURCE}/{name}"
    missing = {path for path in pinned if not (inbox / path).exists()}
    if pinned and not update and not missing:
        return check_files(inbox, pinned)
    remote_files = _remote_feedback(url, folder)
    if pinned and not update:
        remote_files = {path: file for path, file in remote_files.items() if path in missing}
    saved = dict(pinned)
    for path, remote in tqdm(remote_files.items(), unit=" files", disable=None):
        with tempfile.TemporaryDirectory() as home, atomic_path(inbox / path) as temporary:
            received = Path(home) / "received"
            download.download(url, received, remote.path)
            shutil.copyfile(received, temporary)
            sha256 = file_sha256(temporary)
            if saved.setdefault(path, sha256) != sha256:
                raise PipelineError(f"{name}: {path} has changed at its source; {CHANGED_REMEDY}")
    return check_files(inbox, dict(sorted(saved.items())))


def _remote_feedback(url: str, folder: str) -> dict[str, download.RemoteFile]:
    """The remote files by their paths below the inbox. Raises: PipelineError."""
    files = download.list_files(url)
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise PipelineError(
                f"{redact_credentials(url)}: {name!r} leads out of the folder; rename it"
            )
    return {f"{folder}/{name}": remote for name, remote in files.items()}


# ---- saved files


def check_files(inbox: Path, pinned: Checksums) -> Checksums:
    """The pinned files, if each is in the inbox as it was saved. Raises: PipelineError."""
    present = {path: file_sha256(inbox / path) for path in pinned if (inbox / path).is_file()}
    compare_files(inbox, pinned, present)
    return pinned


def compare_files(inbox: Path, pinned: Checksums, present: Checksums) -> None:
    """Raises: PipelineError, if a pinned file is missing or has another sha256."""
    for path, sha256 in pinned.items():
        if present.get(path) != sha256:
            problem = "changed since it was saved" if path in present else "missing"
            raise PipelineError(f"{inbox / path}: {problem}; {RESTORE_REMEDY}")
