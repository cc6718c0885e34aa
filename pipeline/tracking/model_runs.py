"""Logs the run of an evaluated model to MLflow, for the stage `register`."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.core.errors import PipelineError
from pipeline.tracking import runs
from pipeline.tracking.mlflow_client import connect, find_or_create
from pipeline.tracking.run_contents import RunContents

# MLflow 3.17 fails with more if some are known; it counts them once for each model of the run.
METRICS_PER_CALL = 100


def log_model_run(contents: RunContents) -> str:
    """Creates or completes the run of an evaluated model. Returns the run's id.

    It continues the live run of the training if that was not evaluated before, else it makes a
    new run. The same path serves a lost database, another machine, a restored stage, a second
    evaluation and an interrupted call. A complete run stays as it is.

    Raises: PipelineError.
    """
    with connect() as client:

        def find() -> Run | None:
            complete = runs.find_runs(client, run_key=contents.run_key)
            return next(iter([*complete, *_unevaluated_trainings(client, contents)]), None)

        run = find_or_create(
            find, lambda: runs.create_run(client, contents.name, {"run_key": contents.run_key})
        )
        runs.close_killed_runs(client, keep=run)
        if "run_key" not in run.data.tags or run.info.status != "FINISHED":
            _fill(client, run, contents)
        return str(run.info.run_id)


def log_restored_run(model_hash: str, name: str, tags: Mapping[str, str]) -> str:
    """The run of a model that only the ledger knows: its tags, without curves. Returns its id.

    Raises: PipelineError.
    """
    with connect() as client:
        run = find_or_create(
            lambda: runs.find_run(client, restored=model_hash),
            lambda: runs.create_run(client, name, {**tags, "restored": model_hash}),
        )
        client.set_terminated(run.info.run_id, "FINISHED")
        return str(run.info.run_id)


def set_verdict(run_id: str, verdict: str, description: str) -> None:
    """Replaces the verdict and the description (Markdown) of a run. Raises: PipelineError."""
    with connect() as client:
        client.set_tag(run_id, "verdict", verdict)
        client.set_tag(run_id, "mlflow.note.content", description)


def attach_file(path: Path, folder: str, **tags: str) -> None:
    """Attaches a file to the newest run with these tags, in place of one of its name.

    Args:
        folder: of the run's artifacts.

    Raises: PipelineError, also if there is no such run.
    """
    with connect() as client:
        run = runs.find_run(client, **tags)
        if run is None:
            raise PipelineError(f"{path}: MLflow has no run of this model; run `dvc repro`")
        client.log_artifact(run.info.run_id, str(path), folder)


def _unevaluated_trainings(client: MlflowClient, contents: RunContents) -> list[Run]:
    """Runs of trainings that made this network under these params and were not evaluated yet.

    A training whose end MLflow missed has no network_hash; it is recognized by its curves.
    """
    losses = {int(epoch["epoch"]): epoch["loss"] for epoch in contents.curves}

    def has_our_curves(run: Run) -> bool:
        logged = runs.logged_losses(client, run)
        return all(abs(losses.get(step, -1) - loss) < 1e-6 for step, loss in logged.items())

    candidates = runs.find_runs(client, network_hash=contents.network_hash)
    candidates += [run for run in runs.open_runs(client) if has_our_curves(run)]
    params = {name: str(value) for name, value in contents.params.items()}  # as MLflow stores them
    return [
        run
        for run in candidates
        if "run_key" not in run.data.tags and run.data.params.items() <= params.items()
    ]


def _fill(client: MlflowClient, run: Run, contents: RunContents) -> None:
    """Logs everything. A run with the status FINISHED and its run_key is complete."""
    with mlflow.start_run(run.info.run_id):
        mlflow.set_tags(
            {
                **contents.tags,
                "run_key": contents.run_key,
                "network_hash": contents.network_hash,
                "mlflow.runName": contents.name,
                "mlflow.note.content": contents.description,
            }
        )
        runs.log_params(client, run, contents.params)
        _log_curves(client, run, contents)
        _log_metrics(run, contents)
        for split, rows in contents.datasets.items():
            dataset = mlflow.data.from_pandas(rows, name=split, targets="label")
            mlflow.log_input(dataset, context=split)
        _log_plots(contents.plots)
        for name, folder in contents.folders.items():
            mlflow.log_artifacts(str(folder), name)


def _log_curves(client: MlflowClient, run: Run, contents: RunContents) -> None:
    logged = runs.logged_losses(client, run)
    for epoch in contents.curves:
        if int(epoch["epoch"]) not in logged:
            runs.log_epoch(client, run, epoch)


def _log_metrics(run: Run, contents: RunContents) -> None:
    missing = [item for item in contents.metrics.items() if item[0] not in run.data.metrics]
    time = run.info.start_time  # fixed, so that a point that is logged twice is one point
    for start in range(0, len(missing), METRICS_PER_CALL):
        part = dict(missing[start : start + METRICS_PER_CALL])
        mlflow.log_metrics(part, step=0, timestamp=time)


def _log_plots(plots: Mapping[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, png in plots.items():
            (Path(folder) / f"{name}.png").write_bytes(png)
        mlflow.log_artifacts(folder, "plots")
