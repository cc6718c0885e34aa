"""Pins each source in `data/sources.lock.json` and brings it: `python -m pipeline fetch [--update]`.

`data/sources.yaml` declares where sources lie; without --update, what is pinned already stays as it is.
"""

import argparse
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.core.cli import project_root, stage_lock
from pipeline.core.errors import PipelineError
from pipeline.core.files import atomic_path, read_json, write_json
from pipeline.core.hashing import file_sha256
from pipeline.core.params import choose, parse_params, read_yaml
from pipeline.sources import download, inbox
from pipeline.sources.readers import Reading

log = logging.getLogger(__name__)

SOURCES, LOCK, INBOX = Path("data/sources.yaml"), Path("data/sources.lock.json"), Path("data/inbox")
DOWNLOADS = ".downloads"  # beside the project's root


@dataclass(frozen=True)
class Package:
    """A Python package that is a container for data only."""

    package: str
    version: str
    member: str  # the data's name inside the package
    read: Reading


@dataclass(frozen=True)
class Url:
    """A file, plain or in an archive, at any address that fsspec knows."""

    url: str  # with $NAME for what stands in the environment
    read: Reading = field(default_factory=Reading)
    member: str | None = None  # the data's name inside the archive, where there are several


@dataclass(frozen=True)
class Pin:
    """One entry of `data/sources.lock.json`: what was brought, for what declaration."""

    declared: dict[str, Any]  # as data/sources.yaml had it
    sha256: str | None = None  # of the one file in .downloads/
    size: int | None = None  # bytes of it
    version: str | None = None  # an ETag or the like, by which --update knows old from new
    files: dict[str, str] | None = (
        None  # of a source that lands in data/inbox/: sha256 by path below it
    )

    def kind(self) -> str:
        return str(self.declared.get("kind"))


# ---- the kinds of source


def _pip_download(declared: Package, to: Path) -> None:
    """pip, so that the user's proxy, mirror and certificates are honoured; nothing is installed."""
    wanted = f"{declared.package}=={declared.version}"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
    ]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*command, "--dest", folder, wanted], capture_output=True, text=True)
        files = list(Path(folder).iterdir())
        if done.returncode or len(files) != 1:
            lines = done.stderr.splitlines() or ["no file came"]
            said = [line for line in lines if line.startswith("ERROR")] or lines
            raise PipelineError(
                f"{wanted}: pip could not download it ({said[-1].removeprefix('ERROR: ')}); "
                "check the network and `pip config list`"
            )
        to.write_bytes(files[0].read_bytes())


def _url_download(declared: Url, to: Path) -> None:
    download.download(download.expanded(declared.url, f"{SOURCES}: url"), to)


def _url_version(declared: Url) -> str | None:
    return download.describe(download.expanded(declared.url, f"{SOURCES}: url")).version


@dataclass(frozen=True)
class Download:
    """A kind of source whose bytes lie in .downloads/, named by their sha256."""

    declaration: type
    version: Callable[[Any], str | None]  # what upstream has now
    bring: Callable[[Any, Path], None]


@dataclass(frozen=True)
class Landing:
    """A kind of source that lands in data/inbox/, as files that are only ever added to."""

    declaration: type
    bring: Callable[[str, Any, Path, dict[str, str], bool], dict[str, str]]


KINDS: dict[str, Download | Landing] = {
    "package": Download(Package, lambda declared: str(declared.version), _pip_download),
    "url": Download(Url, _url_version, _url_download),
    "sql": Landing(inbox.Sql, inbox.sql),
    "feedback": Landing(inbox.Feedback, inbox.feedback),
}


def declaration(name: str, declared: Any, place: str) -> tuple[Download | Landing, Any]:
    """The kind of a source, and its declaration as that kind's dataclass. Raises: PipelineError."""
    if not isinstance(declared, dict):
        raise PipelineError(
            f"{place}: {name}: not a mapping with a kind; choose from {', '.join(KINDS)}"
        )
    kind = choose(KINDS, str(declared.get("kind")), f"{place}: {name}.kind")
    rest = {key: value for key, value in declared.items() if key != "kind"}
    return kind, parse_params(kind.declaration, rest, f"{place}: {name}")


# ---- pins


def read_pins(lock: Path) -> dict[str, Pin]:
    """Every pin, by the source's name. Raises: PipelineError."""
    way_out = f"`git checkout {lock}` brings it back"
    pins = read_json(lock, way_out)
    if not isinstance(pins, dict):
        raise PipelineError(f"{lock}: not an object of pins; {way_out}")
    return {name: parse_params(Pin, pin, f"{lock}: {name}") for name, pin in pins.items()}


def pinned(source: str, old: Pin | None, declared: dict[str, Any], root: Path, update: bool) -> Pin:
    """The source's pin, and its bytes brought: the old one where nothing is new. Raises: PipelineError."""
    kind, typed = declaration(source, declared, str(SOURCES))
    if old is not None and old.declared != declared:
        old = None
    if isinstance(kind, Landing):
        return Pin(
            declared, files=kind.bring(source, typed, INBOX, (old and old.files) or {}, update)
        )
    if old is not None and not (update and _is_news(kind, typed, old)):
        fetched(old, source, root / DOWNLOADS)
        return old
    version = kind.version(typed)
    with atomic_path(root / DOWNLOADS / "new") as temporary:
        _bring(kind, typed, temporary)
        sha256, size = file_sha256(temporary), temporary.stat().st_size
    (root / DOWNLOADS / "new").replace(root / DOWNLOADS / sha256)
    return Pin(declared, sha256, size, version)


def _bring(kind: Download, typed: Any, to: Path, otherwise: str = "") -> None:
    try:
        kind.bring(typed, to)
    except PipelineError as error:
        raise PipelineError(f"{error}{otherwise}") from error


def _is_news(kind: Download, typed: Any, old: Pin) -> bool:
    version = kind.version(typed)
    return version is None or version != old.version


def fetched(pin: Pin, source: str, downloads: Path) -> Path:
    """The file of a pinned download, brought when it is missing; its bytes always match the pin.

    Raises: PipelineError when there is no network, or the bytes are not the pinned ones.
    """
    kind, typed = declaration(source, pin.declared, str(LOCK))
    if not isinstance(kind, Download) or pin.sha256 is None:
        raise PipelineError(
            f"{LOCK}: {source}: no download; `python -m pipeline fetch {source}` pins it"
        )
    path = downloads / pin.sha256
    if not path.exists():
        log.info("fetching %s", source)
        with atomic_path(path) as temporary:
            _bring(kind, typed, temporary, f", or put the file at {path}")
            news = f"`python -m pipeline fetch --update {source}` takes it"
            _check(temporary, pin, f"{source} as it is now", news)
    _check(path, pin, str(path), "delete it and run again")
    return path


def _check(file: Path, pin: Pin, name: str, way_out: str) -> None:
    found = file_sha256(file, way_out)
    if found != pin.sha256:
        raise PipelineError(f"{name}: sha256 is {found}, {LOCK} pins {pin.sha256}; {way_out}")


# ---- the command


def chosen(declared: Iterable[str], names: list[str], kinds: dict[str, str]) -> list[str]:
    """The sources that are meant: those named, else those that ingest reads."""
    for name in names:
        choose(dict.fromkeys(declared), name, str(SOURCES))
    read = read_yaml().get("ingest", {}).get("sources", [])
    return names or [
        name
        for name in declared
        if name in read or (kinds[name] == "feedback" and "feedback" in read)
    ]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--update", action="store_true", help="look for news of what is pinned already"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: those of ingest.sources")
    arguments = parser.parse_args(argv)
    declared = read_yaml(SOURCES)
    kinds = {
        name: str(entry.get("kind")) for name, entry in declared.items() if isinstance(entry, dict)
    }
    pins = read_pins(LOCK)
    with stage_lock():
        _fetch_all(declared, pins, chosen(declared, arguments.names, kinds), arguments.update)


def _fetch_all(
    declared: dict[str, Any], pins: dict[str, Pin], names: list[str], update: bool
) -> None:
    for name in names:
        old = pins.get(name)
        pins[name] = pinned(name, old, declared[name], project_root(), update)
        entries = {
            n: {k: v for k, v in asdict(pin).items() if v is not None} for n, pin in pins.items()
        }
        write_json(LOCK, entries)  # after each, so that what is done is done
        log.info("%s: %s", name, _said(pins[name], old))


def _said(pin: Pin, old: Pin | None) -> str:
    state = "unchanged" if old and asdict(pin) == asdict(old) else "new"
    if pin.files is not None:
        return f"{state}, {len(pin.files)} files in {INBOX}"
    return f"{state}, {pin.size or 0:,} bytes, sha256 {(pin.sha256 or '')[:16]}…"
