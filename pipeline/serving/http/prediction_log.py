"""Writes what a server answers to a log of predictions; no problem of the log stops answers.

A thread collects the rows and writes them as files, with the names and the schema of
monitoring/predictions.py. A file appears when it is complete: a crash loses the rows of at most
FILE_SECONDS.
"""

import argparse
import asyncio
import logging
import os
import queue
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from pipeline.core.errors import PipelineError, convert_os_errors
from pipeline.core.hashing import message_id
from pipeline.core.tables import write_parquet
from pipeline.monitoring.predictions import FILE_PREFIX, PREDICTIONS, file_name, prediction_files
from pipeline.serving.http.micro_batches import Answers
from pipeline.serving.http.request_bodies import Messages
from pipeline.serving.labels import READ_CHARACTERS
from pipeline.serving.scoring import scoring_time

log = logging.getLogger(__name__)

FILE_ROWS = 4_096  # a file is written with so many rows; their texts take at most 330 MB
FILE_SECONDS = 300  # or so long after the last one
WAITING_REQUESTS = 256  # not yet taken by the thread; what comes then is lost, as memory is limited
SOURCE_CHARACTERS = 100  # of the name that a client gives
RETENTION_DAYS = 30
MAX_RETENTION_DAYS = 36_500

LoggedRequest = tuple[pd.Timestamp, str, Messages, Answers]  # time and number of the version
LoggedRow = dict[str, Any]  # by the names of PREDICTIONS
_END = None  # in the queue, after the last request


class PredictionLog:
    """A log in a folder, from `start` to `close`. `add` may be called from one thread.

    Whatever happens to the log, the server answers: rows that cannot be written are counted.

    Attributes:
        written: number of rows in files.

    Args:
        keep_text: whether the log has the texts.
        retention_days: files older than this are removed.

    Raises: PipelineError if the folder cannot be written to.
    """

    def __init__(
        self, folder: Path, keep_text: bool = False, retention_days: int = RETENTION_DAYS
    ) -> None:
        with convert_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        self.written = 0
        self._dropped = 0  # by `add`
        self._failed = 0  # in the thread
        self._folder = folder
        self._keep_text = keep_text
        self._retention = timedelta(days=retention_days)
        self._requests: queue.Queue[LoggedRequest | None] = queue.Queue(WAITING_REQUESTS)
        self._problem = ""  # of the last file
        self._thread = threading.Thread(target=self._write_files, daemon=True)

    @property
    def lost(self) -> int:
        """Number of rows that could not be written."""
        return self._dropped + self._failed

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Waits until all rows are written."""
        self._requests.put(_END)
        self._thread.join()

    def add(self, version: str, messages: Messages, answers: Answers) -> None:
        """Hands the answers to the messages of one request to the thread."""
        try:
            self._requests.put_nowait((scoring_time(), version, messages, answers))
        except queue.Full:
            self._dropped += len(answers)

    # ---- the thread

    def _write_files(self) -> None:
        rows: list[LoggedRow] = []
        due = time.monotonic()  # old files are removed at the start, too
        while True:
            is_last = False
            with suppress(queue.Empty):
                request = self._requests.get(timeout=max(0, due - time.monotonic()))
                is_last = request is _END
                rows += self._rows(*request) if request else []
            if len(rows) >= FILE_ROWS or is_last or time.monotonic() >= due:
                self._try_to_write(rows)
                rows = []
                due = time.monotonic() + FILE_SECONDS
            if is_last:
                return

    def _rows(
        self, scored_at: pd.Timestamp, version: str, messages: Messages, answers: Answers
    ) -> list[LoggedRow]:
        return [
            {
                **answer,
                "scored_at": scored_at,
                "model_version": version,
                "source": source[:SOURCE_CHARACTERS] if source else None,
                "text_id": message_id(text),
                "text": text[:READ_CHARACTERS] if self._keep_text else None,
            }
            for text, source, answer in zip(messages.texts, messages.sources, answers, strict=True)
        ]

    def _try_to_write(self, rows: list[LoggedRow]) -> None:
        problem = ""
        try:
            self._remove_old_files()
            if rows:
                self._write(rows)
        except PipelineError as error:
            problem = str(error)
        except Exception as error:  # whose text may show a message
            problem = type(error).__name__
        if problem:
            self._failed += len(rows)
        if problem and problem != self._problem:
            log.warning("serve: predictions are answered and not logged: %s", problem)
        self._problem = problem

    def _write(self, rows: list[LoggedRow]) -> None:
        name = file_name(datetime.now(UTC), f"-{os.getpid()}.parquet")
        batch = pa.RecordBatch.from_pylist(rows, PREDICTIONS)
        self.written += write_parquet(self._folder / name, [batch], PREDICTIONS)

    def _remove_old_files(self) -> None:
        oldest = file_name(datetime.now(UTC) - self._retention, "")
        orphans = self._folder.glob(f".{FILE_PREFIX}*.tmp")  # of servers that were killed
        with convert_os_errors(self._folder):
            for path in [*prediction_files(self._folder), *orphans]:
                if path.name.removeprefix(".") < oldest:
                    path.unlink(missing_ok=True)


@asynccontextmanager
async def running_log(predictions: PredictionLog | None) -> AsyncIterator[None]:
    """Runs a log, if there is one, while the block runs."""
    if predictions:
        predictions.start()
    try:
        yield
    finally:
        if predictions:
            await asyncio.to_thread(predictions.close)


# ---- the options of the server


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `prediction_log` reads."""
    parser.add_argument(
        "--log",
        type=Path,
        metavar="FOLDER",
        help="write a log of predictions, without texts, such as to data/predictions",
    )
    parser.add_argument("--keep-text", action="store_true", help="have the texts in the log, too")
    parser.add_argument(
        "--retention-days",
        type=int,
        metavar="N",
        help=f"remove files of the log after N days (default: {RETENTION_DAYS})",
    )


def prediction_log(arguments: argparse.Namespace) -> PredictionLog | None:
    """The log that the options ask for, if any. Raises: PipelineError."""
    days = RETENTION_DAYS if arguments.retention_days is None else arguments.retention_days
    if not 1 <= days <= MAX_RETENTION_DAYS:
        limits = f"between 1 and {MAX_RETENTION_DAYS:,} days"
        raise PipelineError(f"--retention-days: {days}: give a number {limits}")
    if arguments.log:
        return PredictionLog(arguments.log, arguments.keep_text, days)
    if arguments.keep_text or arguments.retention_days is not None:
        raise PipelineError("--keep-text, --retention-days: are of a log; give --log FOLDER, too")
    return None
