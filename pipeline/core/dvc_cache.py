"""Runs DVC; its cache: files by the MD5 of their bytes, and the runs of stages."""

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import ruamel.yaml

from pipeline.core.errors import PipelineError
from pipeline.core.files import remove_orphans, write_json
from pipeline.core.git import try_git

RWLOCK_PROBLEM = "Unable to read RWLock-file"  # of DVC's message
CONFLICT = "<<<<<<<"  # of Git, in a file that a merge left to people
OUTPUTS_IN_GIT = ("reports/", "data/inbox.lock.json")  # and not in the cache


log = logging.getLogger(__name__)


class NotCachedError(PipelineError):
    """A file is neither in DVC's cache nor in its remote."""


def run_dvc(*command: str) -> "subprocess.CompletedProcess[str]":
    """Runs a DVC command and captures its output."""
    return subprocess.run([sys.executable, "-m", "dvc", *command], capture_output=True, text=True)


def check_rwlock(output: str) -> None:
    """Raises: PipelineError, if DVC failed with this output as its list of locks is damaged."""
    if RWLOCK_PROBLEM in output:
        raise PipelineError(
            ".dvc/tmp/rwlock: damaged, as by a crash or a full disk; "
            "if no other DVC runs in this folder, remove the file, then run it again"
        )


def cached_md5s(md5s: Iterable[str]) -> set[str]:
    """Those of the MD5s whose files are in the cache of this machine."""
    cache = Path(run_dvc("cache", "dir").stdout.strip()) / "files" / "md5"
    return {md5 for md5 in md5s if (cache / md5[:2] / md5[2:]).exists()}


def save_runs() -> None:
    """Saves the runs of dvc.lock in DVC's run cache, which DVC does not do for outputs in Git.

    `dvc commit --force` would save them with the params and files as they are now.
    """
    from dvc.repo import Repo  # a second, which other users of this module need not spend

    with Repo() as repo, repo.lock:
        for stage in repo.index.stages:
            repo.stage_cache.save(stage)


def remove_torn_lock() -> None:
    """Removes a dvc.lock that a kill has cut: DVC empties the file, then writes it step by step.

    DVC restores the stages whose runs its run cache has, and runs the others again.
    """
    from dvc.dvcfile import Lockfile
    from dvc.exceptions import DvcException

    lock = Path("dvc.lock")
    if not lock.exists():
        return
    text = lock.read_text(encoding="utf-8", errors="replace")
    try:
        Lockfile.validate(ruamel.yaml.YAML(typ="safe").load(text))
    except (DvcException, ruamel.yaml.error.YAMLError):
        if CONFLICT not in text:
            lock.unlink()
            log.warning("dvc.lock: cut, as by a kill; removed, DVC writes it anew")


def can_restore_outputs() -> bool:
    """Whether the cache of this machine has all outputs of Git's dvc.lock that are not in Git."""
    try:
        lock = ruamel.yaml.YAML(typ="safe").load(try_git("show", ":./dvc.lock") or "{}")
    except (OSError, ruamel.yaml.error.YAMLError):  # no Git; conflicts that somebody committed
        return False
    outs = [out for stage in lock.get("stages", {}).values() for out in stage.get("outs", [])]
    md5s = {out["md5"] for out in outs if not out["path"].startswith(OUTPUTS_IN_GIT)}
    return bool(md5s) and cached_md5s(md5s) == md5s


@contextmanager
def restored_files(md5s: Mapping[str, str]) -> Iterator[Path]:
    """A temporary folder with these files, while the block runs; removes those of killed runs.

    Args:
        md5s: the MD5 of each file, by file name.
    Raises: NotCachedError.
    """
    # in the project: DVC refuses files outside of it
    remove_orphans(Path("restored"))
    ending = f".{os.getpid()}.tmp"
    with tempfile.TemporaryDirectory(dir=".", prefix=".restored.", suffix=ending) as folder:
        for name, md5 in md5s.items():
            _restore_file(Path(folder), name, md5)
        yield Path(folder)


def _restore_file(folder: Path, name: str, md5: str) -> None:
    pointer = folder / f"{name}.dvc"
    write_json(pointer, {"outs": [{"md5": md5, "hash": "md5", "path": name}]})  # JSON is YAML
    for command in ("checkout", "pull"):
        process = run_dvc(command, "--quiet", str(pointer))
        if process.returncode == 0:
            return
    problem = " ".join(process.stderr.split())
    raise NotCachedError(
        f"{name} {md5}: neither in DVC's cache nor in its remote ({problem}); "
        "somebody who has it runs `dvc push`"
    )


if __name__ == "__main__":  # of `make repro`
    {"before": remove_torn_lock, "after": save_runs}[sys.argv[1]]()
