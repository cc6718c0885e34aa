"""Reads what people decided about single messages: `data/reviewed.csv`."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import PipelineError, join_column_names
from pipeline.core.hashing import SHORT_ID_DIGITS
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


def read_reviewed(path: Path, ids: Iterable[str] = ()) -> Reviewed:
    """The decisions in a CSV file with the columns `message_id` and `verdict`.

    Args:
        ids: of the messages. A row may name one by its first SHORT_ID_DIGITS.

    Raises: PipelineError, naming the row.
    """
    remedy = f"correct it, or restore the file with `git checkout {path}`"
    table = read_csv(path, remedy)
    for column in ("message_id", "verdict"):
        if column not in table:
            columns = join_column_names(table)
            raise PipelineError(f"{path}: no column {column!r} among {columns}; {remedy}")
    ids_by_start = _group_by_start(ids, table["message_id"])
    verdicts: dict[str, str] = {}
    rows = zip(table["message_id"], table["verdict"], strict=True)
    for row, (message_id, verdict) in enumerate(rows, 1):
        place = f"{path}: row {row}"
        if not re.fullmatch("[0-9a-f]{16}([0-9a-f]{16})?", message_id):
            raise PipelineError(f"{place}: {message_id!r:.40} is not a message_id; {remedy}")
        message_id, *others = ids_by_start.get(message_id) or [message_id]
        if others:
            meant = " or ".join([message_id, *others])
            raise PipelineError(f"{place}: two messages begin so; write all digits: {meant}")
        choose(REVIEW_VERDICTS, verdict, f"{place}: verdict")
        if verdicts.setdefault(message_id, verdict) != verdict:
            problem = f"{message_id} is both released and banned"
            raise PipelineError(f"{place}: {problem}; remove one of the two rows")
    return Reviewed(
        released=frozenset(key for key, verdict in verdicts.items() if verdict == "release"),
        banned=frozenset(key for key, verdict in verdicts.items() if verdict == "ban"),
    )


def _group_by_start(ids: Iterable[str], wanted: Iterable[str]) -> dict[str, list[str]]:
    """The ids, sorted, by their first SHORT_ID_DIGITS, for those of them that are wanted."""
    starts = set(wanted)
    groups: dict[str, set[str]] = defaultdict(set)
    for one in ids:
        if one[:SHORT_ID_DIGITS] in starts:
            groups[one[:SHORT_ID_DIGITS]].add(one)
    return {start: sorted(group) for start, group in groups.items()}
