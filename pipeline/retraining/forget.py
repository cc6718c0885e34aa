"""Removes messages from the files of this project, bans them, and lists who learned from them.

They are removed from data/inbox/, from the prediction log and from DVC's cache; tables that have
them are deleted, and `dvc repro` makes them anew. A line in data/reviewed.csv bans each message, so
that no source brings it back. It can be repeated after an interruption. A message is its exact
text: one with another letter or blank has an id of its own.
"""

import argparse
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.core.cli import argument_parser, stage_lock
from pipeline.core.dvc_cache import run_dvc
from pipeline.core.errors import PipelineError
from pipeline.core.files import atomic_path, write_json
from pipeline.core.hashing import SHORT_ID_DIGITS, file_sha256, known_ids, message_id
from pipeline.core.params import read_params
from pipeline.core.tables import read_csv, read_parquet, write_csv, write_parquet
from pipeline.registry import promotion, versions
from pipeline.registry.parity import ScoringError
from pipeline.registry.versions import RegistryDamagedError
from pipeline.retraining.retrain import REVIEW_FOLDER
from pipeline.retraining.row_removal import read_ids, write_without
from pipeline.serving.http.feedback_store import CLIENT_FOLDER, REVIEWER_FOLDER, locked_feedback
from pipeline.serving.review.reviewed_file import REVIEWED_FILE
from pipeline.sources.catalogue import Params
from pipeline.sources.fetch import INBOX, LOCK_FILE, read_pins
from pipeline.sources.file_formats import INPUT_FORMATS
from pipeline.sources.inbox_copies import InboxCopies, InboxPlaces, collect_files
from pipeline.sources.readers import FileParams, SourceFile
from pipeline.validation.review import INGESTED_FILE
from pipeline.validation.reviewed import read_reviewed

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline forget 358606d9010e31550c4e491ff8f56190 --dry-run"
PREDICTION_LOG = Path("data/predictions")
TABLE_FOLDERS = [Path("data") / name for name in ("ingested", "validated", "review", "vectorized")]
TEXT_COLUMNS = {"text", "token_ids"}  # a table with one of them holds what a message says
COPY_NAME = re.compile("[0-9a-f]{64}")  # of a file in data/collected
NOT_FORGOTTEN = (
    "not forgotten: what these versions have learned, Git's history, DVC's remotes, backups, other "
    "clones, and files outside of this folder"
)


@dataclass(frozen=True)
class Change:
    """What happens to a file that has some of the messages.

    rows: how many it has.
    sha256: of the file when it was searched.
    content: the file without them; None: it is deleted.
    """

    path: Path
    rows: int
    sha256: str
    content: Path | None = None

    def __str__(self) -> str:
        rows = f"{self.rows:,} row{'s' if self.rows > 1 else ''}"
        return f"{self.path}: {rows if self.content else f'{rows}; the file is deleted'}"


# ---- searching


def find_changes(ids: frozenset[str], folder: Path, places: InboxPlaces) -> list[Change]:
    """What must happen to the files that have the messages, in this order.

    Args:
        folder: for the new contents.
        places: the inbox, and where it is collected, so that it is read as it is now.

    Raises: PipelineError if a file cannot be rewritten; nothing has changed then.
    """
    params = read_params(Params, "ingest")
    skipped = list[str]()
    copies = collect_files(places, skipped)
    wanted = ids | {one[:SHORT_ID_DIGITS] for one in ids}  # as earlier versions wrote ids
    changes = [
        *_inbox_changes(copies, params.files, ids, folder, skipped),
        *_log_changes(wanted, folder),
        *_table_changes(wanted),
        *_page_changes(ids),
        *_cache_changes(wanted, params.files),
    ]
    for error in skipped:
        log.warning("warning: not searched: %s", error)
    return changes


def _inbox_changes(
    copies: InboxCopies, params: FileParams, ids: frozenset[str], folder: Path, skipped: list[str]
) -> Iterator[Change]:
    """Args: skipped: receives the error of each file that cannot be read."""
    pinned = {name for pin in read_pins(LOCK_FILE).values() for name in pin.files or ()}
    for number, (name, entry) in enumerate(copies.files.items()):
        read = FileParams() if name in pinned else params
        file = SourceFile(copies.path(name), name, read, str(copies.place / name))
        try:
            before = read_ids(file)
        except PipelineError as error:
            skipped.append(str(error))
            continue
        content = folder / f"inbox-{number}"
        if rows := write_without(file, before, ids, content):
            kept = content if content.exists() else None
            yield Change(copies.place / name, rows, entry.sha256, kept)


def _log_changes(wanted: frozenset[str], folder: Path) -> Iterator[Change]:
    for number, path in enumerate(sorted(PREDICTION_LOG.rglob("*.parquet"))):
        sha256, table = file_sha256(path), read_parquet(path)
        if "text_id" not in table.column_names:
            continue
        is_wanted = _is_in(table["text_id"], wanted)
        if rows := pc.sum(is_wanted).as_py():
            content = folder / f"log-{number}"
            kept = table.filter(pc.invert(is_wanted))
            write_parquet(content, kept.to_batches(), kept.schema)
            yield Change(path, rows, sha256, content)


def _table_changes(wanted: frozenset[str]) -> Iterator[Change]:
    for folder in TABLE_FOLDERS:
        for path in sorted(folder.rglob("*.parquet")):
            if rows := _rows_of_table(path, wanted):
                yield Change(path, rows, file_sha256(path))


def _page_changes(ids: frozenset[str]) -> Iterator[Change]:
    """The private pages, such as `report --private` writes, which name the messages they show."""
    for path in sorted(REVIEW_FOLDER.rglob("*.html")):
        content = path.read_text(encoding="utf-8")
        if rows := sum(one in content for one in ids):
            yield Change(path, rows, file_sha256(path))


def _rows_of_table(path: Path, wanted: frozenset[str]) -> int:
    """Number of rows of the messages; 0 if the file is no table with what they say."""
    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        return 0
    if "message_id" not in names or not TEXT_COLUMNS.intersection(names):
        return 0
    ids = read_parquet(path, ["message_id"])["message_id"]
    return int(pc.sum(_is_in(ids, wanted)).as_py() or 0)


def _is_in(ids: pa.ChunkedArray, wanted: frozenset[str]) -> pa.ChunkedArray:
    return pc.is_in(ids, pa.array(sorted(wanted), pa.string()))


def _cache_changes(wanted: frozenset[str], params: FileParams) -> Iterator[Change]:
    """First the listings of folders, so that none is left that names a file which is deleted."""
    cache = run_dvc("cache", "dir")
    if cache.returncode:  # no DVC here
        return
    files = Path(cache.stdout.strip()) / "files" / "md5"
    listings = {path: json.loads(path.read_bytes()) for path in sorted(files.glob("*/*.dir"))}
    entries = [entry for listing in listings.values() for entry in listing]
    copied = {entry["md5"] for entry in entries if COPY_NAME.fullmatch(entry["relpath"])}
    found = {}
    for path in sorted(set(files.glob("*/*")) - set(listings)):
        md5 = path.parent.name + path.name
        is_copy = md5 in copied
        if rows := _rows_of_copy(path, wanted, params) if is_copy else _rows_of_table(path, wanted):
            found[md5] = Change(path, rows, file_sha256(path))
    for path, listing in listings.items():
        if rows := sum(found[entry["md5"]].rows for entry in listing if entry["md5"] in found):
            yield Change(path, rows, file_sha256(path))
    yield from found.values()


def _rows_of_copy(path: Path, wanted: frozenset[str], params: FileParams) -> int:
    """Number of rows of the messages in a copy of an inbox file, whose name is not known."""
    rows = 0
    for read in (params, FileParams()):
        for suffix in [f".{read.format}"] if read.format else INPUT_FORMATS:
            try:
                ids = read_ids(SourceFile(path, path.name, read, f"{path.name}{suffix}"))
            except PipelineError:  # another format
                continue
            rows = max(rows, sum(one in wanted for one in ids))
    return rows


def other_sources(wanted: frozenset[str]) -> list[str]:
    """The sources outside of data/inbox/ whose rows of the messages were ingested last."""
    if not INGESTED_FILE.exists():
        return []
    table = read_parquet(INGESTED_FILE, ["message_id", "source"])
    sources = table.filter(_is_in(table["message_id"], wanted))["source"].unique().to_pylist()
    paths = [source.removeprefix("files/") for source in sources]
    return [path for path in paths if not (INBOX.inbox / path).exists()]


def versions_that_learned(ids: frozenset[str]) -> list[str]:
    """Each version that learned from one of the messages, and its aliases.

    Raises: PipelineError if the registry does not answer.
    """
    aliases = versions.alias_numbers()
    lines = []
    for number in versions.all_versions():
        names = [alias for alias, its_number in aliases.items() if its_number == number]
        name = f"{number} ({', '.join(names)})" if names else number
        try:
            with versions.downloaded_version(number) as folder:
                seen = promotion.read_seen_rows(folder)["message_id"]
        except (RegistryDamagedError, ScoringError) as error:
            lines.append(f"{name}, perhaps: {error}")
            continue
        if known_ids(pd.Series(sorted(ids)), seen).any():
            lines.append(name)
    return lines


# ---- changing


def ban(ids: frozenset[str]) -> None:
    """Adds the messages to data/reviewed.csv, in place of a release. Raises: PipelineError."""
    missing = sorted(ids - read_reviewed(REVIEWED_FILE, ids).banned)
    if not missing:
        return
    table = read_csv(REVIEWED_FILE)
    rows = [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]
    rows = [row for row in rows if not any(one.startswith(row["message_id"]) for one in missing)]
    rows += [{"message_id": one, "verdict": "ban", "why": "forgotten"} for one in missing]
    write_csv(REVIEWED_FILE, list(table), [[row.get(name, "") for name in table] for row in rows])


def apply_changes(changes: Sequence[Change]) -> None:
    """Rewrites and deletes the files, then updates the manifest and the copies of the inbox.

    Raises: PipelineError if a file has changed since it was searched.
    """
    for change in changes:
        folder = change.path.parent
        is_live = folder in (CLIENT_FOLDER, REVIEWER_FOLDER)  # a server may add rows
        with locked_feedback(folder) if is_live else nullcontext():
            _apply(change)
    collect_files(INBOX, [])


def _apply(change: Change) -> None:
    if file_sha256(change.path, "run it again") != change.sha256:
        raise PipelineError(f"{change.path}: changed meanwhile; run it again")
    if change.content is None:
        _update_pins(change)
        change.path.unlink()
        return
    with atomic_path(change.path) as temporary:
        shutil.copyfile(change.content, temporary)
        shutil.copymode(change.path, temporary)
        _update_pins(change)


def _update_pins(change: Change) -> None:
    """Pins a saved file as it will be; before it changes, so that a repetition finds it."""
    pins = read_pins(LOCK_FILE)
    path = change.path.as_posix().removeprefix(f"{INBOX.inbox.as_posix()}/")
    sha256 = change.content and file_sha256(change.content)
    for name, pin in pins.items():
        if pin.files and path in pin.files:
            files = {**pin.files, path: sha256}
            kept = {one: digest for one, digest in files.items() if digest}
            pins[name] = replace(pin, files=kept)
            write_json(LOCK_FILE, {source: pin.entry() for source, pin in pins.items()})
            log.warning("warning: %s: is saved from %s: remove it there, too", change.path, name)


# ---- the command


def forget(ids: frozenset[str], dry_run: bool) -> list[str]:
    """Forgets the messages, and returns what was done, a line each. Raises: PipelineError."""
    with stage_lock(), tempfile.TemporaryDirectory() as folder:
        learned = versions_that_learned(ids)
        changes = find_changes(ids, Path(folder), _places_in(folder) if dry_run else INBOX)
        banned = read_reviewed(REVIEWED_FILE, ids).banned
        if not changes and not learned and not ids <= banned:
            raise PipelineError("forget: no file and no version has such a message; check the id")
        others = other_sources(ids)
        if not dry_run:
            ban(ids)
            apply_changes(changes)
    lines = [*map(str, changes), f"{REVIEWED_FILE}: {len(ids):,} banned"]
    if dry_run:
        lines = [f"would change: {line}" for line in lines]
    if others:
        lines.append(f"stays in: {', '.join(others)}; the ban keeps it from being learned")
    lines.append(f"versions that learned from it: {', '.join(learned) or 'none'}")
    return [*lines, NOT_FORGOTTEN]


def _places_in(folder: str) -> InboxPlaces:
    """The inbox, which is collected in another folder than the project's."""
    new = Path(folder)
    return InboxPlaces(INBOX.inbox, new / "lock.json", new / "collected", new / "memory.json")


def main(argv: list[str] | None = None) -> None:
    arguments = _parse_forget(argv)
    texts = [message_id(text) for text in arguments.text]
    print("\n".join(forget(frozenset([*arguments.ids, *texts]), arguments.dry_run)))
    if not arguments.dry_run:
        log.info(
            "forget: next: `dvc repro` trains without it; commit %s and data/inbox.lock.json",
            REVIEWED_FILE,
        )


def _parse_forget(argv: list[str] | None) -> argparse.Namespace:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("ids", nargs="*", metavar="MESSAGE_ID", help="as `review` prints it")
    parser.add_argument(
        "--text", action="append", default=[], help="the message itself; may be repeated"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would change")
    arguments = parser.parse_args(argv)
    for one in arguments.ids:
        if not re.fullmatch("[0-9a-f]{32}", one):
            problem = "is not a message_id; give its 32 hexadecimal digits, or --text"
            raise PipelineError(f"forget: {one!r:.40} {problem}")
    if not arguments.ids and not arguments.text:
        raise PipelineError("forget: no message; give its MESSAGE_ID, or --text")
    return arguments
