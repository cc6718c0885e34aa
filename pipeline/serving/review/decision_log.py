"""The log of all decisions of the review page: `data/review/decisions.csv`.

A line is only ever added. An undo is a line of its own.
"""

import csv
import io
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.core.errors import PipelineError, convert_os_errors
from pipeline.core.tables import iter_csv_rows

DECISION_LOG = Path("data/review/decisions.csv")
UNDO = "undo"
DECISIONS = {  # the values of column `decision`
    "spam": "the message is good data, and spam",
    "ham": "the message is good data, and ham",
    "ban": "nothing learns from the message",
    UNDO: "the reviewer's last decision about the message does not count",
}


class LoggedDecision(NamedTuple):
    """A line of the log.

    Attributes:
        time: ISO 8601, UTC.
        decision: of DECISIONS.
    """

    time: str
    reviewer: str
    message_id: str
    decision: str


Standing = tuple[LoggedDecision, ...]  # about one message, without undone ones; the last one holds


def add_decision(standing: Standing, new: LoggedDecision) -> Standing:
    """The decisions about a message after a new line; the same ones if it changes nothing."""
    own = [one for one in standing if one.reviewer == new.reviewer]
    if new.decision == UNDO:
        return tuple(one for one in standing if not own or one is not own[-1])
    if own and own[-1] is standing[-1] and own[-1].decision == new.decision:
        return standing
    return (*standing, new)


def read_decisions(path: Path) -> dict[str, Standing]:
    """The decisions that are not undone, by message_id; none without a file.

    A last line without its end, as of a process that was killed, does not count.

    Raises: PipelineError.
    """
    standing: dict[str, Standing] = defaultdict(tuple)
    for number, cells in enumerate(_whole_lines(path), 1):
        if len(cells) != len(LoggedDecision._fields) or cells[-1] not in DECISIONS:
            raise PipelineError(f"{path}: row {number} is no decision; remove or correct it")
        entry = LoggedDecision(*cells)
        standing[entry.message_id] = add_decision(standing[entry.message_id], entry)
    return {key: entries for key, entries in standing.items() if entries}


def _whole_lines(path: Path) -> Sequence[list[str]]:
    if not path.exists():
        return []
    with convert_os_errors(path):
        content = path.read_bytes()
    try:
        text = content[: content.rfind(b"\n") + 1].decode()
        return list(iter_csv_rows(io.StringIO(text, newline="")))[1:]
    except (ValueError, csv.Error) as error:
        raise PipelineError(f"{path}: not CSV: {error}; correct the line") from error


def append_decision(path: Path, entry: LoggedDecision) -> None:
    """Adds a line at the end of the log, on the disk. Raises: PipelineError."""
    cells = io.StringIO(newline="")
    writer = csv.writer(cells, lineterminator="\n")
    with convert_os_errors(path), path.open("a+b") as file:
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)  # what a killed process left of its line
        if not whole:
            writer.writerow(LoggedDecision._fields)
        writer.writerow(entry)
        file.write(cells.getvalue().encode())
        file.flush()
        os.fsync(file.fileno())
