"""Keeps compiled networks in `.compiled/`, so that the next process need not compile them.

TensorFlow's XLA compiles a network for each of its shapes, which takes seconds to a minute. Its
answers are the same bits with and without the cache.
"""

import hashlib
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from pipeline.core.errors import PipelineError

CACHE_FOLDER = Path(".compiled")
FLAGS_VARIABLE = "TF_XLA_FLAGS"  # TensorFlow reads it at its first compilation
LEAST_SPACE = 500_000_000  # bytes that must be free, as a full disk would end the computation
LARGEST_CACHE = 500_000_000  # bytes; a larger one starts anew


@contextmanager
def compile_cache() -> Iterator[None]:
    """TensorFlow keeps what it compiles in this block.

    Nothing is kept where the folder cannot be written, or the user has set FLAGS_VARIABLE. Programs
    that are started in the block should not inherit it: an error there would not remove the cache.

    Raises: PipelineError instead of an error of TensorFlow, as a damaged file may be its cause.
    """
    folder = CACHE_FOLDER.absolute() / machine_key()
    if FLAGS_VARIABLE in os.environ or not _is_usable(folder):
        yield
        return
    has_files = any(folder.glob("*"))
    os.environ[FLAGS_VARIABLE] = f"--tf_xla_persistent_cache_directory='{folder}'"
    try:
        yield
    except Exception as error:
        if not (has_files and type(error).__module__.startswith("tensorflow")):
            raise
        shutil.rmtree(CACHE_FOLDER, ignore_errors=True)
        problem = str(error).partition("\n")[0]
        raise PipelineError(
            f"{CACHE_FOLDER}: removed, as TensorFlow says {problem!r}; run it again"
        ) from error
    finally:
        del os.environ[FLAGS_VARIABLE]


def machine_key() -> str:
    """16 hexadecimal digits that differ where other machine code is needed."""
    cpu = Path("/proc/cpuinfo")
    flags = (
        re.search(r"^(flags|Features).*$", cpu.read_text(), re.MULTILINE) if cpu.exists() else None
    )
    identity = [version("tensorflow"), platform.platform(), flags and flags[0]]
    return hashlib.sha256(repr(identity).encode()).hexdigest()[:16]


def _is_usable(folder: Path) -> bool:
    """Whether TensorFlow can make the folder, and there is room in it."""
    if not re.fullmatch(r"[\w /.,+@()-]+", str(folder)):  # else TensorFlow may not read the flag
        return False
    try:
        if sum(file.stat().st_size for file in CACHE_FOLDER.rglob("*")) > LARGEST_CACHE:
            shutil.rmtree(CACHE_FOLDER)
        if CACHE_FOLDER.exists() and CACHE_FOLDER.stat().st_uid != os.getuid():
            return False  # its code would run as this user
        existing = CACHE_FOLDER if CACHE_FOLDER.exists() else Path()
        return os.access(existing, os.W_OK) and shutil.disk_usage(existing).free > LEAST_SPACE
    except OSError:
        return False
