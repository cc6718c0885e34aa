"""Opens one file of a download, which may be plain, compressed, a zip or a tar."""

import lzma
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatchcase
from functools import partial
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import IO, cast

import fsspec.compression

from pipeline.core.errors import PipelineError
from pipeline.core.params import choose

MAX_UNPACKED_BYTES = 4 << 30  # of a file that is unpacked
MAX_RATIO = 200  # unpacked bytes per byte of the download; text reaches 20 at most
ALWAYS_ALLOWED = 16 << 20  # bytes to which any download may unpack
COPY_BYTES = 1 << 20  # read at once
MAGIC_BYTES = 262  # at the start of a file, which tell its kind
MAGIC = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"(\xb5/\xfd": "zstd",
}
COMPRESSIONS = ("gzip", "bz2", "xz")  # as fsspec calls them
PACK_AGAIN = "unpack it at its source, and provide it as zip (Deflate), tar, gz, bz2 or xz"
READ_ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,  # an encrypted zip, an unknown compression, headers nested too deep
    MemoryError,  # an xz with a dictionary that this machine has no room for
)

Entries = list[tuple[str, Callable[[], IO[bytes]]]]  # name of a regular file, and how to open it


@contextmanager
def open_member(path: Path, name: str | None, place: str) -> Iterator[Path]:
    """The path of one file: the download itself, or a temporary copy of a file in an archive.

    Only that one file is unpacked, to a fixed name and within the limits on its size. Links,
    devices and folders of an archive are ignored.

    Args:
        name: of the file in the archive; None for the only one.
        place: where that name is declared, for errors.

    Raises: PipelineError.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain = _decompressed(path, Path(folder) / "plain")
        kind = kind_of(plain)
        if kind not in ARCHIVES:
            if name is not None:
                raise PipelineError(
                    f"{place}: {name!r}, but {path} is not an archive; remove the name"
                )
            yield plain
            return
        member = Path(folder) / "member"
        with _convert_archive_errors(path), ARCHIVES[kind](plain) as entries:
            chosen, open_entry = _choose(entries, name, place)
            with open_entry() as stream:
                _copy(stream, member, path, chosen)
        _refuse_archive(member, path, chosen)
        yield member


@contextmanager
def open_folders(path: Path, pattern: str, place: str) -> Iterator[dict[str, Path]]:
    """Temporary copies of the matching files of an archive: a folder for each of their folders.

    The copies have fixed names, and the same limits as `open_member`.

    Args:
        pattern: of fnmatch, for names in the archive.
        place: where it is declared, for errors.

    Raises: PipelineError, also if no file matches.
    """
    with tempfile.TemporaryDirectory() as temporary:
        plain = _decompressed(path, Path(temporary) / "plain")
        folders: dict[str, Path] = {}
        kind = kind_of(plain)
        if kind not in ARCHIVES:
            raise PipelineError(f"{place}: {path} is not an archive; remove it")
        left = _limit(path)
        with _convert_archive_errors(path), ARCHIVES[kind](plain) as entries:
            matching = [entry for entry in entries if fnmatchcase(entry[0], pattern)]
            for number, (name, open_entry) in enumerate(sorted(matching, key=itemgetter(0))):
                parent = str(PurePosixPath(name).parent)
                folder = folders.setdefault(parent, Path(temporary) / f"{len(folders)}")
                folder.mkdir(exist_ok=True)
                with open_entry() as stream:
                    left -= _copy(stream, folder / f"{number:09}", path, name, left)
        if not folders:
            raise PipelineError(f"{place}: no file matches {pattern!r} in {path}; correct it")
        yield folders


def kind_of(path: Path) -> str:
    """`tar` or a value of MAGIC, by the file's first bytes; `plain` for any other file."""
    with path.open("rb") as file:
        start = file.read(MAGIC_BYTES)
    if start[257:262] == b"ustar":
        return "tar"
    return next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), "plain")


# ---- compressed files


def _decompressed(path: Path, to: Path) -> Path:
    """The file itself, or its content at `to` if it is compressed."""
    kind = kind_of(path)
    if kind in ("7z", "rar", "zstd"):
        raise PipelineError(f"{path}: a {kind} archive; provide it as zip, tar, gz, bz2 or xz")
    if kind not in COMPRESSIONS:
        return path
    with (
        _convert_archive_errors(path),
        path.open("rb") as compressed,
        fsspec.compression.compr[kind](compressed, mode="rb") as stream,
    ):
        _copy(stream, to, path, path.name)
    if kind_of(to) != "tar":
        _refuse_archive(to, path, path.name)
    return to


def _limit(path: Path) -> int:
    """The bytes to which a download may unpack."""
    return min(MAX_UNPACKED_BYTES, max(ALWAYS_ALLOWED, MAX_RATIO * path.stat().st_size))


def _copy(stream: IO[bytes], to: Path, path: Path, name: str, limit: int | None = None) -> int:
    """Copies a stream up to the limit: the sizes that an archive declares may be wrong.

    Returns: the number of bytes.
    """
    limit = _limit(path) if limit is None else limit
    copied = 0
    with to.open("wb") as out:
        while chunk := stream.read(COPY_BYTES):
            copied += len(chunk)
            if copied > limit:
                raise PipelineError(
                    f"{path}: {name!r}: unpacks to more than {limit:,} bytes; "
                    "get the data from another place"
                )
            out.write(chunk)
    return copied


def _refuse_archive(file: Path, path: Path, name: str) -> None:
    kind = kind_of(file)
    if kind != "plain":
        raise PipelineError(
            f"{path}: {name!r}: an archive within the archive ({kind}); unpack it at its source"
        )


# ---- zip and tar


@contextmanager
def _zip_entries(path: Path) -> Iterator[Entries]:
    with zipfile.ZipFile(path) as archive:
        yield [
            (info.filename, partial(archive.open, info))
            for info in archive.infolist()
            if _is_regular(info)
        ]


def _is_regular(info: zipfile.ZipInfo) -> bool:
    """Whether an entry is a file; zips made outside Unix have no mode."""
    mode = info.external_attr >> 16
    return not info.is_dir() and (not stat.S_IFMT(mode) or stat.S_ISREG(mode))


def _tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    return cast(IO[bytes], archive.extractfile(info))  # None only for what is not a file


@contextmanager
def _tar_entries(path: Path) -> Iterator[Entries]:
    with tarfile.open(path, "r:") as archive:
        yield [
            (info.name, partial(_tar_member, archive, info)) for info in archive if info.isfile()
        ]


# Not fsspec's file systems: its tar follows links and takes devices for files, and its zip lists
# two entries of one name as one.
ARCHIVES: dict[str, Callable[[Path], AbstractContextManager[Entries]]] = {
    "zip": _zip_entries,
    "tar": _tar_entries,
}


def _choose(entries: Entries, name: str | None, place: str) -> tuple[str, Callable[[], IO[bytes]]]:
    """The entry of this name, or the only one."""
    if name is None and len(entries) == 1:
        return entries[0]
    names = [entry_name for entry_name, _ in entries]
    if name is None:
        choices = ", ".join(sorted(names)) or "nothing"
        raise PipelineError(f"{place}: missing; choose from {choices}")
    choose(dict.fromkeys(names), name, place)
    if names.count(name) > 1:
        raise PipelineError(
            f"{place}: {name!r} is {names.count(name)} times in the archive; "
            "get the data from another place"
        )
    return entries[names.index(name)]


@contextmanager
def _convert_archive_errors(path: Path) -> Iterator[None]:
    """Turns what the readers of archives raise into one line. Raises: PipelineError."""
    try:
        yield
    except READ_ERRORS as error:
        problem = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        is_whole = isinstance(error, RuntimeError | MemoryError)
        remedy = PACK_AGAIN if is_whole else "download it again"
        raise PipelineError(f"{path}: not readable as an archive: {problem}; {remedy}") from error
