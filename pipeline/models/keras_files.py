"""Saves and loads Keras models; equal weights give equal bytes."""

import json
import re
import tempfile
import zipfile
from pathlib import Path

import keras

from pipeline.core.errors import PipelineError, convert_os_errors
from pipeline.core.files import REBUILD_HINT, atomic_path
from pipeline.models import wide
from pipeline.models.dnc import DNCCell

FIXED_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip file can hold
OBJECT_ID = re.compile(rb'(?<="shared_object_id": )\d+')  # a memory address, different each time
LAYER_MODULE = re.compile(rb'(?<="module": )"pipeline\.models\.(wide\w*|dnc)"')  # of OUR_LAYERS
FIXED_MODULE = b'"pipeline.wide"'  # wherever our code lies; Keras uses the registered name instead
OUR_LAYERS = wide.CUSTOM_LAYERS | {"spam_detector>DNCCell": DNCCell}


def save(model: keras.Model, path: Path) -> None:
    """Writes `path` in Keras' format, in canonical form: equal weights give equal bytes."""
    with tempfile.TemporaryDirectory() as folder, atomic_path(path) as temporary:
        raw = Path(folder) / "raw.keras"
        with convert_os_errors(folder):
            model.save(raw)
        with zipfile.ZipFile(raw) as source, zipfile.ZipFile(temporary, "w") as target:
            for name in sorted(source.namelist()):
                content = _canonical(name, source.read(name))
                target.writestr(zipfile.ZipInfo(name, FIXED_DATE), content)


def load(path: Path) -> keras.Model:
    """The network in a `.keras` file. Raises: PipelineError."""
    if not path.exists():
        raise PipelineError(f"{path}: missing; {REBUILD_HINT}")
    try:
        if not zipfile.is_zipfile(path):  # Keras would report it as missing
            raise zipfile.BadZipFile("it is no zip file")
        return keras.saving.load_model(path, OUR_LAYERS, compile=False)
    except Exception as error:  # of any type, as a damaged file reaches deep into Keras
        problem = next(iter(str(error).splitlines()), type(error).__name__)
        raise PipelineError(f"{path}: not a Keras network ({problem}); {REBUILD_HINT}") from error


def export(model: keras.Model, folder: Path) -> None:
    """Writes the network as a TensorFlow SavedModel, which loads without our code."""
    with convert_os_errors(folder):
        model.export(folder, verbose=False)


def _canonical(name: str, content: bytes) -> bytes:
    """A member of the zip file without dates, memory addresses and the place of our code."""
    if name == "metadata.json":
        return json.dumps(json.loads(content) | {"date_saved": "1980-01-01"}).encode()
    if name == "config.json":
        numbers: dict[bytes, int] = {}
        content = OBJECT_ID.sub(lambda x: b"%d" % numbers.setdefault(x[0], len(numbers)), content)
        return LAYER_MODULE.sub(FIXED_MODULE, content)
    return content
