"""Versions of the model in the MLflow registry, and their aliases."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, Schema

from pipeline.core.errors import PipelineError
from pipeline.registry.package_hash import PACKAGE_TAG, hash_package, package_problem
from pipeline.tracking.mlflow_client import MODEL_NAME, connect, experiment_id, find_or_create

CHAMPION = "champion"  # alias of the version in service
PREVIOUS = "previous"  # alias of the champion before
CHALLENGER = "challenger"  # alias of the last version that was decided on and does not serve
REFERENCE = "reference"  # alias that a person sets: new models are compared with this version, too
RESTORED_AS = "restored_as"  # tag of a rebuilt version: the number that it must have
REBUILD_ALL = "`python -m pipeline ledger restore --anew` rebuilds every champion from DVC's files"
EXAMPLES = pd.DataFrame(
    {"text": ["WIN a prize now! Text CLAIM to 87121", "are we still on for lunch?"]}
)
MODEL_INPUTS = Schema([ColSpec("string", "text"), ColSpec("string", "source", required=False)])
ARTIFACTS = ("tokenizer", "network", "evaluated", "decision", "seen")  # fields of ModelFiles
SERVED_MODEL = Path(__file__).parents[1] / "models" / "served_model.py"


class RegistryDamagedError(PipelineError):
    """The registry has lost something, or has other files or another record than promoted."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of an MLflow model, named as in `served_model.py`, with an example's answer."""

    tokenizer: Path
    network: Path  # a TensorFlow SavedModel
    evaluated: Path | None  # the same, of the evaluated network if that is another
    decision: Path
    seen: Path  # Parquet with the columns of schemas.SEEN_ROWS
    requirements: list[str]  # pinned, as pip takes them
    answer: pd.DataFrame  # output for EXAMPLES


@dataclass(frozen=True)
class Version:
    """A version in the registry."""

    number: str
    tags: Mapping[str, str]


def all_versions() -> dict[str, Version]:
    """All versions by number, in ascending order."""
    with connect() as client:
        found = sorted(client.search_model_versions(f"name = '{MODEL_NAME}'"), key=_number)
        return {str(version.version): _as_version(version) for version in found}


def find_version(model_hash: str) -> Version | None:
    """The first version with this model; None if there is none."""
    with connect() as client:
        return _find_version(client, model_hash)


def _find_version(client: MlflowClient, model_hash: str) -> Version | None:
    query = f"name = '{MODEL_NAME}' and tags.model_hash = '{model_hash}'"
    first = min(client.search_model_versions(query), key=_number, default=None)
    return _as_version(first) if first else None


def _as_version(version: Any) -> Version:
    return Version(str(version.version), version.tags)


def _number(version: Any) -> int:
    return int(version.version)


def add_version(
    run_id: str, files: ModelFiles, tags: Mapping[str, str], number: int = 0
) -> Version:
    """Logs the model to its run and registers it; a model that has a version gets no second one.

    Args:
        tags: with `model_hash`; PACKAGE_TAG is added.
        number: the number that a restored version must have at least; MLflow counts up itself
            and never reuses a number.
    """
    if number:
        tags = {**tags, RESTORED_AS: str(number)}
    with connect() as client:
        model_uri = _log_model(client, run_id, files)
        with tempfile.TemporaryDirectory() as folder:
            tags = {**tags, PACKAGE_TAG: hash_package(_download(model_uri, Path(folder)))}

        def create() -> Version:
            registered = mlflow.register_model(model_uri, MODEL_NAME, tags=dict(tags))
            return Version(str(registered.version), tags)

        version = find_or_create(lambda: _find_version(client, tags["model_hash"]), create)
        while int(version.number) < number and version.tags.get(RESTORED_AS) == str(number):
            client.delete_model_version(MODEL_NAME, version.number)
            version = find_or_create(lambda: _find_version(client, tags["model_hash"]), create)
        return version


def _log_model(client: MlflowClient, run_id: str, files: ModelFiles) -> str:
    """Logs the model to its run, deletes what a killed call left there, and returns its URI."""
    with mlflow.start_run(run_id):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SERVED_MODEL),
            artifacts={name: str(path) for name in ARTIFACTS if (path := getattr(files, name))},
            pip_requirements=files.requirements,
            signature=ModelSignature(MODEL_INPUTS, infer_signature(EXAMPLES, files.answer).outputs),
            input_example=EXAMPLES,
        )
    models = client.search_logged_models([experiment_id(client)], f"source_run_id = '{run_id}'")
    for model in models:
        if model.model_id != logged.model_id:
            client.delete_logged_model(model.model_id)
    return str(logged.model_uri)


def delete_version(number: str) -> None:
    """Deletes a version; MLflow does not use its number again."""
    with connect() as client:
        client.delete_model_version(MODEL_NAME, number)


def set_aside() -> str | None:
    """Renames the registered model, so that versions count from 1 again; returns the new name."""
    with connect() as client:
        models = client.search_registered_models(f"name = '{MODEL_NAME}'")
        for model in models:
            changed = datetime.fromtimestamp(model.last_updated_timestamp / 1000, UTC)
            new_name = f"{MODEL_NAME}-until-{changed:%Y%m%dT%H%M%S}"
            client.rename_registered_model(MODEL_NAME, new_name)
            return new_name
    return None


def set_tags(number: str, tags: Mapping[str, str]) -> None:
    """Sets tags of a version."""
    with connect() as client:
        for name, value in tags.items():
            client.set_model_version_tag(MODEL_NAME, number, name, value)


def set_description(number: str, description: str) -> None:
    """Sets the description of a version, in Markdown."""
    with connect() as client:
        client.update_model_version(MODEL_NAME, number, description)


# ---- aliases


def alias_numbers() -> dict[str, str]:
    """The version number of each alias; empty only if the registry answers that there is none."""
    with connect() as client:
        models = client.search_registered_models(f"name = '{MODEL_NAME}'")
        aliases = models[0].aliases if models else {}
        return {alias: str(number) for alias, number in aliases.items()}


def champion_number() -> str | None:
    """The number of the champion; None only if the registry answers that there is none."""
    return alias_numbers().get(CHAMPION)


def find_champion() -> Version | None:
    """The champion; None only if the registry answers that there is none."""
    return all_versions().get(champion_number() or "")


def set_alias(alias: str, number: str) -> None:
    """Gives the alias to a version."""
    with connect() as client:
        client.set_registered_model_alias(MODEL_NAME, alias, number)


def promote(number: str, tags: Mapping[str, str], after: str | None) -> None:
    """Gives a version the alias `champion`; after a kill at any point it can be repeated.

    Args:
        tags: tags of the version, set before the alias.
        after: the number of the present champion.

    Raises: PipelineError if the champion is neither `after` nor this version.
    """
    champion = champion_number()
    if champion not in (after, number):
        raise PipelineError(
            f"models:/{MODEL_NAME}@{CHAMPION}: version {champion} became the champion meanwhile; "
            "run it again"
        )
    set_tags(number, tags)
    set_alias(CHAMPION, number)
    update_other_aliases(number, after)


def update_other_aliases(number: str, before: str | None) -> None:
    """Sets `previous` to `before`, and removes `challenger` from the new champion `number`."""
    aliases = alias_numbers()
    if before not in (None, number, aliases.get(PREVIOUS)):
        set_alias(PREVIOUS, str(before))
    if aliases.get(CHALLENGER) == number:
        with connect() as client:
            client.delete_registered_model_alias(MODEL_NAME, CHALLENGER)


def remove_aliases() -> None:
    """Takes all aliases away, the champion's last, so that a killed call can be repeated."""
    with connect() as client:
        for alias in (REFERENCE, PREVIOUS, CHALLENGER, CHAMPION):
            client.delete_registered_model_alias(MODEL_NAME, alias)


# ---- models


def load_version(number: str) -> Any:
    """The model of a version, as MLflow loads it. Raises: as `downloaded_version`."""
    with downloaded_version(number) as folder:
        return _load(folder)


def load_evaluated(number: str) -> Any:
    """The same with the evaluated network, which has not learned from test."""
    with downloaded_version(number) as folder:
        use_evaluated_network(folder)
        return _load(folder)


def load_evaluated_champion() -> Any:
    """The same of the champion. Raises: as `downloaded_champion`."""
    with downloaded_champion() as (folder, _):
        use_evaluated_network(folder)
        return _load(folder)


def use_evaluated_network(folder: Path) -> None:
    """Puts the evaluated network in the place of the one that serves, if that is another.

    Args:
        folder: a copy of an MLflow model.
    """
    artifacts = folder / "artifacts"
    if (artifacts / "evaluated").exists():
        shutil.rmtree(artifacts / "network")
        (artifacts / "evaluated").rename(artifacts / "network")


def load_champion(loaded: Mapping[str, Any] = MappingProxyType({})) -> tuple[Any, str]:
    """The champion, as MLflow loads it, and its number. Raises: as `downloaded_champion`.

    Args:
        loaded: models by number that are in memory; one of them is only checked.
    """
    with downloaded_champion() as (folder, number):
        return loaded.get(number) or _load(folder), number


def _load(folder: Path) -> Any:
    with connect():
        return load_folder(folder)


def load_folder(folder: Path) -> Any:
    """The model of `downloaded_champion`, as MLflow loads it; needs no registry."""
    with nullcontext() if "tensorflow" in sys.modules else _silenced_stderr():
        return mlflow.pyfunc.load_model(str(folder))


@contextmanager
def downloaded_champion() -> Iterator[tuple[Path, str]]:
    """A temporary folder with the champion's MLflow model, and its number.

    Raises: RegistryDamagedError if its files or its record are not those that were promoted;
    PipelineError.
    """
    from pipeline.registry import ledger  # imported here, as ledger imports this module

    version = find_champion()
    if version is None:
        raise PipelineError(f"models:/{MODEL_NAME}@{CHAMPION}: no champion yet; run `make repro`")
    with downloaded_version(version.number, ledger.champion_files(version)) as folder:
        yield folder, version.number


@contextmanager
def downloaded_version(number: str, md5s: Mapping[str, str] | None = None) -> Iterator[Path]:
    """A temporary folder with a version's MLflow model, which is the one that was registered.

    Args:
        md5s: LedgerEntry.files, to compare the tokenizer and the decision with the ledger too.

    Raises: RegistryDamagedError if files are missing or differ from it; PipelineError.
    """
    with tempfile.TemporaryDirectory() as name:
        with connect() as client:
            folder, registered = _download_version(client, number, Path(name))
        if problem := package_problem(folder, registered, md5s or {}):
            raise RegistryDamagedError(f"version {number}: {problem}; {REBUILD_ALL}")
        yield folder


def check_version(number: str, md5s: Mapping[str, str]) -> None:
    """Args and Raises: as `downloaded_version`."""
    with downloaded_version(number, md5s):
        pass


def _download_version(client: MlflowClient, number: str, folder: Path) -> tuple[Path, str | None]:
    """The folder of a version's MLflow model, and the hash that it was registered with."""
    try:
        version = client.get_model_version(MODEL_NAME, number)
        path = _download(f"models:/{MODEL_NAME}/{number}", folder)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        problem = f"version {number}: MLflow has lost it or its files; {REBUILD_ALL}"
        raise RegistryDamagedError(problem) from error
    return path, version.tags.get(PACKAGE_TAG)


def _download(uri: str, folder: Path) -> Path:
    """The folder of a copy of an MLflow model."""
    path = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
    shutil.rmtree(path / "__pycache__", ignore_errors=True)  # left by whoever loaded it there
    return path


@contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Without the lines that TensorFlow prints from C++ while it is imported."""
    stderr = os.dup(2)
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)
