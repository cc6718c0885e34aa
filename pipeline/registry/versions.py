"""The registry: a version for each model, and the aliases of those in service, before it and after it."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.models import infer_signature

from pipeline.core.errors import PipelineError
from pipeline.tracking.mlflow_client import MODEL_NAME, connect, experiment_id, find_or_create

CHAMPION = "champion"  # the alias of the version in service
PREVIOUS = "previous"  # of the one that was in service before it
CHALLENGER = "challenger"  # of the one that was judged last, and is not in service
RESTORED_AS = "restored_as"  # of a version that was rebuilt: the number that it must have
EXAMPLES = ["WIN a prize now! Text CLAIM to 87121", "are we still on for lunch?"]
PARTS = ("tokenizer", "network", "decision", "seen")
SERVED_MODEL = Path(__file__).parents[1] / "models" / "served_model.py"


@dataclass(frozen=True)
class ModelFiles:
    """The parts of the one MLflow model, as `served_model.py` names them."""

    tokenizer: Path
    network: Path  # a TensorFlow SavedModel
    decision: Path
    seen: Path  # message_id and campaign_key of each row that it was trained, stopped or calibrated on
    requirements: list[str]  # pip's, pinned
    example: pd.DataFrame  # input, one column `text`
    answer: pd.DataFrame  # what the model says of it


@dataclass(frozen=True)
class Version:
    """A model in the registry: its number, and what is said of it."""

    number: str
    tags: Mapping[str, str]


def all_versions() -> dict[str, Version]:
    """All versions, by number, rising."""
    with connect() as client:
        found = client.search_model_versions(f"name = '{MODEL_NAME}'")
        return {str(v.version): Version(str(v.version), v.tags) for v in sorted(found, key=_number)}


def version_of(model_hash: str) -> Version | None:
    """The registry's version of these bytes, if it has one."""
    with connect() as client:
        return _version_of(client, model_hash)


def _version_of(client: MlflowClient, model_hash: str) -> Version | None:
    found = client.search_model_versions(f"name = '{MODEL_NAME}' and tags.model_hash = '{model_hash}'")
    first = min(found, key=_number, default=None)
    return first and Version(str(first.version), first.tags)


def _number(version: Any) -> int:
    return int(version.version)


def add_version(
    run_id: str, files: ModelFiles, tags: Mapping[str, str], number: int = 0
) -> Version:
    """Logs the model to its run and registers it, with tags that name `model_hash`.

    number: the least that the version may have; MLflow counts by itself, and uses no number twice.
    """
    with connect() as client:
        with mlflow.start_run(run_id):
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(SERVED_MODEL),
                artifacts={part: str(getattr(files, part)) for part in PARTS},
                pip_requirements=files.requirements,
                signature=infer_signature(files.example, files.answer),
                input_example=files.example,
            )
        for model in client.search_logged_models(
            [experiment_id(client)], f"source_run_id = '{run_id}'"
        ):
            if model.model_id != logged.model_id:  # half of one, from a run that was killed here
                client.delete_logged_model(model.model_id)

        def create() -> Version:
            known = {**tags, **({RESTORED_AS: str(number)} if number else {})}
            made = mlflow.register_model(logged.model_uri, MODEL_NAME, tags=known)
            return Version(str(made.version), known)

        version = find_or_create(lambda: _version_of(client, tags["model_hash"]), create)
        while int(version.number) < number and version.tags.get(RESTORED_AS) == str(number):
            client.delete_model_version(MODEL_NAME, version.number)
            version = find_or_create(lambda: _version_of(client, tags["model_hash"]), create)
        return version


def set_tags(number: str, tags: Mapping[str, str]) -> None:
    """Says so of a version."""
    with connect() as client:
        for name, value in tags.items():
            client.set_model_version_tag(MODEL_NAME, number, name, value)


def set_description(number: str, description: str) -> None:
    """A version's figures, in Markdown."""
    with connect() as client:
        client.update_model_version(MODEL_NAME, number, description)


# ---- aliases


def alias_numbers() -> dict[str, str]:
    """The version of each alias; empty only when the registry says that there is none."""
    with connect() as client:
        models = client.search_registered_models(f"name = '{MODEL_NAME}'")
        return (
            {alias: str(version) for alias, version in models[0].aliases.items()} if models else {}
        )


def champion_number() -> str | None:
    """The version in service; None only when the registry says that there is none."""
    return alias_numbers().get(CHAMPION)


def set_alias(alias: str, number: str) -> None:
    """Gives this version the alias."""
    with connect() as client:
        client.set_registered_model_alias(MODEL_NAME, alias, number)


def promote(number: str, tags: Mapping[str, str], after: str | None) -> None:
    """Gives this version the alias `champion`, which `after` has now; killed anywhere, it may be repeated.

    tags: what shall be said of the version; they are there before the alias is.
    Raises: PipelineError, when another version has become the champion meanwhile.
    """
    held = alias_numbers().get(CHAMPION)
    if held not in (after, number):
        raise PipelineError(
            f"models:/{MODEL_NAME}@{CHAMPION}: version {held} took it meanwhile; run it again"
        )
    set_tags(number, tags)
    set_alias(CHAMPION, number)
    update_other_aliases(number, after)


def update_other_aliases(number: str, before: str | None) -> None:
    """The other aliases as they must be when this version is the champion, and `before` was."""
    held = alias_numbers()
    if before not in (None, number, held.get(PREVIOUS)):
        set_alias(PREVIOUS, str(before))
    if held.get(CHALLENGER) == number:
        with connect() as client:
            client.delete_registered_model_alias(MODEL_NAME, CHALLENGER)


# ---- models


def load_version(number: str) -> Any:
    """The model of this version, as MLflow loads it. Raises: PipelineError."""
    with connect(), _hushed():
        return mlflow.pyfunc.load_model(f"models:/{MODEL_NAME}/{number}")


def load_champion() -> tuple[Any, str]:
    """The model in service, as MLflow loads it, and its version. Raises: PipelineError."""
    number = champion_number()
    if number is None:
        raise PipelineError(f"models:/{MODEL_NAME}@{CHAMPION}: there is none yet; run `make repro`")
    return load_version(number), number


@contextmanager
def downloaded(number: str) -> Iterator[Path]:
    """The folder of this version's MLflow model, while the block runs. Raises: PipelineError."""
    with tempfile.TemporaryDirectory() as folder:
        with connect():
            path = mlflow.artifacts.download_artifacts(f"models:/{MODEL_NAME}/{number}", dst_path=folder)
        yield Path(path)


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
