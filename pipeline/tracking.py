"""Every call to MLflow: live curves, the run of an evaluated model, its version and its alias."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # both are read when MLflow is imported
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode

from pipeline import stage
from pipeline.stage import PipelineError

log = logging.getLogger(__name__)

NAME = "spam-detector"  # of the experiment and of the registered model
CHAMPION = "champion"  # the alias of the version in service
SERVED_MODEL = Path(__file__).with_name("served_model.py")


@dataclass(frozen=True)
class Record:
    """What MLflow shows of one evaluated model; all of it comes from files."""

    run_key: str  # names this model under these params with this evaluation
    network_hash: str  # sha256 of model.keras: the live run of its training bears it
    name: str
    description: str  # Markdown
    params: Mapping[str, Any]  # by their key in params.yaml, as in `train.units`
    metrics: Mapping[str, float]
    curves: list[dict[str, float]]  # an epoch each
    tags: Mapping[str, str]
    datasets: Mapping[str, pd.DataFrame]  # by split: columns message_id and label
    plots: Mapping[str, Figure]
    folders: Mapping[str, Path] = field(default_factory=dict)  # attached as they are, by name


@dataclass(frozen=True)
class ModelFiles:
    """The parts of the one MLflow model, as `served_model.py` names them."""

    tokenizer: Path
    network: Path  # a TensorFlow SavedModel
    decision: Path
    requirements: list[str]  # pip's, pinned
    example: pd.DataFrame  # input, one column `text`
    answer: pd.DataFrame  # what the model says of it


def address() -> str:
    """`MLFLOW_TRACKING_URI`, else an sqlite file in the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{stage.root().resolve()}/mlflow.db"


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested params by their dotted keys; a list is one value."""
    values: dict[str, Any] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        values |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return values


@contextmanager
def _connected() -> Iterator[MlflowClient]:
    """A client of `address()`; whatever goes wrong there becomes one line."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    mlflow.set_tracking_uri(address())
    mlflow.set_registry_uri(address())
    try:
        client = MlflowClient()
    except Exception as error:  # of MLflow, of the database or of its driver, whichever that is
        raise _unreachable(error) from error
    try:
        yield client
    except MlflowException as error:
        raise _unreachable(error) from error


def _unreachable(error: Exception) -> PipelineError:
    said = " ".join(str(error).split())[:300]
    return PipelineError(f"MLflow at MLFLOW_TRACKING_URI or mlflow.db: {said}")


def _experiment(client: MlflowClient) -> str:
    found = client.get_experiment_by_name(NAME)
    if found:
        return str(found.experiment_id)
    local = address().startswith("sqlite")
    artifacts = (stage.root().resolve() / "mlartifacts").as_uri() if local else None
    return str(client.create_experiment(NAME, artifact_location=artifacts))


# ---- train's live curves


class LiveRun:
    """The run of a training that goes on; each epoch is in the MLflow UI when it ends."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self._run_id = client, run_id

    def log_epoch(self, epoch: Mapping[str, float]) -> None:
        """One point of every curve; `epoch` counts from 1."""
        mlflow.log_metrics(_curve_point(epoch), step=int(epoch["epoch"]), run_id=self._run_id)

    def finish(self, network_hash: str) -> None:
        """Lets register find this run by the network that it made."""
        self._client.set_tag(self._run_id, "network_hash", network_hash)


@contextmanager
def live_run(name: str, params: Mapping[str, Any]) -> Iterator[LiveRun]:
    """A run that is open while the block runs; FAILED when it ends by an error. Raises: PipelineError."""
    with (
        _connected() as client,
        mlflow.start_run(experiment_id=_experiment(client), run_name=f"{name} in training") as run,
    ):
        mlflow.log_params(flat(params))
        yield LiveRun(client, run.info.run_id)


def _curve_point(epoch: Mapping[str, float]) -> dict[str, float]:
    return {f"train/{name}": value for name, value in epoch.items() if name != "epoch"}


# ---- register's run and version


def record(record: Record) -> str:
    """The run of this evaluated model, as it should be; does nothing when it is there. Returns its id.

    Finishes the live run of the training if that is still bare, else builds the run from the files:
    one path for a lost database, another machine, a restored stage and a second evaluation.
    """
    with _connected() as client:
        if found := _runs(client, "run_key", record.run_key):
            return str(found[0].info.run_id)
        of_network = _runs(client, "network_hash", record.network_hash)
        bare = [run.info.run_id for run in of_network if _is_bare(run, record.params)]
        with mlflow.start_run(bare[0] if bare else None, experiment_id=_experiment(client)) as run:
            _fill(record, curves=not bare)
            # last: a run that bears them is whole
            mlflow.set_tags({"network_hash": record.network_hash, "run_key": record.run_key})
            return str(run.info.run_id)


def _is_bare(run: Run, params: Mapping[str, Any]) -> bool:
    """Whether it is a training that was not evaluated yet, under these params: MLflow lets none change."""
    theirs = {name: str(value) for name, value in params.items()}
    return "run_key" not in run.data.tags and run.data.params.items() <= theirs.items()


def _runs(client: MlflowClient, tag: str, value: str) -> list[Run]:
    newest = ["attributes.start_time DESC"]
    return list(client.search_runs([_experiment(client)], f"tags.{tag} = '{value}'", order_by=newest))


def _fill(record: Record, curves: bool) -> None:
    mlflow.set_tags({**record.tags, "mlflow.runName": record.name, "mlflow.note.content": record.description})
    mlflow.log_params(record.params)
    for epoch in record.curves if curves else []:
        mlflow.log_metrics(_curve_point(epoch), step=int(epoch["epoch"]))
    mlflow.log_metrics(record.metrics)
    for split, rows in record.datasets.items():
        mlflow.log_input(mlflow.data.from_pandas(rows, name=split, targets="label"), context=split)
    for name, plot in record.plots.items():
        mlflow.log_figure(plot, f"plots/{name}.png")
    for name, folder in record.folders.items():
        mlflow.log_artifacts(str(folder), name)


def version_of(model_hash: str) -> str | None:
    """The registry's version of these bytes, if it has one."""
    with _connected() as client:
        found = client.search_model_versions(f"name = '{NAME}' and tags.model_hash = '{model_hash}'")
        return str(found[0].version) if found else None


def add_version(run_id: str, files: ModelFiles, tags: Mapping[str, str], description: str) -> str:
    """Logs the model to its run and registers it. Returns the version."""
    with _connected() as client:
        with mlflow.start_run(run_id):
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(SERVED_MODEL),
                artifacts={part: str(getattr(files, part)) for part in ("tokenizer", "network", "decision")},
                pip_requirements=files.requirements,
                signature=infer_signature(files.example, files.answer),
                input_example=files.example,
            )
        made: ModelVersion = mlflow.register_model(logged.model_uri, NAME, tags=dict(tags))
        client.update_model_version(NAME, made.version, description)
        return str(made.version)


def tag_version(version: str, key: str, value: str) -> None:
    """Sets one tag of a version."""
    with _connected() as client:
        client.set_model_version_tag(NAME, version, key, value)


def champion() -> str | None:
    """The version in service; None only when the registry says that there is none."""
    absent = {ErrorCode.Name(INVALID_PARAMETER_VALUE), ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)}
    with _connected() as client:
        try:
            return str(client.get_model_version_by_alias(NAME, CHAMPION).version)
        except MlflowException as error:
            if error.error_code in absent:
                return None
            raise


def promote(version: str) -> None:
    """Gives this version the alias `champion`."""
    with _connected() as client:
        client.set_registered_model_alias(NAME, CHAMPION, version)


def load_champion() -> tuple[Any, str]:
    """The model in service, as MLflow loads it, and its version. Raises: PipelineError."""
    version = champion()
    if version is None:
        raise PipelineError(f"models:/{NAME}@{CHAMPION}: there is none yet; run `make repro`")
    with _connected(), _hushed():
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
