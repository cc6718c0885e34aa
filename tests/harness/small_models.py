"""Small models: real ones in a registry, and hand-written ones without TensorFlow."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature, infer_signature

from pipeline.models import keras_files
from pipeline.models.served_model import SpamDetector
from pipeline.preprocessing.tokenizer import fit_tokenizer, tokenizer_json
from pipeline.registry import versions
from pipeline.tracking.mlflow_client import MODEL_NAME
from tests.harness.small_networks import small_network
from tests.harness.small_project import MESSAGES

TEXTS = pd.read_csv(MESSAGES)["body"].tolist()
FILES = {"tokenizer": "tokenizer.json", "network": "network", "decision": "decision.json"}
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


def save_hand_written(folder: Path, predict: str = "return None", load: str = "pass") -> str:
    """Saves an MLflow model in a folder and returns its path.

    Args:
        predict, load: statements that run where the model predicts and where it is loaded.
    """
    code = folder / "hand_written.py"
    code.write_text(HAND_WRITTEN.format(predict=predict, load=load))
    mlflow.pyfunc.save_model(folder / "model", python_model=str(code), pip_requirements=[])
    return str(folder / "model")


def plain_decision(threshold: float) -> dict[str, float]:
    """The fields of a decision that takes scores for probabilities; every label is confident."""
    confident = {"confident_ham": threshold, "confident_spam": threshold}
    return {"slope": 1.0, "intercept": 0.0, "threshold": threshold} | confident


@dataclass(frozen=True)
class RegisteredModel:
    """A version in the registry, and the same model here."""

    uri: str
    artifacts: Path  # the folder in which the registry keeps its files
    detector: SpamDetector

    def answers(self, texts: list[str]) -> pd.DataFrame:
        return self.detector.predict(None, pd.DataFrame({"text": texts}))


class SmallRegistry:
    """An MLflow in a folder, with a small network; each version has its own copy of the files."""

    def __init__(self, folder: Path, database: Path) -> None:
        self.folder = folder
        self.address = f"sqlite:///{folder}/mlflow.db"
        shutil.copyfile(database, folder / "mlflow.db")
        tokenizer = fit_tokenizer(TEXTS, vocabulary_size=400, sequence_length=30)
        (folder / "tokenizer.json").write_text(
            tokenizer_json(tokenizer, window_length=250), encoding="utf-8"
        )
        network = small_network(tokenizer.get_vocab_size(), seed=7, scale=3)
        keras_files.export(network, folder / "network")
        detector = SpamDetector().load(folder / "tokenizer.json", folder / "network")
        median = float(np.median(detector.scores(TEXTS)))  # so that both labels occur
        decision = plain_decision(median) | {"sources": {"sms": plain_decision(0.9)}}
        (folder / "decision.json").write_text(json.dumps(decision))

    def add(self) -> RegisteredModel:
        """Registers the model as it is. MLFLOW_TRACKING_URI must be the address."""
        client = mlflow.MlflowClient(self.address, self.address)
        paths = {name: self.folder / file for name, file in FILES.items()}
        detector = SpamDetector().load(**paths)
        example = pd.DataFrame({"text": TEXTS[:2]})
        artifacts = self.folder / "mlartifacts"
        if not client.get_experiment_by_name(MODEL_NAME):
            client.create_experiment(MODEL_NAME, artifact_location=artifacts.as_uri())
        mlflow.set_experiment(MODEL_NAME)
        logged: Any = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(versions.SERVED_MODEL),
            artifacts={name: str(path) for name, path in paths.items()},
            pip_requirements=[],
            signature=ModelSignature(
                versions.MODEL_INPUTS,
                infer_signature(example, detector.predict(None, example)).outputs,
            ),
        )
        number = mlflow.register_model(logged.model_uri, MODEL_NAME).version
        files = artifacts / "models" / logged.model_id / "artifacts" / "artifacts"
        return RegisteredModel(f"models:/{MODEL_NAME}/{number}", files, detector)
