"""Runs a pipeline command quickly, also on a full disk or on one that is read-only."""

import ctypes
import multiprocessing
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = [  # imported once, as that takes seconds; the forks inherit them
    "datasketch",
    "great_expectations.expectations",
    "keras",
    "matplotlib.figure",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "pyarrow.parquet",
    "sklearn.svm",
    "tensorflow",
    "tokenizers",
]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(LIBRARIES)
MODULE = "python -m pipeline."  # a command that begins so runs in a fork
TIMEOUT = 600  # seconds
CLONE_NEWNS = 0x00020000  # of unshare(2): a mount is visible to this process alone

Environment = dict[str, str]


@dataclass(frozen=True)
class Disk:
    """A folder of the project on a disk of its own."""

    folder: str
    room: int | None = 0  # free bytes; None: the disk is read-only


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int | None
    said: str  # standard error


def run(command: str, folder: Path, environment: Environment, disk: Disk | None = None) -> Done:
    """Runs one of our modules in a fork, and anything else in a shell."""
    if not command.startswith(MODULE):
        shell = ["/bin/sh", "-c", command]
        done = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True)
        return Done(done.returncode, done.stderr)
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as said:
        arguments = command.split()[2:], folder, environment, disk, said.name
        process = FORKS.Process(target=_in_a_fork, args=arguments)
        process.start()
        process.join(TIMEOUT)
        process.kill()
        process.join()
        return Done(process.exitcode, said.read())


def _in_a_fork(
    command: list[str], folder: Path, environment: Environment, disk: Disk | None, said: str
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for stream, file in ((1, os.devnull), (2, said)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), stream)
    for name in [name for name in sys.modules if name.partition(".")[0] == "pipeline"]:
        del sys.modules[name]  # the code in the folder runs instead
    tempfile.tempdir = None  # it is the parent's
    sys.argv, sys.path[:0] = command, [str(folder)]
    with mounted(disk):
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)


# ---- disks

FILL = """
mount --make-rprivate / && cp -a "$1" "$1.kept" && mount -t tmpfs -o size=64m none "$1" &&
cp -a "$1.kept/." "$1" && rm -r "$1.kept" || exit 1
cat /dev/zero > "$1/.filler" 2> /dev/null
truncate --size "-$2" "$1/.filler"
"""
EMPTY = (
    'rm "$1/.filler"; cp -a "$1" "$1.after" && umount -l "$1" && rm -r "$1" && mv "$1.after" "$1"'
)
FORBID = 'mount --make-rprivate / && mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"'


def may_mount() -> bool:
    """Whether this machine allows such disks: it runs Linux, and we are root."""
    if not shutil.which("unshare"):
        return False
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", tempfile.gettempdir()]
    return subprocess.run(command, capture_output=True).returncode == 0


@contextmanager
def mounted(disk: Disk | None) -> Iterator[None]:
    """Mounts the folder on its disk for this process; afterwards copies its files back."""
    if disk is None:
        yield
        return
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare(2)")
    here = Path.cwd()

    def shell(script: str, *arguments: str) -> None:
        subprocess.run(["sh", "-c", script, "sh", disk.folder, *arguments], cwd=here, check=True)

    shell(*([FORBID] if disk.room is None else [FILL, str(disk.room)]))
    os.chdir(here)  # into the mounted folder
    try:
        yield
    finally:
        if disk.room is not None:
            shell(EMPTY)
