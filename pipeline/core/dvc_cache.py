"""Runs DVC; its cache: files by the MD5 of their bytes, and the runs of stages."""

import json
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

CONFLICT = "<<<<<<<"  # of Git, in a file that a merge left to people
RWLOCK = Path(".dvc/tmp/rwlock")  # what each running DVC reads and writes
TORN = "cut, as by a kill; removed, DVC writes it anew"
OUTPUTS_IN_GIT = ("reports/", "data/inbox.lock.json")  # and not in the cache


log = logging.getLogger(__name__)


class NotCachedError(PipelineError):
    """A file is neither in DVC's cache nor in its remote."""


def run_dvc(*command: str) -> "subprocess.CompletedProcess[str]":
    """Runs a DVC command and captures its output."""
    return subprocess.run([sys.executable, "-m", "dvc", *command], capture_output=True, text=True)


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


def remove_torn_locks() -> None:
    """Removes a dvc.lock and a list of running commands that a kill has cut.

    DVC empties both files before it writes them. It makes them anew: it restores the stages whose
    runs its run cache has, and runs the others again.
    """
    lock = Path("dvc.lock")
    if lock.exists() and _is_torn_lock(lock.read_text(encoding="utf-8", errors="replace")):
        lock.unlink()
        log.warning("dvc.lock: %s", TORN)
    if RWLOCK.exists() and _is_torn_rwlock():
        RWLOCK.unlink()
        log.warning("%s: %s", RWLOCK, TORN)


def _is_torn_lock(text: str) -> bool:
    from dvc.dvcfile import Lockfile
    from dvc.exceptions import DvcException

    try:
        Lockfile.validate(ruamel.yaml.YAML(typ="safe").load(text))
    except (DvcException, ruamel.yaml.error.YAMLError):
        return CONFLICT not in text
    return False


def _is_torn_rwlock() -> bool:
    """Waits for another DVC that is writing it; one that holds it for long is left alone."""
    from dvc.lock import LockError, make_lock

    try:
        with make_lock(f"{RWLOCK}.lock", tmp_dir=str(RWLOCK.parent)):
            json.loads(RWLOCK.read_text(encoding="utf-8", errors="replace"))
    except json.JSONDecodeError:
        return True
    except LockError:
        return False
    return False


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
    {"before": remove_torn_locks, "after": save_runs}[sys.argv[1]]()
