"""A model's files as they are served: loaded here to ask them, or parted for the registry."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.dvc_cache import file_md5
from pipeline.core.hashing import combined_sha256
from pipeline.core.schemas import SEEN_ROWS
from pipeline.core.tables import read_parquet, write_parquet
from pipeline.registry import versions
from pipeline.registry.versions import ModelFiles

if TYPE_CHECKING:
    from pipeline.models.served_model import SpamDetector

REQUIREMENTS = (
    "mlflow",
    "tensorflow",
    "tokenizers",
    "pandas",
    "numpy",
)  # all that served_model.py imports
LEARNED = ["train", "val"]  # the splits that it was trained, stopped and calibrated on


@dataclass(frozen=True)
class Package:
    """The files of a model, as stages wrote them or as DVC's cache gave them back."""

    tokenizer: Path
    network: Path  # model.keras
    decision: Path
    splits: Path
    folder: Path  # a temporary one, for what is made of them

    @cached_property
    def model_hash(self) -> str:
        """Names the model: what it answers depends on these bytes alone."""
        return combined_sha256(self.network, self.tokenizer, self.decision)

    def md5s(self) -> Mapping[str, str]:
        """What brings these files back from DVC."""
        files = {
            name: getattr(self, name) for name in ("tokenizer", "network", "decision", "splits")
        }
        return {name: file_md5(path) for name, path in files.items()}

    @cached_property
    def _saved(self) -> Path:
        # imported here: TensorFlow takes seconds, and a registered model does not need it
        from pipeline.models import keras_files

        keras_files.export(keras_files.load(self.network), self.folder / "network")
        return self.folder / "network"

    @cached_property
    def _detector(self) -> "SpamDetector":
        from pipeline.models.served_model import SpamDetector

        return SpamDetector().load(self.tokenizer, self._saved, self.decision)

    def answers(self, texts: list[str]) -> pd.DataFrame:
        """Label, probability and threshold of each text, by the code that serves."""
        return self._detector.predict(None, pd.DataFrame({"text": texts}, dtype="str"))

    def files(self) -> ModelFiles:
        """The parts of the MLflow model, with an example and its answer."""
        seen = self.folder / "seen.parquet"
        rows = read_parquet(self.splits, [*SEEN_ROWS.names, "split", "left_out"])
        used = pc.and_(
            pc.is_in(rows["split"], pa.array(LEARNED, rows["split"].type)),
            pc.invert(rows["left_out"]),
        )
        write_parquet(seen, rows.filter(used).select(SEEN_ROWS.names).to_batches(), SEEN_ROWS)
        pins = [f"{package}=={installed(package)}" for package in REQUIREMENTS]
        example, answer = pd.DataFrame({"text": versions.EXAMPLES}), self.answers(versions.EXAMPLES)
        return ModelFiles(self.tokenizer, self._saved, self.decision, seen, pins, example, answer)


@contextmanager
def packaged(tokenizer: Path, network: Path, decision: Path, splits: Path) -> Iterator[Package]:
    """The package of these files, while the block runs."""
    with TemporaryDirectory() as folder:
        yield Package(tokenizer, network, decision, splits, Path(folder))
