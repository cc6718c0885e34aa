"""Opens one file of a download - plain, compressed, zip or tar - and refuses hostile archives by name."""

import bz2
import gzip
import lzma
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO, Any, cast

from pipeline.core.errors import PipelineError
from pipeline.core.params import choose

MOST = 4 << 30  # bytes that an archive may unpack to
RATIO = (
    200  # times its own size that it may unpack to; text packs to a third, at best to a twentieth
)
FLOOR = 16 << 20  # bytes that any archive may unpack to, so that small honest ones pass
CHUNK = 1 << 20  # bytes read at once
HEAD = 262  # bytes that tell an archive
MAGIC = {  # what an archive begins with
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"(\xb5/\xfd": "zstd",
}
BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
)


@dataclass(frozen=True)
class Entry:
    """One name in an archive."""

    name: str
    size: int  # bytes, as the archive says
    flaw: str | None  # why it is no file that may be read
    opened: Callable[[], IO[bytes]]


@contextmanager
def member(path: Path, name: str | None, place: str) -> Iterator[Path]:
    """The file itself where it is no archive, else a temporary copy of one file in it.

    name: None for the only one there is; place: of that name, for errors.
    Raises: PipelineError; one hostile entry, and the archive is refused whole.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole, file = _unpacked(path, Path(folder) / "whole"), Path(folder) / "file"
        kind = kind_of(whole)
        if kind not in ENTRIES:
            if name is not None:
                raise PipelineError(
                    f"{place}: {name!r}, but {path} is no archive; take the name out"
                )
            yield whole
            return
        with _readable(path), ENTRIES[kind](whole) as entries:
            _refuse_the_hostile(entries, path)
            chosen = _chosen(
                [entry for entry in entries if not entry.name.endswith("/")], name, place
            )
            _copy(chosen.opened(), file, path, chosen.name)
        yield file


def kind_of(path: Path) -> str | None:
    """What kind of archive a file is, by its first bytes; None for none."""
    with path.open("rb") as file:
        return _kind(file.read(HEAD))


def _kind(head: bytes) -> str | None:
    if head[257:262] == b"ustar":
        return "tar"
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None)


# ---- what is refused


def _refuse_the_hostile(entries: Sequence[Entry], path: Path) -> None:
    """Raises: PipelineError, before anything of the archive is unpacked."""
    for entry in entries:
        if entry.flaw:
            raise _refusal(path, entry.name, entry.flaw)
    if sum(entry.size for entry in entries) > _limit(path):
        largest = max(entries, key=lambda entry: entry.size)
        raise _refusal(path, largest.name, f"unpacks to more than {_limit(path):,} bytes")
    for entry in entries:
        if not entry.name.endswith("/"):
            with entry.opened() as file:
                kind = _kind(file.read(HEAD))
            if kind:
                raise _refusal(path, entry.name, f"an archive within the archive ({kind})")


def _flaw(name: str, is_link: bool, is_file: bool) -> str | None:
    windows = PureWindowsPath(name)
    if windows.drive or windows.root or ".." in windows.parts or "\\" in name or "\0" in name:
        return "leads out of the archive"
    return "a link" if is_link else None if is_file else "neither file nor folder"


def _limit(path: Path) -> int:
    """The bytes that an archive may unpack to."""
    return min(MOST, max(FLOOR, RATIO * path.stat().st_size))


def _refusal(path: Path, name: str, problem: str) -> PipelineError:
    return PipelineError(
        f"{path}: {name!r}: {problem}; the archive is refused: get it from elsewhere"
    )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        problem = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise PipelineError(
            f"{path}: not readable as an archive: {problem}; get it again"
        ) from error


# ---- what is read


def _unpacked(path: Path, to: Path) -> Path:
    """The file, or what it holds where it is one packed stream."""
    kind = kind_of(path)
    if kind in ("7z", "rar", "zstd"):
        raise PipelineError(f"{path}: a {kind} archive; give it as zip, tar, gz, bz2 or xz")
    if kind not in STREAMS:
        return path
    with _readable(path):
        _copy(STREAMS[kind](path), to, path, path.name)
    if kind_of(to) not in (None, "tar"):
        raise _refusal(path, path.name, f"an archive within the archive ({kind_of(to)})")
    return to


def _chosen(files: list[Entry], name: str | None, place: str) -> Entry:
    if name is None and len(files) == 1:
        return files[0]
    counts = Counter(entry.name for entry in files)
    if name is None:
        raise PipelineError(
            f"{place}: missing; choose from {', '.join(sorted(counts)) or 'nothing'}"
        )
    choose(counts, name, place)
    if counts[name] > 1:
        raise PipelineError(
            f"{place}: {name!r} stands {counts[name]} times in the archive; get it from elsewhere"
        )
    return next(entry for entry in files if entry.name == name)


def _copy(stream: IO[bytes], to: Path, path: Path, name: str) -> None:
    """Copies what a stream really holds: what an archive says of sizes may be a lie."""
    left = _limit(path)
    with stream, to.open("wb") as out:
        while chunk := stream.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                raise _refusal(path, name, f"unpacks to more than {_limit(path):,} bytes")
            out.write(chunk)


@contextmanager
def _zip_entries(path: Path) -> Iterator[list[Entry]]:
    with zipfile.ZipFile(path) as archive:
        yield [_zip_entry(archive, info) for info in archive.infolist()]


def _zip_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Entry:
    mode = info.external_attr >> 16
    is_file = not mode or not stat.S_IFMT(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    flaw = _flaw(info.orig_filename, stat.S_ISLNK(mode), is_file)
    if info.flag_bits & 1:
        flaw = flaw or "encrypted"
    return Entry(info.filename, info.file_size, flaw, lambda: archive.open(info))


@contextmanager
def _tar_entries(path: Path) -> Iterator[list[Entry]]:
    with tarfile.open(path, "r:") as archive:
        yield [_tar_entry(archive, info) for info in archive]


def _tar_entry(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Entry:
    flaw = _flaw(info.name, info.issym() or info.islnk(), info.isfile() or info.isdir())
    name = f"{info.name}/" if info.isdir() else info.name
    return Entry(name, info.size, flaw, lambda: cast(IO[bytes], archive.extractfile(info)))


STREAMS: dict[str | None, Callable[[Path], Any]] = {
    "gzip": gzip.open,
    "bzip2": bz2.open,
    "xz": lzma.open,
}
ENTRIES: dict[str | None, Callable[[Path], Any]] = {"zip": _zip_entries, "tar": _tar_entries}
