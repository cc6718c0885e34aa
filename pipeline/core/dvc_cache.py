"""DVC's cache: files by the MD5 of their bytes, and the runs of stages."""

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.errors import PipelineError
from pipeline.core.files import write_json


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


@contextmanager
def restored_files(md5s: Mapping[str, str]) -> Iterator[Path]:
    """A temporary folder with these files, while the block runs.

    Args:
        md5s: the MD5 of each file, by file name.
    Raises: NotCachedError.
    """
    # in the project: DVC refuses files outside of it
    with tempfile.TemporaryDirectory(dir=".", prefix="restored-") as folder:
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


if __name__ == "__main__":
    save_runs()
