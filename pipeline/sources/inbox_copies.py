"""Copies the files of data/inbox/ to a folder where only the pipeline writes, and lists them.

Strangers write to data/inbox/, so Git and DVC ignore it, and ingest reads the copies. A copy is
named by the sha256 of its bytes and never changes: what arrives, grows or is replaced while the
pipeline runs is noticed by the next run. The manifest is in Git and the copies are in DVC's cache,
so that another clone gets the same files.
"""

import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pydantic
from fsspec.utils import glob_translate

from pipeline.core.errors import PipelineError
from pipeline.core.files import atomic_path, read_json, write_json
from pipeline.core.hashing import file_sha256
from pipeline.core.params import ParamsSection, parse_params

log = logging.getLogger(__name__)

COPY_ATTEMPTS = 3  # to copy a file that changes meanwhile
SETTLED_NS = 2 * 10**9  # a file that is younger may change again at the same time of change
REGULAR_ONLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # Windows has neither
MANIFEST_REMEDY = "restore it with `git checkout`"
COPIES_REMEDY = "run `dvc pull`"


@dataclass(frozen=True)
class InboxPlaces:
    """Where the inbox is, its manifest, its copies, and what this clone remembers of its files."""

    inbox: Path = Path("data/inbox")
    manifest: Path = Path("data/inbox.lock.json")
    copies: Path = Path("data/collected")
    memory: Path = Path(".checkpoints/inbox.json")


class InboxFile(ParamsSection):
    """A file of the manifest."""

    size: int = pydantic.Field(ge=0, description="bytes")
    sha256: str = pydantic.Field(pattern="^[0-9a-f]{64}$", description="of its bytes")


class Manifest(ParamsSection):
    """The content of data/inbox.lock.json."""

    files: dict[str, InboxFile] = pydantic.Field(description="by path below the inbox")


class SeenFile(InboxFile):
    """A file as this clone last saw it."""

    changed: int = pydantic.Field(description="its time of change, in ns; 0 if it is not settled")


class Memory(ParamsSection):
    """The files that this clone saw in its inbox at the last run."""

    files: dict[str, SeenFile] = pydantic.Field(default={}, description="by path below the inbox")


# ---- reading


@dataclass(frozen=True)
class InboxCopies:
    """The files of data/inbox/, as they were copied.

    Attributes:
        place: the inbox, for errors.
        files: the manifest's files, by path below the inbox.
        folder: the copies.
    """

    place: Path
    files: Mapping[str, InboxFile]
    folder: Path

    def matching(self, pattern: str) -> list[str]:
        """The sorted names that match a glob. Raises: ValueError for an invalid glob."""
        names = filter(re.compile(glob_translate(pattern)).fullmatch, self.files)
        return sorted(names, key=PurePosixPath)

    def path(self, name: str) -> Path:
        """The copy of a file. Raises: PipelineError if it is missing or has other bytes."""
        sha256 = self.files[name].sha256
        path = self.folder / sha256
        if file_sha256(path, f"{COPIES_REMEDY}: it is {self.place / name}") != sha256:
            raise PipelineError(f"{path}: damaged; delete it, and {COPIES_REMEDY}")
        return path


def read_copies(places: InboxPlaces) -> InboxCopies:
    """The files of the manifest; none if there is no manifest. Raises: PipelineError."""
    manifest = Manifest(files={})
    if places.manifest.exists():
        content = read_json(places.manifest, MANIFEST_REMEDY)
        manifest = parse_params(Manifest, content, f"{places.manifest}: manifest")
    return InboxCopies(places.inbox, manifest.files, places.copies)


# ---- copying


def collect_files(places: InboxPlaces, skipped: list[str] | None = None) -> InboxCopies:
    """Copies new and changed files, leaves out those that were deleted, and writes the manifest.

    Hidden files and those of DVC are not data.

    Args:
        skipped: receives the error of each file that cannot be copied; without it, they raise.

    Raises: PipelineError, and then the manifest and its copies stay as they were.
    """
    restore_files(places)
    memory = _read_memory(places.memory)
    now = time.time_ns()
    problems = list[str]()
    seen = dict[str, SeenFile]()
    for path in _visible_files(places.inbox):
        name = path.relative_to(places.inbox).as_posix()
        try:
            seen[name] = _collect(path, places.copies, memory.files.get(name))
        except PipelineError as error:
            problems.append(str(error))
        except FileNotFoundError:  # moved meanwhile: the next run sees its new name
            continue
    if problems and skipped is None:
        raise PipelineError(*problems)
    if skipped is not None:
        skipped += problems
    entries = {name: InboxFile(size=file.size, sha256=file.sha256) for name, file in seen.items()}
    write_json(places.manifest, Manifest(files=entries).model_dump())
    settled = {
        name: file if file.changed < now - SETTLED_NS else file.model_copy(update={"changed": 0})
        for name, file in seen.items()
    }
    write_json(places.memory, Memory(files=settled).model_dump())
    copies = InboxCopies(places.inbox, entries, places.copies)
    _remove_others(copies)
    return copies


def restore_files(places: InboxPlaces) -> None:
    """Puts the manifest's files that this clone never saw into its inbox.

    A file that it saw is missing because somebody deleted it. Raises: PipelineError.
    """
    places.inbox.mkdir(parents=True, exist_ok=True)
    copies = read_copies(places)
    memory = _read_memory(places.memory)
    unseen = [name for name in copies.files if name not in memory.files]
    missing = [name for name in unseen if not os.path.lexists(places.inbox / name)]
    for name in missing:
        path = places.inbox / name
        if not path.resolve().is_relative_to(places.inbox.resolve()):
            raise PipelineError(f"{places.manifest}: {name!r} leads out of the folder; remove it")
        with atomic_path(path) as temporary:
            shutil.copyfile(copies.path(name), temporary)
    if missing:
        log.info("restored to %s: %s files of %s", places.inbox, len(missing), places.manifest)


def _read_memory(path: Path) -> Memory:
    """What this clone remembers; nothing if that was deleted or damaged."""
    with suppress(PipelineError):
        return parse_params(Memory, read_json(path), str(path))
    return Memory()


def _visible_files(folder: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError):  # moved away meanwhile
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name.startswith(".") or entry.name.endswith(".dvc"):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _visible_files(Path(entry.path))
            else:
                yield Path(entry.path)


def _collect(path: Path, copies: Path, seen: SeenFile | None) -> SeenFile:
    """The file as it is, copied if it is new or changed. Raises: PipelineError."""
    if not _is_utf8(str(path)):  # the manifest could not be read back
        raise PipelineError(f"{path}: its name is not UTF-8; rename it")
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        kind = "a link" if stat.S_ISLNK(status.st_mode) else "not a regular file"
        raise PipelineError(f"{path}: {kind}; put a file there, or remove it")
    is_unchanged = seen and (seen.size, seen.changed) == (status.st_size, status.st_mtime_ns)
    if seen and is_unchanged and (copies / seen.sha256).exists():
        return seen
    with atomic_path(copies / "new") as temporary:
        attempts = (_copy_unchanged(path, temporary) for _ in range(COPY_ATTEMPTS))
        changed = next((time for time in attempts if time is not None), None)
        if changed is None:
            raise PipelineError(f"{path}: it is still being written; run again when it is complete")
        size = temporary.stat().st_size
        sha256 = file_sha256(temporary)
    (copies / "new").replace(copies / sha256)
    return SeenFile(size=size, sha256=sha256, changed=changed)


def _is_utf8(name: str) -> bool:
    """Whether a name has no surrogates, which stand for undecodable bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _copy_unchanged(path: Path, to: Path) -> int | None:
    """Copies a file; returns its time of change in ns, or None if it changed meanwhile."""
    with open(path, "rb", opener=_open_regular) as file, to.open("wb") as copy:
        before = os.fstat(file.fileno())
        shutil.copyfileobj(file, copy)
        after = os.fstat(file.fileno())
        is_same = before.st_mtime_ns == after.st_mtime_ns and copy.tell() == after.st_size
        return after.st_mtime_ns if is_same else None


def _open_regular(path: str, flags: int) -> int:
    return os.open(path, flags | REGULAR_ONLY)


def _remove_others(copies: InboxCopies) -> None:
    kept = {file.sha256 for file in copies.files.values()}
    copies.folder.mkdir(parents=True, exist_ok=True)
    for path in copies.folder.iterdir():
        if path.name not in kept:
            path.unlink()
