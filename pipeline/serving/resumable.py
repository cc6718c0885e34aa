"""An output in the making: parts in a hidden folder beside it, with which an interrupted run goes on."""

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

Join = Callable[
    [Path, Sequence[Path]], None
]  # writes one file that has the rows of all, in their order


def folder(output: Path) -> Path:
    return output.with_name(f".{output.name}.parts")


def _record(output: Path) -> Path:
    """Written last when a run begins, removed first when it ends: without it the parts are nobody's."""
    return folder(output) / "run.json"


@contextmanager
def alone(output: Path) -> Iterator[None]:
    """Lets one process at a time make the output. Raises: PipelineError, in the second one."""
    lock = FileLock(output.with_name(f".{output.name}.lock"))
    with convert_os_errors(output):
        if output.is_dir():  # said now, and not when all is done
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(output))
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise PipelineError(
                f"{output}: another run is making it; wait for that one, or name another output"
            ) from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(
            missing_ok=True
        )  # while it is held: whoever opened it sees it gone
        lock.release()


def begin(output: Path, run: Mapping[str, Any]) -> None:
    """Drops what an earlier run left, and notes what this one goes by. Raises: PipelineError."""
    with convert_os_errors(output):
        drop(output)
        folder(output).mkdir()
        with adding(output, _record(output)) as temporary:
            temporary.write_text(json.dumps(run), encoding="utf-8")


def begun(output: Path) -> dict[str, Any]:
    """What an interrupted run went by; empty where there is none. Raises: PipelineError."""
    if not _record(output).exists():
        return {}
    return dict(read_json(_record(output), f"remove {folder(output)} to start anew"))


def part_files(output: Path) -> list[Path]:
    """The finished parts, in the order of their rows."""
    return sorted(folder(output).glob("rows-*")) if _record(output).exists() else []


def parquet_rows(output: Path) -> int:
    """Rows in the finished parts."""
    return int(part_files(output)[-1].stem.removeprefix("rows-")) if part_files(output) else 0


def write_part(output: Path, upto: int) -> Path:
    """The name of the part that ends with this row, counted from 1."""
    return folder(output) / f"rows-{upto:015}{output.suffix}"


@contextmanager
def adding(output: Path, path: Path) -> Iterator[Path]:
    """A temporary name that becomes `path` when its bytes are on the disk: there is never half of one.

    Raises: PipelineError on a full disk and the like.
    """
    temporary = folder(output) / f"unfinished{output.suffix}"
    with convert_os_errors(output):
        yield temporary
        _to_disk(temporary)
        temporary.replace(path)


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def finish(output: Path, join: Join) -> None:
    """The parts become the output, at once. Raises: PipelineError."""
    with atomic_path(output) as temporary:
        join(temporary, part_files(output))
        _to_disk(temporary)
    drop(output)


def drop(output: Path) -> None:
    """Forgets the run; killed amid this, it leaves nothing that would pass for all of its parts."""
    if folder(output).exists():
        _record(output).unlink(missing_ok=True)
        shutil.rmtree(folder(output))
