"""The sources that ingest can read: files in data/inbox/ and what data/sources.lock.json pins."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pydantic

from pipeline.core.errors import PipelineError
from pipeline.core.params import ParamsSection
from pipeline.core.schemas import FEEDBACK_SOURCE
from pipeline.sources import archives, fetch
from pipeline.sources.file_formats import FORMATS
from pipeline.sources.inbox import check_files
from pipeline.sources.kinds import SOURCES_FILE, parse_declaration
from pipeline.sources.readers import FileParams, InboxParams, SourceFile, read_file

log = logging.getLogger(__name__)

DAY = re.compile(  # 2026-11-20, 2026/11/20 or 20261120
    r"(?<!\d)((?:19|20)\d\d)([-/]?)(\d\d)\2(\d\d)(?!\d)"
)


class Params(ParamsSection):
    """The section `ingest` of params.yaml."""

    sources: list[str] = pydantic.Field(
        description="files, feedback, or names in data/sources.yaml, read in this order"
    )
    on_broken_file: Literal["stop", "quarantine"] = pydantic.Field(
        description="whether an unreadable file of data/inbox/ stops the run or is left out"
    )
    files: InboxParams = pydantic.Field(description="how to read the files of data/inbox/")

    @pydantic.field_validator("sources")
    @classmethod
    def _sources_are_named(cls, sources: list[str]) -> list[str]:
        if not sources:
            raise ValueError(f"empty; choose from {', '.join(SOURCES)} or {SOURCES_FILE}")
        return sources


@dataclass(frozen=True)
class Places:
    """Where the sources are on this machine: sources.lock.json, data/inbox/ and .downloads/."""

    lock: Path
    inbox: Path
    downloads: Path


OpenFile = AbstractContextManager[SourceFile]  # a file that can be read inside the block


# ---- files in the inbox


def inbox_files(params: Params, places: Places) -> Iterator[OpenFile]:
    """The user's own files in data/inbox/, by name. Raises: PipelineError if there are none.

    A row without received_at gets the day in the path of its file.
    """
    inbox = places.inbox
    try:
        paths = [path for path in inbox.glob(params.files.glob) if _is_data(path, inbox)]
    except (ValueError, NotImplementedError) as error:
        raise PipelineError(
            f"params.yaml: ingest.files.glob: {error}; use a pattern relative to {inbox}"
        ) from None
    other_folders = {FEEDBACK_SOURCE, *params.sources}
    paths = [path for path in paths if path.relative_to(inbox).parts[0] not in other_folders]
    if not paths:
        raise PipelineError(
            f"{inbox}: no file matches ingest.files.glob {params.files.glob!r}; put a "
            f"{', '.join(FORMATS)} file there, or remove 'files' from ingest.sources"
        )
    for path in sorted(paths):
        name = path.relative_to(inbox).as_posix()
        source = f"files/{name}"
        yield nullcontext(
            SourceFile(path, source, params.files, str(path), received_at=day_in_path(name))
        )


def feedback_files(params: Params, places: Places) -> Iterator[OpenFile]:
    """The files in data/inbox/feedback/ by file name, so that the latest day is last."""
    folder = places.inbox / FEEDBACK_SOURCE
    paths = [path for path in folder.rglob("*") if _is_data(path, folder)]
    for path in sorted(paths, key=lambda path: (path.name, path)):
        source = f"{FEEDBACK_SOURCE}/{path.relative_to(folder).as_posix()}"
        yield nullcontext(SourceFile(path, source, params.files, str(path)))


def _is_data(path: Path, folder: Path) -> bool:
    """Whether a path is a visible file, not of DVC; a broken link is one, and fails when read."""
    is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    is_file = path.is_file() or not path.exists()
    return is_file and not is_hidden and path.suffix != ".dvc"


def day_in_path(path: str) -> datetime | None:
    """The last valid day in a path below the inbox, at midnight UTC; None without one."""
    for year, _, month, day in reversed(DAY.findall(path)):
        with suppress(ValueError):
            return datetime(int(year), int(month), int(day), tzinfo=UTC)
    return None


# ---- pinned sources


def pinned_files(name: str, places: Places) -> Iterator[OpenFile]:
    """The files that data/sources.lock.json pins for a source. Raises: PipelineError."""
    pins = fetch.read_pins(places.lock)
    if name not in pins:
        raise PipelineError(
            f"params.yaml: ingest.sources: unknown {name!r}; choose from "
            f"{', '.join([*SOURCES, *pins])}, "
            f"or declare it in {SOURCES_FILE} and run `python -m pipeline fetch`"
        )
    files = pins[name].files
    if files is None:
        yield _downloaded_file(name, pins[name], places)
        return
    for path in check_files(places.inbox, files):
        file = places.inbox / path
        yield nullcontext(SourceFile(file, path, FileParams(), str(file)))


@contextmanager
def _downloaded_file(name: str, pin: fetch.Pin, places: Places) -> Iterator[SourceFile]:
    _, declared = parse_declaration(name, pin.declared, str(places.lock))
    path = fetch.pinned_download(pin, name, places.downloads)
    member = archives.open_member(path, declared.member, f"{places.lock}: {name}.member")
    with member as file:
        yield SourceFile(
            file,
            name,
            declared.read,
            place=f"{path}: {declared.member or name}",
            settings=f"{places.lock}: {name}.read",
        )


# ---- reading


SOURCES: dict[str, Callable[[Params, Places], Iterator[OpenFile]]] = {  # any other name is pinned
    "files": inbox_files,
    "feedback": feedback_files,
}


def read_sources(
    params: Params, places: Places, skipped: dict[str, str]
) -> Iterator[pa.RecordBatch]:
    """The rows of all sources of the params, as batches of MESSAGES.

    Args:
        skipped: receives the error of each file that is left out, by its `source`.

    Raises: PipelineError.
    """
    for name in params.sources:
        is_pinned = name not in SOURCES
        files = pinned_files(name, places) if is_pinned else SOURCES[name](params, places)
        for open_file in files:
            with open_file as file:
                may_skip = params.on_broken_file == "quarantine" and not is_pinned
                error = _read_error(file) if may_skip else None
                if error is None:
                    yield from read_file(file)
                else:
                    log.warning("warning: left out: %s", error)
                    skipped[file.source] = error


def _read_error(file: SourceFile) -> str | None:
    """The error of a file that cannot be read to its end, so that none of its rows is used."""
    try:
        for _ in read_file(file):
            pass
    except PipelineError as error:
        return str(error)
    return None
