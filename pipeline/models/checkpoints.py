"""What a training needs to go on after an interruption, in `.checkpoints/`, written after each epoch."""

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

from pipeline.core.files import atomic_path
from pipeline.core.hashing import combined_sha256

log = logging.getLogger(__name__)

Arrays = list[NDArray[Any]]

FOLDER = Path(".checkpoints")
LIBRARIES = ("tensorflow", "keras", "numpy")  # whose next release may add up otherwise
DONE = ".done.npz"  # how the name of a finished training's ends


@dataclass(frozen=True)
class State:
    """A training after an epoch."""

    curves: Sequence[tuple[float, ...]]  # an epoch each
    variables: Arrays  # of the network and of its optimizer
    best_weights: Arrays  # of the network, after its best epoch


def key_of(params: object, *inputs: Path) -> str:
    """Names a training: on one machine, equal keys give equal weights, bit for bit."""
    code = sorted(Path(__file__).parents[1].rglob("*.py"))
    made_by = [platform.python_version(), *map(version, LIBRARIES)]
    return hashlib.sha256(repr((params, made_by, combined_sha256(*inputs, *code))).encode()).hexdigest()[:32]


class Checkpoint:
    """The newest state of one training."""

    def __init__(self, key: str) -> None:
        self._open, self._done = FOLDER / f"{key}.npz", FOLDER / f"{key}{DONE}"

    def save(self, state: State) -> None:
        """Replaces what was saved before. Raises: PipelineError on a full disk."""
        arrays: dict[str, Any] = {f"variable {n:04}": value for n, value in enumerate(state.variables)}
        arrays |= {f"best {n:04}": value for n, value in enumerate(state.best_weights)}
        with atomic_path(self._open) as temporary, temporary.open("wb") as file:
            np.savez(file, curves=np.array(state.curves), **arrays)

    def load(self) -> State | None:
        """The state to go on from, of a finished training too; None when there is none that is whole."""
        for path in (self._done, self._open):
            if path.exists():
                try:
                    return _state(path)
                except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
                    log.warning("%s: not readable (%s); the training begins anew", path, error)
        return None

    def finish(self) -> None:
        """Marks a training that has ended; its state stays until `drop_finished`."""
        if self._open.exists():
            self._open.replace(self._done)


def _state(path: Path) -> State:
    with np.load(path) as arrays:
        curves = [tuple(epoch) for epoch in arrays["curves"].tolist()]
        variables, best = (
            [arrays[name] for name in sorted(arrays) if name.startswith(kind)]
            for kind in ("variable", "best")
        )
        return State(curves, variables, best)


def drop_finished() -> None:
    """Forgets the trainings that ended: register calls it, when DVC has their outputs."""
    for path in FOLDER.glob(f"*{DONE}"):
        path.unlink()
