"""Saves the labels that clients of the server send, as files that ingest reads as feedback."""

import json
import logging
import os
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from pipeline.core.dates import current_time
from pipeline.core.errors import PipelineError, convert_os_errors
from pipeline.core.files import atomic_path, read_bytes
from pipeline.core.params import read_params
from pipeline.core.schemas import FEEDBACK_SOURCE
from pipeline.sources.catalogue import Params
from pipeline.sources.fetch import INBOX_PATH
from pipeline.sources.readers import ColumnNames, FileParams, SourceFile, read_file

log = logging.getLogger(__name__)

CLIENT_FOLDER = INBOX_PATH / FEEDBACK_SOURCE / "http"
REVIEWER_FOLDER = INBOX_PATH / FEEDBACK_SOURCE / "review"  # of the review page
FULL_BYTES = 1 << 20  # a file of this size gets no more rows


class LabelledText(NamedTuple):
    """A label that a client gives to a text."""

    text: str
    label: str  # ham or spam
    source: str | None = None  # who sent it, for people; ingest does not read it


SAMPLE = [LabelledText("are we still on for lunch?", "ham"), LabelledText("WIN a prize", "spam")]


class FeedbackStore:
    """A folder of JSONL files: one a day (UTC), and a further one when that is full.

    A file is replaced as a whole, so that nobody reads a part of it, and a full disk loses nothing.

    Args:
        columns: how ingest.files calls the columns.
    """

    def __init__(self, columns: ColumnNames, folder: Path = CLIENT_FOLDER) -> None:
        self._columns = columns
        self._folder = folder

    def save(self, rows: Sequence[LabelledText]) -> None:
        """Adds rows, dated now. Threads and processes may do it at the same time.

        Raises: PipelineError, and then no row is saved.
        """
        now = current_time()
        lines = "".join(self._line(row, now) for row in rows).encode()
        with locked_feedback(self._folder):
            path = self._path_with_room(f"{now:%Y-%m-%d}")
            before = path.read_bytes() if path.exists() else b""
            _write_synced(path, before + lines)

    def labels_of(self, text: str) -> set[str]:
        """The labels that the rows of the folder give to a text. Raises: PipelineError."""
        rows = [row for path in self._paths() for _, row in self._rows(path)]
        return {label for other, label in rows if other == text}

    def remove(self, text: str, label: str) -> None:
        """Removes the rows that give this label to a text. Raises: PipelineError."""
        with locked_feedback(self._folder):
            for path in self._paths():
                rows = self._rows(path)
                kept = [line for line, row in rows if row != (text, label)]
                if not kept:
                    path.unlink()
                elif len(kept) < len(rows):
                    _write_synced(path, b"".join(kept))

    def _rows(self, path: Path) -> list[tuple[bytes, tuple[str, str]]]:
        """Each line, with its text and label. Raises: PipelineError."""
        lines = read_bytes(path).splitlines(keepends=True)
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                rows.append((line, (row[self._columns.text], row[self._columns.label])))
            except (ValueError, TypeError, LookupError, RecursionError):
                raise PipelineError(
                    f"{path}: line {number}: not JSON with {self._columns.text} and "
                    f"{self._columns.label}; correct or remove it"
                ) from None
        return rows

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.jsonl"))

    def _line(self, row: LabelledText, now: datetime) -> str:
        columns = self._columns
        values = {
            "source": row.source,
            columns.received_at: now.isoformat(),
            columns.label: row.label,
            columns.text: row.text,
        }
        return json.dumps(values) + "\n"  # in ASCII, whatever ingest.files.encoding is

    def _path_with_room(self, day: str) -> Path:
        number = 1
        path = self._folder / f"{day}.jsonl"
        while path.exists() and path.stat().st_size >= FULL_BYTES:
            number += 1
            path = self._folder / f"{day}-{number}.jsonl"
        return path


def _write_synced(path: Path, content: bytes) -> None:
    """Replaces a file as a whole, on the disk."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def locked_feedback(folder: Path = CLIENT_FOLDER) -> FileLock:
    """The lock of whoever changes a file of the folder. Raises: PipelineError."""
    with convert_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".lock")  # hidden, so that it is no data


def readable_feedback_store(
    folder: Path = CLIENT_FOLDER, option: str = "--feedback"
) -> FeedbackStore:
    """A store in the project's inbox.

    Args:
        option: what needs the store, for errors and the warning that nothing reads it.

    Raises: PipelineError if ingest would misread its files.
    """
    params = read_params(Params, "ingest")
    _check_readable(params.files, folder, option)
    if remedy := unread_feedback_remedy():
        log.warning("warning: %s: nothing learns from it yet; %s", option, remedy)
    return FeedbackStore(params.files.columns, folder)


def unread_feedback_remedy() -> str:
    """What lets ingest read feedback; empty if it does."""
    sources = read_params(Params, "ingest").sources
    if FEEDBACK_SOURCE in sources:
        return ""
    return f"set ingest.sources: [{', '.join([*sources, FEEDBACK_SOURCE])}]"


def _check_readable(params: FileParams, place: Path, option: str) -> None:
    """Saves and reads a sample. Raises: PipelineError."""
    with tempfile.TemporaryDirectory() as folder:
        FeedbackStore(params.columns, Path(folder)).save(SAMPLE)
        (path,) = Path(folder).glob("*.jsonl")
        name = str((place / path.name).relative_to(INBOX_PATH))
        batches = read_file(SourceFile(path, name, params.labelled(name), name))
        try:
            rows = [row for batch in batches for row in batch.to_pylist()]
        except PipelineError as error:
            raise PipelineError(f"{option}: ingest cannot read what it saves: {error}") from error
    if [LabelledText(row["text"], row["label"]) for row in rows] != SAMPLE:
        raise PipelineError(
            f"{option}: ingest reads other texts or labels than it saves; correct label, "
            "label_by_folder, labels or columns of ingest.files in params.yaml"
        )
