"""An output file that is written in parts, so that an interrupted run can be resumed.

The parts are files in a hidden folder beside the output, named by their last row, and a record of
the run's settings.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline.core.errors import PipelineError, convert_os_errors
from pipeline.core.files import atomic_path, read_json


def parts_folder(output: Path) -> Path:
    """The hidden folder with the parts of an output."""
    return output.with_name(f".{output.name}.parts")


def _run_record(output: Path) -> Path:
    """The run's settings: written first and removed first, so that no parts count without it."""
    return parts_folder(output) / "run.json"


@contextmanager
def exclusive_output(output: Path) -> Iterator[None]:
    """Lets one process at a time write the output. Raises: PipelineError in a second one."""
    lock = FileLock(output.with_name(f".{output.name}.lock"))
    with convert_os_errors(output):
        if output.is_dir():  # found now, not when all rows are done
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(output))
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise PipelineError(
                f"{output}: another run is writing it; wait for it, or name another output"
            ) from None
    try:
        yield
    finally:
        # removed while it is locked: a process that opened it before sees that it is gone
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def start_run(output: Path, settings: Mapping[str, Any]) -> None:
    """Removes what an earlier run left, and records the settings of this one.

    Raises: PipelineError.
    """
    with convert_os_errors(output):
        discard_run(output)
        parts_folder(output).mkdir()
        with writing_part(output, _run_record(output)) as temporary:
            temporary.write_text(json.dumps(settings), encoding="utf-8")


def read_run(output: Path) -> dict[str, Any]:
    """The settings of an interrupted run; empty if there is none. Raises: PipelineError."""
    if not _run_record(output).exists():
        return {}
    return dict(read_json(_run_record(output), f"remove {parts_folder(output)} to start again"))


def part_files(output: Path) -> list[Path]:
    """The finished parts, in the order of their rows."""
    return sorted(parts_folder(output).glob("rows-*")) if _run_record(output).exists() else []


def finished_rows(output: Path) -> int:
    """Number of rows in the finished parts."""
    parts = part_files(output)
    return int(parts[-1].stem.removeprefix("rows-")) if parts else 0


def part_path(output: Path, last_row: int) -> Path:
    """The path of the part that ends with this row, counted from 1."""
    return parts_folder(output) / f"rows-{last_row:015}{output.suffix}"


@contextmanager
def writing_part(output: Path, path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` when its bytes are on the disk.

    Raises: PipelineError on a full disk and the like.
    """
    temporary = parts_folder(output) / f"unfinished{output.suffix}"
    with convert_os_errors(output):
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def join_parts(output: Path, join: Callable[[Path, Sequence[Path]], None]) -> None:
    """Turns the parts into the output, in one step. Raises: PipelineError."""
    with atomic_path(output) as temporary:
        join(temporary, part_files(output))
        _flush_to_disk(temporary)
    discard_run(output)


def discard_run(output: Path) -> None:
    """Removes record and parts, the record first: a kill in between leaves no valid run."""
    if parts_folder(output).exists():
        _run_record(output).unlink(missing_ok=True)
        shutil.rmtree(parts_folder(output))
