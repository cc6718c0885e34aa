"""Reads what people decided about single messages: `data/reviewed.csv`."""

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import PipelineError, join_column_names
from pipeline.core.params import choose
from pipeline.core.tables import read_csv

REVIEW_VERDICTS = {  # the values of column `verdict`
    "release": "no rule about its text applies to the message",
    "ban": "the message goes to quarantine",
}


@dataclass(frozen=True)
class Reviewed:
    """The decisions of people, as sets of `message_id`."""

    released: frozenset[str] = frozenset()
    banned: frozenset[str] = frozenset()


NOTHING_REVIEWED = Reviewed()


def read_reviewed(path: Path) -> Reviewed:
    """The decisions in a CSV file with the columns `message_id` and `verdict`.

    Raises: PipelineError, naming the row.
    """
    remedy = f"correct it, or restore the file with `git checkout {path}`"
    table = read_csv(path, remedy)
    for column in ("message_id", "verdict"):
        if column not in table:
            columns = join_column_names(table)
            raise PipelineError(f"{path}: no column {column!r} among {columns}; {remedy}")
    verdicts: dict[str, str] = {}
    rows = zip(table["message_id"], table["verdict"], strict=True)
    for row, (message_id, verdict) in enumerate(rows, 1):
        place = f"{path}: row {row}"
        if not re.fullmatch("[0-9a-f]{16}", message_id):
            raise PipelineError(f"{place}: {message_id!r} is not a message_id; {remedy}")
        choose(REVIEW_VERDICTS, verdict, f"{place}: verdict")
        if verdicts.setdefault(message_id, verdict) != verdict:
            problem = f"{message_id} is both released and banned"
            raise PipelineError(f"{place}: {problem}; remove one of the two rows")
    return Reviewed(
        released=frozenset(key for key, verdict in verdicts.items() if verdict == "release"),
        banned=frozenset(key for key, verdict in verdicts.items() if verdict == "ban"),
    )
