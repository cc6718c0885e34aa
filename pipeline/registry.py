"""The registry: a version for each model, and the alias of the one in service."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.models import infer_signature

from pipeline.connection import NAME, connected, experiment, once
from pipeline.stage import PipelineError

CHAMPION = "champion"  # the alias of the version in service
SERVED_MODEL = Path(__file__).with_name("served_model.py")


@dataclass(frozen=True)
class ModelFiles:
    """The parts of the one MLflow model, as `served_model.py` names them."""

    tokenizer: Path
    network: Path  # a TensorFlow SavedModel
    decision: Path
    requirements: list[str]  # pip's, pinned
    example: pd.DataFrame  # input, one column `text`
    answer: pd.DataFrame  # what the model says of it


def version_of(model_hash: str) -> str | None:
    """The registry's version of these bytes, if it has one."""
    with connected() as client:
        return _version_of(client, model_hash)


def _version_of(client: MlflowClient, model_hash: str) -> str | None:
    found = client.search_model_versions(f"name = '{NAME}' and tags.model_hash = '{model_hash}'")
    return min((str(version.version) for version in found), key=int, default=None)


def add_version(run_id: str, files: ModelFiles, tags: Mapping[str, str]) -> str:
    """Logs the model to its run and registers it, with tags that name `model_hash`. Returns the version."""
    with connected() as client:
        with mlflow.start_run(run_id):
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(SERVED_MODEL),
                artifacts={part: str(getattr(files, part)) for part in ("tokenizer", "network", "decision")},
                pip_requirements=files.requirements,
                signature=infer_signature(files.example, files.answer),
                input_example=files.example,
            )
        for model in client.search_logged_models([experiment(client)], f"source_run_id = '{run_id}'"):
            if model.model_id != logged.model_id:  # half of one, from a run that was killed here
                client.delete_logged_model(model.model_id)
        return once(
            lambda: _version_of(client, tags["model_hash"]),
            lambda: str(mlflow.register_model(logged.model_uri, NAME, tags=dict(tags)).version),
        )


def describe_version(version: str, verdict: str, description: str) -> None:
    """What the registry says of a version: its last verdict, and its figures in Markdown."""
    with connected() as client:
        client.set_model_version_tag(NAME, version, "verdict", verdict)
        client.update_model_version(NAME, version, description)


def champion() -> str | None:
    """The version in service; None only when the registry says that there is none."""
    with connected() as client:
        models = client.search_registered_models(f"name = '{NAME}'")
        version = models[0].aliases.get(CHAMPION) if models else None
        return None if version is None else str(version)


def promote(version: str) -> None:
    """Gives this version the alias `champion`."""
    with connected() as client:
        client.set_registered_model_alias(NAME, CHAMPION, version)


def load_champion() -> tuple[Any, str]:
    """The model in service, as MLflow loads it, and its version. Raises: PipelineError."""
    version = champion()
    if version is None:
        raise PipelineError(f"models:/{NAME}@{CHAMPION}: there is none yet; run `make repro`")
    with connected(), _hushed():
        return mlflow.pyfunc.load_model(f"models:/{NAME}/{version}"), version


@contextmanager
def _hushed() -> Iterator[None]:
    """TensorFlow greets from C++ while it is imported, and listens to no setting."""
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)
