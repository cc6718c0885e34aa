"""Writes files atomically, and reads files with one-line errors."""

import errno
import glob
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.core.errors import PipelineError, convert_os_errors

REBUILD_HINT = "make it with `dvc repro` or `dvc pull`"


# ---- writing


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path, which becomes `path` (a file or a folder) if the block succeeds.

    If the block fails, `path` stays as it was and nothing temporary remains.

    Raises: PipelineError, on a full disk, missing permissions and the like.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with convert_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_orphans(path)
            yield temporary
            if temporary.is_dir() and path.is_dir():
                shutil.rmtree(path)
            temporary.replace(path)
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


def remove_orphans(path: Path) -> None:
    """Removes the temporary files and folders for `path` of processes that were killed.

    Their names are `.NAME`, anything, the process's id and `.tmp`, with dots between.
    """
    for orphan in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        try:
            os.kill(int(orphan.suffixes[-2][1:]), 0)
        except ProcessLookupError:
            _remove(orphan)
        except (PermissionError, ValueError):  # another user's process; not a name of ours
            continue


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text with line feeds, atomically. Raises: PipelineError.

    A lone surrogate, as of an undecodable file name, becomes its escape, which JSON reads back.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file atomically. Raises: PipelineError."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Writes canonical JSON: keys in the given order, two spaces, a newline at the end.

    Raises: PipelineError; ValueError for NaN and infinity.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


# ---- reading


@contextmanager
def read_errors(path: Path, remedy: str) -> Iterator[None]:
    """Turns an OSError about `path` into one line while the block runs. Raises: PipelineError."""
    try:
        yield
    except OSError as error:
        problem = "missing" if error.errno == errno.ENOENT else error.strerror
        raise PipelineError(f"{path}: {problem}; {remedy}") from error


def read_bytes(path: Path, remedy: str = REBUILD_HINT) -> bytes:
    """The file's content. Raises: PipelineError, also if the path is a folder."""
    with read_errors(path, remedy):
        return path.read_bytes()


def read_json(path: Path, remedy: str = REBUILD_HINT) -> Any:
    """The value of a JSON file. Raises: PipelineError."""
    try:
        return json.loads(read_bytes(path, remedy))
    except (ValueError, RecursionError) as error:
        raise PipelineError(f"{path}: not JSON: {error}; {remedy}") from error
