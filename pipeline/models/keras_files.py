"""Saves and loads Keras models: equal weights are equal bytes."""

import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers, ops

from pipeline.core.errors import PipelineError, convert_os_errors
from pipeline.core.files import REBUILD_HINT, atomic_path

FIXED_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file knows
ADDRESS = re.compile(rb'(?<="shared_object_id": )\d+')  # of an object that layers share, in memory


# ---- their file


def save(model: keras.Model, path: Path) -> None:
    """Writes `path` in Keras' format, made canonical, so that equal weights are equal bytes."""
    with tempfile.TemporaryDirectory() as folder, atomic_path(path) as temporary:
        raw = Path(folder) / "raw.keras"
        with convert_os_errors(folder):
            model.save(raw)
        with zipfile.ZipFile(raw) as source, zipfile.ZipFile(temporary, "w") as target:
            for name in sorted(source.namelist()):
                target.writestr(zipfile.ZipInfo(name, FIXED_DATE), _canonical(name, source.read(name)))


def _canonical(name: str, content: bytes) -> bytes:
    """A file of the zip without what differs each time: the date, and addresses in memory."""
    if name == "metadata.json":
        return json.dumps(json.loads(content) | {"date_saved": "1980-01-01"}).encode()
    if name == "config.json":
        numbers: dict[bytes, int] = {}
        return ADDRESS.sub(lambda found: b"%d" % numbers.setdefault(found[0], len(numbers)), content)
    return content


def load(path: Path) -> keras.Model:
    """The network of a `model.keras`. Raises: PipelineError."""
    if not path.exists():
        raise PipelineError(f"{path}: missing; {REBUILD_HINT}")
    try:
        if not zipfile.is_zipfile(path):  # of which Keras says that it is not there
            raise zipfile.BadZipFile("it is no zip file")
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        problem = str(error).splitlines()[0]
        raise PipelineError(f"{path}: not a Keras network ({problem}); {REBUILD_HINT}") from error


def export(model: keras.Model, folder: Path) -> None:
    """Writes the network as a TensorFlow SavedModel, which is loaded without any code of ours."""
    with convert_os_errors(folder):
        model.export(folder, verbose=False)
