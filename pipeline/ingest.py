"""Reads every source into one table of messages, and judges nothing."""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from pipeline.core.cli import parse_paths, project_root, run_stage
from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params
from pipeline.core.reports import Figure, write_report
from pipeline.core.schemas import FEEDBACK_SOURCE, MESSAGES
from pipeline.core.tables import write_parquet
from pipeline.sources import archives, fetch, readers
from pipeline.sources.inbox import checked
from pipeline.sources.readers import File, Files, Reading

log = logging.getLogger(__name__)

POLICIES = ("stop", "quarantine")
DAY = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-/]?)(\d\d)\2(\d\d)(?!\d)"
)  # 2026-11-20, 2026/11/20, 20261120


@dataclass(frozen=True)
class Params:
    sources: list[str]  # names of SOURCES or of data/sources.lock.json, read in this order
    on_broken_file: str  # of POLICIES: what a file of the inbox that cannot be read does
    files: Files

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError(
                f"sources is empty; choose from {', '.join(SOURCES)} or data/sources.yaml"
            )
        if self.on_broken_file not in POLICIES:
            choices = ", ".join(POLICIES)
            raise ValueError(
                f"on_broken_file: unknown {self.on_broken_file!r}; choose from {choices}"
            )


@dataclass(frozen=True)
class Places:
    """Where sources lie on this machine."""

    lock: Path  # data/sources.lock.json
    inbox: Path  # data/inbox/
    downloads: Path  # .downloads/


Found = AbstractContextManager[File]  # a file that is there while it is read


# ---- where the files are


def files(params: Params, places: Places) -> Iterator[Found]:
    """The user's own CSV, TSV, JSONL and Parquet files in `data/inbox/`, in the order of their names.

    A row without received_at has the day that its file's path holds.
    """
    try:
        found = sorted(
            path for path in places.inbox.glob(params.files.glob) if _is_data(path, places.inbox)
        )
    except (ValueError, NotImplementedError) as error:
        raise PipelineError(
            f"params.yaml: ingest.files.glob: {error}; it is a pattern in {places.inbox}"
        ) from None
    others = {FEEDBACK_SOURCE, *params.sources}  # have folders of their own
    found = [path for path in found if path.relative_to(places.inbox).parts[0] not in others]
    if not found:
        raise PipelineError(
            f"{places.inbox}: no file matches ingest.files.glob {params.files.glob!r}; "
            f"put a {', '.join(readers.FORMATS)} file there, or take 'files' out of ingest.sources"
        )
    for path in found:
        name = path.relative_to(places.inbox).as_posix()
        yield nullcontext(
            File(path, f"files/{name}", params.files, str(path), received_at=day_of(name))
        )


def feedback(params: Params, places: Places) -> Iterator[Found]:
    """What people said of messages, in `data/inbox/feedback/`: files by name, the latest day last."""
    folder = places.inbox / FEEDBACK_SOURCE
    found = (path for path in folder.rglob("*") if _is_data(path, folder))
    for path in sorted(found, key=lambda path: (path.name, path)):
        name = path.relative_to(folder).as_posix()
        yield nullcontext(File(path, f"{FEEDBACK_SOURCE}/{name}", params.files, str(path)))


def day_of(path: str) -> datetime | None:
    """The last day that a path below the inbox holds, at midnight UTC; a 31st of February is none."""
    for year, _, month, day in reversed(DAY.findall(path)):
        with suppress(ValueError):
            return datetime(int(year), int(month), int(day), tzinfo=UTC)
    return None


SOURCES: dict[str, Callable[[Params, Places], Iterator[Found]]] = {  # all others are pinned
    "files": files,
    "feedback": feedback,
}


def pinned(name: str, places: Places) -> Iterator[Found]:
    """What `python -m pipeline fetch` brought, as the lock says. Raises: PipelineError."""
    pins = fetch.read_pins(places.lock)
    if name not in pins:
        choices = ", ".join([*SOURCES, *pins])
        raise PipelineError(
            f"params.yaml: ingest.sources: unknown {name!r}; choose from {choices}, "
            f"or declare it in {fetch.SOURCES} and run `python -m pipeline fetch`"
        )
    if pins[name].files is None:
        yield _downloaded(name, pins[name], places)
        return
    for path in checked(places.inbox, pins[name].files or {}):
        yield nullcontext(File(places.inbox / path, path, Reading(), str(places.inbox / path)))


@contextmanager
def _downloaded(name: str, pin: fetch.Pin, places: Places) -> Iterator[File]:
    _, declared = fetch.declaration(name, pin.declared, str(places.lock))
    path = fetch.fetched(pin, name, places.downloads)
    settings = f"{places.lock}: {name}.read"
    with archives.member(path, declared.member, f"{places.lock}: {name}.member") as file:
        yield File(file, name, declared.read, f"{path}: {declared.member or name}", settings)


def _is_data(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    there = (
        path.is_file() or not path.exists()
    )  # a link that leads nowhere is refused when it is read
    return there and not hidden and path.suffix != ".dvc"


# ---- reading them


def messages(params: Params, places: Places, broken: dict[str, str]) -> Iterator[pa.RecordBatch]:
    """Every source's rows, as batches of MESSAGES; `broken` takes the files left out, and why.

    Raises: PipelineError.
    """
    for name in params.sources:
        found = SOURCES[name](params, places) if name in SOURCES else pinned(name, places)
        for there in found:
            with there as file:
                tolerant = name in SOURCES and params.on_broken_file == "quarantine"
                if tolerant and (reason := _why_broken(file)):
                    log.warning("warning: left out: %s", reason)
                    broken[file.source] = reason
                else:
                    yield from readers.read(file)


def _why_broken(file: File) -> str | None:
    """What is wrong with a file, read to its end, so that none of its rows come in before it is known."""
    try:
        for _ in readers.read(file):
            pass
    except PipelineError as error:
        return str(error)
    return None


def main(argv: list[str] | None = None) -> None:
    paths = parse_paths(argv, __doc__, "sources-lock", "inbox", "messages", "report")
    params = read_params(Params, "ingest")
    places = Places(paths.sources_lock, paths.inbox, project_root() / fetch.DOWNLOADS)
    labels, sources, broken = Counter[str](ham=0, spam=0, other=0), Counter[str](), dict[str, str]()

    def counted() -> Iterator[pa.RecordBatch]:
        for batch in messages(params, places, broken):
            labels.update(x if x in labels else "other" for x in batch.column("label").to_pylist())
            sources.update(batch.column("source").to_pylist())
            yield batch
        if broken and not sources:
            raise PipelineError(f"{paths.inbox}: no file can be read: {'; '.join(broken.values())}")

    rows = write_parquet(paths.messages, counted(), MESSAGES)
    figures = {f"label.{label}": Figure(n) for label, n in labels.items()}
    figures |= {f"source.{source}": Figure(n) for source, n in sources.items()}
    figures |= {f"broken.{source}": Figure(1) for source in broken}
    verdict = f"{rows:,} rows from {', '.join(params.sources)}, as they came"
    if broken:
        verdict += f"; left out, as they cannot be read: {', '.join(broken)}"
    write_report(paths.report, rows, figures, verdict)
    log.info("ingest: %s", verdict)


if __name__ == "__main__":
    run_stage(main)
