"""The sources that ingest can read: files in data/inbox/ and what data/sources.lock.json pins."""

import logging
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa
import pydantic

from pipeline.core.dates import day_in_path
from pipeline.core.errors import PipelineError, escape
from pipeline.core.params import ParamsSection
from pipeline.core.schemas import FEEDBACK_SOURCE
from pipeline.sources import archives, fetch, written
from pipeline.sources.encodings import other_encoding
from pipeline.sources.file_formats import INPUT_FORMATS
from pipeline.sources.inbox import compare_files
from pipeline.sources.inbox_copies import InboxCopies
from pipeline.sources.kinds import (
    CALIBRATION_FOLDER,
    FILES_SOURCE,
    SOURCES_FILE,
    WRITTEN_SOURCE,
    parse_declaration,
)
from pipeline.sources.readers import FileParams, InboxParams, SourceFile, read_file

log = logging.getLogger(__name__)

NAME = re.compile(r"[a-z0-9_-]+")


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
    """Where the sources are.

    lock: data/sources.lock.json.
    inbox: the copies of data/inbox/.
    written: the folder of the messages written for this project.
    downloads: the folder of downloaded files.
    """

    lock: Path
    inbox: InboxCopies
    written: Path
    downloads: Path


OpenFile = AbstractContextManager[SourceFile]  # a file that can be read inside the block


# ---- files in the inbox


def inbox_files(params: Params, places: Places) -> Iterator[OpenFile]:
    """The user's own files in data/inbox/, by name. Raises: PipelineError if there are none.

    A row without received_at gets the day in the path of its file.
    """
    inbox = places.inbox
    try:
        names = inbox.matching(params.files.glob)
    except ValueError as error:
        raise PipelineError(
            f"params.yaml: ingest.files.glob: {error}; use a pattern relative to {inbox.place}"
        ) from None
    other_folders = {FEEDBACK_SOURCE, CALIBRATION_FOLDER, *params.sources}
    names = [name for name in names if PurePosixPath(name).parts[0] not in other_folders]
    if not names:
        raise PipelineError(
            f"{inbox.place}: no file matches ingest.files.glob {params.files.glob!r}; put a "
            f"{', '.join(INPUT_FORMATS)} file there, or remove 'files' from ingest.sources"
        )
    for name in names:
        yield _collected_file(inbox, name, f"files/{name}", params.files, day_in_path(name))


def feedback_files(params: Params, places: Places) -> Iterator[OpenFile]:
    """The files in data/inbox/feedback/, by file name."""
    names = places.inbox.matching(f"{FEEDBACK_SOURCE}/**")
    for name in sorted(names, key=lambda name: (PurePosixPath(name).name, name)):
        yield _collected_file(places.inbox, name, name, params.files)


def calibration_files(params: Params, places: Places) -> Iterator[OpenFile]:
    """The files in data/inbox/calibration/, each a source of its name. Raises: PipelineError."""
    inbox = places.inbox
    names = inbox.matching(f"{CALIBRATION_FOLDER}/*")
    stems = [PurePosixPath(name).stem for name in names]
    for name, stem in zip(names, stems, strict=True):
        check_calibration_name(stem, params, str(inbox.place / name))
        if stems.count(stem) > 1:
            raise PipelineError(f"{inbox.place / name}: two files are named {stem}; remove one")
        yield _collected_file(inbox, name, stem, params.files)


def check_calibration_name(name: str, params: Params, place: str) -> None:
    """Raises: PipelineError if a name is no good for a source of its own."""
    others = {*SOURCES, *(source.split("/")[0] for source in params.sources)}
    if name in others or not NAME.fullmatch(name):
        raise PipelineError(
            f"{place}: {name!r} is not a name of its own; use small letters, digits, - and _, "
            "and no name of ingest.sources"
        )


def _collected_file(
    inbox: InboxCopies,
    name: str,
    source: str,
    params: FileParams,
    received_at: datetime | None = None,
) -> OpenFile:
    """The copy of a file in data/inbox/, which errors call by its place there."""
    file = SourceFile(
        path=inbox.path(name),
        source=escape(source),
        params=params.labelled(name),
        place=str(inbox.place / name),
        received_at=received_at,
    )
    return nullcontext(file)


# ---- messages written for this project


def written_messages(params: Params, places: Places) -> Iterator[OpenFile]:
    """The files in data/written/, by language. Raises: PipelineError."""
    for path in written.language_files(places.written):
        yield _filled_file(path)


@contextmanager
def _filled_file(path: Path) -> Iterator[SourceFile]:
    with tempfile.TemporaryDirectory() as folder:
        filled = Path(folder) / "filled.jsonl"
        written.write_filled(path, filled)
        params = FileParams(format="jsonl")
        yield SourceFile(filled, f"{WRITTEN_SOURCE}/{path.stem}", params, place=str(path))


# ---- pinned sources


def pinned_files(name: str, places: Places) -> Iterator[OpenFile]:
    """The files that data/sources.lock.json pins for a source, or for all `NAME/...`.

    Raises: PipelineError.
    """
    pins = fetch.read_pins(places.lock)
    names = [pinned for pinned in pins if fetch.is_part_of(pinned, name)]
    if not names:
        raise PipelineError(
            f"params.yaml: ingest.sources: unknown {name!r}; choose from "
            f"{', '.join(dict.fromkeys([*SOURCES, *map(fetch.name_of, pins)]))}, "
            f"or declare it in {SOURCES_FILE} and run `python -m pipeline fetch`"
        )
    for pinned in names:
        yield from _files_of_pin(pinned, pins[pinned], places)


def _files_of_pin(name: str, pin: fetch.Pin, places: Places) -> Iterator[OpenFile]:
    if pin.files is None:
        yield from _downloaded_files(name, pin, places)
        return
    inbox = places.inbox
    compare_files(inbox.place, pin.files, {path: file.sha256 for path, file in inbox.files.items()})
    for path in pin.files:
        yield _collected_file(inbox, path, path, FileParams())


def _downloaded_files(name: str, pin: fetch.Pin, places: Places) -> Iterator[OpenFile]:
    """The one file of a download, or the folders of those that `members` names."""
    _, declared = parse_declaration(name, pin.declared, str(places.lock))
    path = fetch.pinned_download(pin, name, places.downloads)
    place, settings = f"{places.lock}: {name}", f"{places.lock}: {name}.read"
    if declared.members is None:
        with archives.open_member(path, declared.member, f"{place}.member") as member:
            where = f"{path}: {declared.member or name}"
            yield nullcontext(SourceFile(member, name, declared.read, where, settings))
        return
    with archives.open_folders(path, declared.members, f"{place}.members") as folders:
        for inner, folder in folders.items():
            kind = escape(PurePosixPath(inner).name)
            params, where = declared.read.labelled(f"{inner}/*"), f"{path}: {escape(inner)}"
            file = SourceFile(folder, f"{name}/{kind}", params, where, settings, kind=kind)
            yield nullcontext(file)


# ---- reading


Source = Callable[[Params, Places], Iterator[OpenFile]]

INBOX_SOURCES: dict[str, Source] = {
    FILES_SOURCE: inbox_files,
    FEEDBACK_SOURCE: feedback_files,
}
SOURCES: dict[str, Source] = {  # any other name is pinned
    **INBOX_SOURCES,
    WRITTEN_SOURCE: written_messages,
}


def read_sources(
    params: Params, places: Places, skipped: dict[str, str]
) -> Iterator[pa.RecordBatch]:
    """The rows of all sources of the params, as batches of MESSAGES.

    A pinned file of feedback that `feedback` reads, too, is read once.

    Args:
        skipped: receives the error of each file that is left out, by its `source`.

    Raises: PipelineError.
    """
    _warn_of_unread_files(params, places)
    seen = set[tuple[str, str]]()
    for name in params.sources:
        is_pinned = name not in SOURCES
        files = pinned_files(name, places) if is_pinned else SOURCES[name](params, places)
        for open_file in files:
            with open_file as file:
                if (file.source, file.place) in seen:
                    continue
                seen.add((file.source, file.place))
                may_skip = params.on_broken_file == "quarantine" and not is_pinned
                error = _read_error(file) if may_skip else None
                if error is None:
                    yield from _read_decoded(file)
                else:
                    log.warning("warning: left out: %s", error)
                    skipped[file.source] = error


def read_calibration(params: Params, places: Places) -> Iterator[pa.RecordBatch]:
    """The rows in data/inbox/calibration/, as batches of MESSAGES. Raises: PipelineError."""
    for open_file in calibration_files(params, places):
        with open_file as file:
            yield from read_labelled(file)


def read_labelled(file: SourceFile) -> Iterator[pa.RecordBatch]:
    """The rows of a file, as batches of MESSAGES.

    Raises: PipelineError, also if a row has no text or no label, or another label than its text had
        before, or if there is no ham or no spam.
    """
    labels = dict[str, str]()  # by the text's id
    for batch in _read_decoded(file):
        for row in batch.select(["row", "text", "label", "message_id"]).to_pylist():
            if problem := _label_problem(row, labels):
                remedy = "correct it, remove it, or see ingest.files in params.yaml"
                raise PipelineError(f"{file.place}: row {row['row']} {problem}; {remedy}")
            labels[row["message_id"]] = row["label"]
        yield batch
    for label in {"ham", "spam"} - set(labels.values()):
        raise PipelineError(f"{file.place}: has no {label}; bring more labelled messages")


def _label_problem(row: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """What is wrong with a row; "" if nothing is. Args: labels: of the rows before, by id."""
    if row["label"] not in ("ham", "spam"):
        return "is neither ham nor spam"
    if not row["text"]:
        return "has no text"
    before = labels.get(row["message_id"], row["label"])
    return "" if before == row["label"] else f"is {row['label']}, and the same text was {before}"


def _warn_of_unread_files(params: Params, places: Places) -> None:
    """Warns of files that are ready for one of INBOX_SOURCES, if the params do not name it."""
    for name in [name for name in INBOX_SOURCES if name not in params.sources]:
        unread = []
        with suppress(PipelineError):  # there are none
            for open_file in INBOX_SOURCES[name](params, places):
                with open_file as file:
                    unread.append(PurePosixPath(file.source))
        unread = [path for path in unread if path.parts[1] not in params.sources]
        if unread:
            log.warning(
                "warning: %s: not read: %s (%s files); set ingest.sources: [%s]",
                places.inbox.place,
                unread[0],
                f"{len(unread):,}",
                ", ".join([*params.sources, name]),
            )


def _read_decoded(file: SourceFile) -> Iterator[pa.RecordBatch]:
    """The rows of a file. If some do not decode, a warning names the encoding in which all do."""
    is_undecoded = False
    for batch in read_file(file):
        is_undecoded = is_undecoded or "\ufffd" in "".join(filter(None, batch["text"].to_pylist()))
        yield batch
    if (
        is_undecoded
        and file.form.encoded
        and (encoding := other_encoding(file.path, file.params.encoding))
    ):
        log.warning(
            "warning: %s: not %s; set %s.encoding to %s, in which all of it can be read",
            *(file.place, file.params.encoding, file.settings, encoding),
        )


def _read_error(file: SourceFile) -> str | None:
    """The error of a file that cannot be read to its end, so that none of its rows is used."""
    try:
        for _ in read_file(file):
            pass
    except PipelineError as error:
        return str(error)
    return None
