"""Small models for tests: a real one in a registry of its own, and hand-written ones without TensorFlow."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.models import keras_files
from pipeline.models.served_model import SpamDetector
from pipeline.preprocessing.tokenizer import fit_tokenizer
from pipeline.registry import versions
from pipeline.tracking.mlflow_client import MODEL_NAME
from tests.harness.small_networks import small_network
from tests.harness.small_project import MESSAGES

TEXTS = pd.read_csv(MESSAGES)["body"].tolist()
HAND_WRITTEN = """
import mlflow, os, pandas, signal, time
class Model(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        {load}
    def predict(self, context, model_input, params=None):
        texts = model_input if isinstance(model_input, pandas.Series) else model_input["text"]
        {predict}
mlflow.models.set_model(Model())
"""


def hand_written(folder: Path, predict: str = "return None", load: str = "pass") -> str:
    """A model of MLflow in a folder; its two statements run where it is loaded, in a process of its own."""
    import mlflow

    code = folder / "hand_written.py"
    code.write_text(HAND_WRITTEN.format(predict=predict, load=load))
    mlflow.pyfunc.save_model(folder / "model", python_model=str(code), pip_requirements=[])
    return str(folder / "model")


@dataclass(frozen=True)
class Registered:
    """A version in the registry, and the same model here."""

    uri: str
    artifacts: Path  # where the registry keeps its files
    here: SpamDetector

    def answers(self, texts: list[str]) -> pd.DataFrame:
        return self.here.predict(None, pd.DataFrame({"text": texts}))


class Registry:
    """An MLflow in a folder, with a small network; each version of it has its own copy of the files."""

    def __init__(self, folder: Path, database: Path) -> None:
        self.folder = folder
        self.address = f"sqlite:///{folder}/mlflow.db"
        shutil.copyfile(database, folder / "mlflow.db")
        tokenizer = fit_tokenizer(
            TEXTS, vocabulary_size=400, sequence_length=30
        )
        (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
        network = small_network(tokenizer.get_vocab_size(), seed=7, scale=3)
        keras_files.export(network, folder / "network")
        bare = SpamDetector().load(folder / "tokenizer.json", folder / "network")
        middle = float(np.median(bare.scores(TEXTS)))  # so that both labels occur
        self.decide(slope=1.0, intercept=0.0, threshold=middle)

    def decide(self, **decision: float) -> None:
        (self.folder / "decision.json").write_text(json.dumps(decision))

    def add(self) -> Registered:
        """Registers the model as it is. MLFLOW_TRACKING_URI must be the address."""
        import mlflow
        from mlflow.models import infer_signature

        client = mlflow.MlflowClient(self.address, self.address)
        parts = {"tokenizer": "tokenizer.json", "network": "network", "decision": "decision.json"}
        artifacts = {part: str(self.folder / name) for part, name in parts.items()}
        here = SpamDetector().load(**{part: Path(path) for part, path in artifacts.items()})
        example = pd.DataFrame({"text": TEXTS[:2]})
        if not client.get_experiment_by_name(MODEL_NAME):
            client.create_experiment(MODEL_NAME, artifact_location=(self.folder / "mlartifacts").as_uri())
        mlflow.set_experiment(MODEL_NAME)
        logged: Any = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(versions.SERVED_MODEL),
            artifacts=artifacts,
            pip_requirements=[],
            signature=infer_signature(example, here.predict(None, example)),
        )
        version = mlflow.register_model(logged.model_uri, MODEL_NAME).version
        files = self.folder / "mlartifacts" / "models" / logged.model_id / "artifacts" / "artifacts"
        return Registered(f"models:/{MODEL_NAME}/{version}", files, here)
