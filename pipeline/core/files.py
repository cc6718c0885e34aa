"""Atomic writes, and reads that fail in one line."""

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

REBUILD_HINT = "`dvc repro` or `dvc pull` makes it"


# ---- reading and writing


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, which becomes `path` (a file or a folder) if all goes well.

    Raises: PipelineError on a full disk and the like.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with convert_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_what_the_killed_left(path)
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


def _remove_what_the_killed_left(path: Path) -> None:
    """Temporary names of processes that are no more."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        try:
            os.kill(int(left.suffixes[-2][1:]), 0)
        except ProcessLookupError:
            _remove(left)
        except (PermissionError, ValueError):  # somebody else's process; no name of ours
            continue


def write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Canonical JSON: keys in the order given, two spaces, a newline at the end."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_bytes(path: Path, way_out: str = REBUILD_HINT) -> bytes:
    """All of a file. Raises: PipelineError, also for a folder of that name and the like."""
    try:
        return path.read_bytes()
    except OSError as error:
        problem = "missing" if error.errno == errno.ENOENT else error.strerror
        raise PipelineError(f"{path}: {problem}; {way_out}") from error


def read_json(path: Path, way_out: str = REBUILD_HINT) -> Any:
    """A JSON file's value. Raises: PipelineError."""
    try:
        return json.loads(read_bytes(path, way_out))
    except ValueError as error:
        raise PipelineError(f"{path}: not JSON: {error}; {way_out}") from error
