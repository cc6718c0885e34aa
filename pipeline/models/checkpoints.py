"""Saves a training after each epoch in `.checkpoints/`, so that it can be resumed."""

import hashlib
import logging
import platform
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.files import atomic_path, write_bytes
from pipeline.core.hashing import files_sha256

log = logging.getLogger(__name__)

Arrays = list[NDArray[Any]]

FOLDER = Path(".checkpoints")
FINISHED_SUFFIX = ".done.npz"  # of the file of a finished training
LIBRARIES = ("tensorflow", "keras", "numpy")  # another release may round differently
CODE = Path(__file__).parents[1]  # the package `pipeline`


@dataclass(frozen=True)
class TrainingState:
    """A training after some epoch."""

    curves: Sequence[tuple[float, ...]]  # one tuple an epoch
    variables: Arrays  # of the network, then of its optimizer
    best_weights: Arrays  # of the network after its best epoch


def training_key(params: object, *inputs: Path) -> str:
    """32 hexadecimal digits; on one machine, equal keys give equal weights, bit for bit.

    The key depends on the params, the bytes of the input files, all code of this package
    (also in subfolders), and the versions of Python and of LIBRARIES.
    """
    code = sorted(CODE.rglob("*.py"))
    versions = [platform.python_version(), *map(version, LIBRARIES)]
    identity = repr((params, versions, files_sha256(*inputs, *code)))
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


class Checkpoint:
    """The latest state of the training with this key.

    Args:
        worker: of a worker that is not the chief: a name of its own.
    """

    def __init__(self, key: str, worker: str = "") -> None:
        self._unfinished = FOLDER / worker / f"{key}.npz"
        self._finished = FOLDER / worker / f"{key}{FINISHED_SUFFIX}"

    def read_bytes(self) -> bytes:
        """The saved state, for another worker; empty without one."""
        paths = [path for path in (self._finished, self._unfinished) if path.is_file()]
        return paths[0].read_bytes() if paths else b""

    def replace(self, content: bytes) -> None:
        """Takes over what `read_bytes` gave on another worker."""
        self._finished.unlink(missing_ok=True)
        self._unfinished.unlink(missing_ok=True)
        if content:
            write_bytes(self._unfinished, content)

    def save(self, state: TrainingState) -> None:
        """Replaces the saved state. Raises: PipelineError, for example on a full disk."""
        arrays: dict[str, Any] = {f"variable {n:04}": v for n, v in enumerate(state.variables)}
        arrays |= {f"best {n:04}": value for n, value in enumerate(state.best_weights)}
        with atomic_path(self._unfinished) as temporary, temporary.open("wb") as file:
            np.savez(file, curves=np.array(state.curves), **arrays)

    def load(self) -> TrainingState | None:
        """The saved state, also of a finished training; None without a readable one."""
        for path in (self._finished, self._unfinished):
            if path.exists():
                try:
                    return _read_state(path)
                except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
                    log.warning("%s: not readable (%s); training starts again", path, error)
        return None

    def finish(self) -> None:
        """Marks the training as finished; its state stays until `drop_finished`."""
        if self._unfinished.exists():
            self._unfinished.replace(self._finished)


def drop_finished() -> None:
    """Deletes finished trainings; register calls it, when DVC has cached their outputs."""
    for path in FOLDER.rglob(f"*{FINISHED_SUFFIX}"):
        path.unlink()


def _read_state(path: Path) -> TrainingState:
    with np.load(path) as arrays:
        names = sorted(arrays)
        return TrainingState(
            curves=[tuple(epoch) for epoch in arrays["curves"].tolist()],
            variables=[arrays[name] for name in names if name.startswith("variable")],
            best_weights=[arrays[name] for name in names if name.startswith("best")],
        )
