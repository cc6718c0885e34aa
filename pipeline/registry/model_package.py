"""Packages a model's files as they are served, and asks the packaged model."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version as installed_version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from pipeline.core.files import read_bytes
from pipeline.core.hashing import file_sha256
from pipeline.core.schemas import SEEN_ROWS
from pipeline.core.tables import write_parquet
from pipeline.registry import versions
from pipeline.registry.versions import ModelFiles

if TYPE_CHECKING:
    from pipeline.models.served_model import SpamDetector

REQUIREMENTS = ("mlflow", "tensorflow", "tokenizers", "pandas", "numpy")  # of served_model.py
MODEL_FILES = ("tokenizer", "evaluated", "network", "decision")  # fields of ModelPackage
EVALUATED_SPLITS = ("train", "val")  # from which the evaluated network and its decision come
SERVED_SPLITS = (*EVALUATED_SPLITS, "test")  # from which a refitted network comes


@dataclass(frozen=True)
class ModelHashes:
    """Hashes of a model's files, each file read once."""

    model: str  # names the model: its answers depend on network, tokenizer and decision alone
    network: str
    md5s: Mapping[str, str]  # by name of the file in ModelPackage, and splits; as in DVC's cache


def hash_model(
    *, tokenizer: Path, network: Path, evaluated: Path, decision: Path, splits: Path
) -> ModelHashes:
    """The hashes of a model's files. Raises: PipelineError."""
    paths = {
        "tokenizer": tokenizer,
        "network": network,
        "evaluated": evaluated,
        "decision": decision,
        "splits": splits,
    }
    sha256s = {}
    md5s = {}
    for name, path in paths.items():
        content = read_bytes(path)
        sha256s[name] = hashlib.sha256(content).digest()
        md5s[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()
    parts = sha256s["network"] + sha256s["tokenizer"] + sha256s["decision"]
    return ModelHashes(
        model=hashlib.sha256(parts).hexdigest(),
        network=hashlib.sha256(sha256s["network"]).hexdigest(),
        md5s=md5s,
    )


@dataclass(frozen=True)
class ModelPackage:
    """The files of a model, as the stages or DVC's cache wrote them."""

    tokenizer: Path
    network: Path  # model.keras, which serves
    evaluated: Path  # evaluated.keras, which has not learned from test
    decision: Path
    splits: pd.DataFrame  # columns of schemas.SPLITS
    folder: Path  # temporary, for the files that are made of them

    @cached_property
    def _saved_model(self) -> Path:
        return _export(self.network, self.folder / "network")

    @cached_property
    def _saved_evaluated(self) -> Path | None:
        """None if the network that serves is the evaluated one."""
        if file_sha256(self.evaluated) == file_sha256(self.network):
            return None
        return _export(self.evaluated, self.folder / "evaluated")

    @cached_property
    def _detector(self) -> "SpamDetector":
        return self._load(self._saved_model)

    def _load(self, saved_model: Path) -> "SpamDetector":
        from pipeline.models.served_model import SpamDetector

        return SpamDetector().load(self.tokenizer, saved_model, self.decision)

    def answers(self, messages: pd.DataFrame) -> pd.DataFrame:
        """The answer to a table of text and, if known, source, by the code that serves."""
        return self._detector.predict(None, messages)

    def evaluated_answers(self, messages: pd.DataFrame) -> pd.DataFrame:
        """The same of the network that has not learned from test."""
        if self._saved_evaluated is None:
            return self.answers(messages)
        return self._load(self._saved_evaluated).predict(None, messages)

    def files(self) -> ModelFiles:
        """The files of the MLflow model, with its answer to the examples."""
        return ModelFiles(
            tokenizer=self.tokenizer,
            network=self._saved_model,
            evaluated=self._saved_evaluated,
            decision=self.decision,
            seen=self._write_seen_rows(),
            requirements=[f"{name}=={installed_version(name)}" for name in REQUIREMENTS],
            answer=self.answers(versions.EXAMPLES),
        )

    def _write_seen_rows(self) -> Path:
        names = SERVED_SPLITS if self._saved_evaluated else EVALUATED_SPLITS
        seen = self.splits["split"].isin(names) & ~self.splits["left_out"]
        path = self.folder / "seen.parquet"
        rows = pa.Table.from_pandas(self.splits[seen], SEEN_ROWS, preserve_index=False)
        write_parquet(path, rows.to_batches(), SEEN_ROWS)
        return path


def _export(network: Path, folder: Path) -> Path:
    """The folder, in which the network is now a SavedModel."""
    # imported here: TensorFlow takes seconds, and a registered model does not need it
    from pipeline.models import keras_files

    keras_files.export(keras_files.load(network), folder)
    return folder


@contextmanager
def packaged_model(
    *, tokenizer: Path, network: Path, evaluated: Path, decision: Path, splits: pd.DataFrame
) -> Iterator[ModelPackage]:
    """The package of these files, with a temporary folder for the length of the block."""
    with TemporaryDirectory() as folder:
        yield ModelPackage(
            tokenizer=tokenizer,
            network=network,
            evaluated=evaluated,
            decision=decision,
            splits=splits,
            folder=Path(folder),
        )
