"""DVC's cache: files by the MD5 of their bytes, from this machine or from DVC's remote."""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_bytes, write_json


def file_md5(path: Path) -> str:
    """The name of a file's bytes in DVC's cache. Raises: PipelineError."""
    return hashlib.md5(read_bytes(path), usedforsecurity=False).hexdigest()


def cached_md5s(names: Iterable[str]) -> set[str]:
    """Those of the MD5s whose bytes lie in the cache here."""
    files = Path(run_dvc("cache", "dir").stdout.strip()) / "files" / "md5"
    return {name for name in names if (files / name[:2] / name[2:]).exists()}


class NotCachedError(PipelineError):  # noqa: N818 (it is bytes that it speaks of)
    """Bytes that lie neither in the cache nor in the remote."""


@contextmanager
def restored_files(names: Mapping[str, str]) -> Iterator[Path]:
    """A folder with these files, an MD5 by file name each, while the block runs.

    They come from the cache, else from the remote. Raises: Gone.
    """
    with tempfile.TemporaryDirectory(
        dir=".", prefix="restored-"
    ) as folder:  # DVC knows no file outside
        for name, its_md5 in names.items():
            pointer = Path(folder) / f"{name}.dvc"
            out = {"file_md5": its_md5, "hash": "file_md5", "path": name}
            write_json(pointer, {"outs": [out]})  # JSON is YAML
            for command in ("checkout", "pull"):
                done = run_dvc(command, "--quiet", str(pointer))
                if done.returncode == 0:
                    break
            else:
                said = " ".join(done.stderr.split())[-200:]
                raise NotCachedError(
                    f"{name} {its_md5}: neither in DVC's cache nor in its remote ({said}); "
                    "somebody who has it runs `dvc push`"
                )
        yield Path(folder)


def run_dvc(*command: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command of DVC, whose words are kept."""
    return subprocess.run([sys.executable, "-m", "dvc", *command], capture_output=True, text=True)
