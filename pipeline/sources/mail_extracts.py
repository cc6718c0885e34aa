"""Saves the mails of a mailbox: its folders are labels, and a mail that moves is feedback."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.dates import current_time
from pipeline.core.errors import PipelineError
from pipeline.core.files import atomic_path
from pipeline.core.hashing import file_sha256, message_id
from pipeline.core.schemas import FEEDBACK_SOURCE, MAIL_EXTRACT
from pipeline.core.tables import read_parquet, write_parquet
from pipeline.sources.imap import (
    ImapDeclaration,
    Position,
    fetch_mails,
    find_new_mails,
    open_mailbox,
)
from pipeline.sources.inbox import Checksums, check_files, unused_path
from pipeline.sources.mail import read_mail
from pipeline.sources.readers import as_text

log = logging.getLogger(__name__)

POSITION_KEY = b"position"  # in the metadata of an extract: a Position as JSON

MailRow = dict[str, Any]  # of MAIL_EXTRACT


def save_mailbox(
    name: str,
    declared: ImapDeclaration,
    inbox: Path,
    pinned: Checksums,
    update: bool,
    clock: Callable[[], datetime] = current_time,
) -> Checksums:
    """Saves new mails as `inbox/NAME/TIME.parquet`, with the columns of MAIL_EXTRACT.

    A mail of an earlier extract that is now in a folder with another label is saved in
    `inbox/feedback/NAME/TIME.parquet`, with the time of the fetch as its `received_at`.

    Args:
        pinned: the files of earlier fetches, which stay as they are.

    Returns: the files to read.
    Raises: PipelineError, and then no extract is saved.
    """
    if pinned and not update:
        return check_files(inbox, pinned)
    earlier = _read_earlier(name, inbox, pinned)
    now = clock()
    stem = f"{now:%Y-%m-%dT%H%M%SZ}"
    with open_mailbox(name, declared) as mailbox:
        folders = find_new_mails(mailbox, earlier.position)
        position = {one.name: [one.uid_validity, one.last_uid] for one in folders}
        if position == earlier.position:
            return pinned
        corrections = dict[str, MailRow]()
        batches = _sort_mails(fetch_mails(mailbox, folders), earlier, corrections)
        schema = MAIL_EXTRACT.with_metadata({POSITION_KEY: json.dumps(position)})
        path = unused_path(inbox, PurePosixPath(name, stem))
        with atomic_path(inbox / path) as temporary:
            rows = write_parquet(temporary, batches, schema)
            if not rows and not pinned:
                empty = ", ".join(declared.folders)
                raise PipelineError(f"{name}: no mail in {empty}; correct folders, or bring mails")
            saved = _save_corrections(name, inbox, stem, corrections, now)
    return {**pinned, path: file_sha256(inbox / path), **saved}


def _save_corrections(
    name: str, inbox: Path, stem: str, corrections: dict[str, MailRow], now: datetime
) -> Checksums:
    """Saves the mails that moved to another label as feedback, if there are any."""
    if not corrections:
        return {}
    path = unused_path(inbox, PurePosixPath(FEEDBACK_SOURCE, name, stem))
    rows = [row | {"received_at": now} for row in corrections.values()]
    batch = pa.RecordBatch.from_pylist(rows, MAIL_EXTRACT)
    write_parquet(inbox / path, [batch], MAIL_EXTRACT)
    log.info("%s: %s mails have another label now, saved as %s", name, f"{len(rows):,}", path)
    return {path: file_sha256(inbox / path)}


def _mail_row(raw: bytes, label: str) -> MailRow:
    mail = read_mail(raw)
    text, mail_id = as_text(mail.text), as_text(mail.mail_id)
    return {
        "text": text,
        "label": label,
        "received_at": mail.received_at,
        "mail_id": mail_id,
        "mail_key": message_id(f"{mail_id}\n{text}"),
    }


# ---- earlier fetches


@dataclass(frozen=True)
class _Earlier:
    """What earlier fetches saved; a mail is known by its `mail_key`."""

    position: Position
    extracted: set[str]  # the mails that have a row in an extract
    labels: dict[str, set[str]]  # the label of each mail now; two if it was in two folders at once


def _read_earlier(name: str, inbox: Path, pinned: Checksums) -> _Earlier:
    """What the pinned extracts hold, and all corrections, as `feedback` reads them all.

    Raises: PipelineError.
    """
    position: Position = {}
    labels: dict[str, set[str]] = {}
    for path in pinned:
        if PurePosixPath(path).parts[0] != FEEDBACK_SOURCE:
            table = read_parquet(inbox / path, ["mail_key", "label"])
            position = json.loads(table.schema.metadata[POSITION_KEY])
            for row in table.to_pylist():
                labels.setdefault(row["mail_key"], set()).add(row["label"])
    extracted = set(labels)
    for row in _read_corrections(inbox / FEEDBACK_SOURCE / name):
        labels[row["mail_key"]] = {row["label"]}
    return _Earlier(position, extracted, labels)


def _read_corrections(folder: Path) -> list[MailRow]:
    """The corrections of all fetches, the latest last."""
    columns = ["mail_key", "label", "received_at"]
    files = [path for path in folder.glob("*.parquet") if "mail_key" in pq.read_schema(path).names]
    rows = [row for path in files for row in read_parquet(path, columns).to_pylist()]
    return sorted(rows, key=lambda row: row["received_at"])


def _sort_mails(
    fetched: Iterator[tuple[str, list[bytes]]], earlier: _Earlier, corrections: dict[str, MailRow]
) -> Iterator[pa.RecordBatch]:
    """The mails that no earlier extract has.

    Args:
        corrections: receives the mails whose label differs from their earlier one, by `mail_key`.
    """
    seen = set[tuple[str, str]]()
    for label, mails in fetched:
        new = []
        for row in (_mail_row(raw, label) for raw in mails):
            key = row["mail_key"]
            if label not in earlier.labels.get(key, {label}):
                corrections[key] = row
            if key not in earlier.extracted and (key, label) not in seen:
                seen.add((key, label))
                new.append(row)
        yield pa.RecordBatch.from_pylist(new, MAIL_EXTRACT)
