"""What MLflow shows of a training while it goes on, and of a model when it is evaluated.

A process can be killed, and a server can fail, between any two calls. So a run is made with the tag that it
is found by, is looked for before it is made, and is filled in a way that may be repeated.
"""

import hashlib
import logging
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.context import registry as context

from pipeline.tracking.mlflow_client import (
    connect,
    connection_error,
    experiment_id,
    find_or_create,
    http_limits,
)

log = logging.getLogger(__name__)

LIVE_TIMEOUT = 10  # seconds that a training waits for a server to take an epoch's curves
METRICS_AT_ONCE = (
    100  # of more, also counted once for each model of the run, MLflow 3.17 refuses known ones
)


@dataclass(frozen=True)
class RunContents:
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


def flatten_params(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested params by their dotted keys; a list is one value."""
    values: dict[str, Any] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        values |= flatten_params(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return values


# ---- runs


def workspace() -> str:
    """Names this folder on this machine: its runs that are open while no stage is at work were killed."""
    return hashlib.sha256(f"{platform.node()}:{Path.cwd().resolve()}".encode()).hexdigest()[:16]


def _runs(client: MlflowClient, **wanted: str) -> list[Run]:
    """The runs with these tags, the newest first; `status` is no tag."""
    kinds = {name: "attributes" if name == "status" else "tags" for name in wanted}
    condition = " and ".join(f"{kinds[name]}.{name} = '{value}'" for name, value in wanted.items())
    newest = ["attributes.start_time DESC"]
    return list(client.search_runs([experiment_id(client)], condition, order_by=newest))


def _open_runs(client: MlflowClient) -> list[Run]:
    return _runs(client, workspace=workspace(), status="RUNNING")


def _new_run(client: MlflowClient, name: str, tags: Mapping[str, str]) -> Run:
    marked = context.resolve_tags({**tags, "workspace": workspace()})
    return client.create_run(experiment_id(client), run_name=name, tags=marked)


def _close_what_was_killed(client: MlflowClient, but: Run) -> None:
    for run in _open_runs(client):
        if run.info.run_id != but.info.run_id:
            client.set_terminated(run.info.run_id, "KILLED")


def _log_params(client: MlflowClient, run: Run, params: Mapping[str, Any]) -> None:
    client.log_batch(
        run.info.run_id, params=[Param(name, str(value)) for name, value in params.items()]
    )


def _shown(client: MlflowClient, run: Run) -> dict[int, float]:
    """The loss of each epoch whose curve points this run has; those of an epoch come all at once."""
    history = client.get_metric_history(run.info.run_id, "train/loss")
    return {point.step: point.value for point in history}


def _log_epoch(client: MlflowClient, run: Run, epoch: Mapping[str, float]) -> None:
    now, step = int(time.time() * 1000), int(epoch["epoch"])
    points = [Metric(f"train/{name}", v, now, step) for name, v in epoch.items() if name != "epoch"]
    client.log_batch(run.info.run_id, metrics=points)


# ---- train's live curves


class LiveRun:
    """The run of a training that goes on; each epoch is in the MLflow UI when it ends."""

    def __init__(self, client: MlflowClient, run: Run) -> None:
        self._client, self._run = client, run
        self._known: set[int] | None = (
            None  # epochs that the run shows; None where a call may have been lost
        )

    def log_curves(self, curves: Sequence[Mapping[str, float]]) -> None:
        """All epochs so far, of which the run gets those that it lacks; `epoch` counts from 1.

        A server that fails now does not stop a training: the next epoch brings the missing ones along,
        or register does.
        """
        try:
            with http_limits(retries=0, timeout=LIVE_TIMEOUT):
                if self._known is None:
                    self._known = set(_shown(self._client, self._run))
                for epoch in curves:
                    if int(epoch["epoch"]) not in self._known:
                        _log_epoch(self._client, self._run, epoch)
                        self._known.add(int(epoch["epoch"]))
        except MlflowException as error:
            self._known = None
            log.warning("%s; the training goes on, its curves follow", connection_error(error))

    def finish(self, network_hash: str) -> None:
        """Lets register find this run by the network that it made."""
        self._end("FINISHED", {"network_hash": network_hash})

    def _end(self, status: str, tags: Mapping[str, str]) -> None:
        run_id = self._run.info.run_id
        try:
            with http_limits(retries=0, timeout=LIVE_TIMEOUT):
                self._client.log_batch(run_id, tags=[RunTag(*tag) for tag in tags.items()])
                self._client.set_terminated(run_id, status)
        except MlflowException as error:
            log.warning("%s; its run stays open until register finds it", connection_error(error))


@contextmanager
def live_run(name: str, params: Mapping[str, Any], training_key: str) -> Iterator[LiveRun]:
    """The run of this training, the same one when it goes on after an interruption.

    It is FAILED when the block ends by an error. Raises: PipelineError, when there is no MLflow at first.
    """
    with connect() as client:
        tags = {"training_key": training_key}
        run = find_or_create(
            lambda: next(iter(_runs(client, **tags, workspace=workspace())), None),
            lambda: _new_run(client, f"{name} in training", tags),
        )
        _close_what_was_killed(client, but=run)
        _log_params(client, run, flatten_params(params))
        if run.info.status not in ("RUNNING", "FINISHED"):
            client.update_run(run.info.run_id, "RUNNING")
        live = LiveRun(client, run)
    try:
        yield live
    except BaseException as error:
        live._end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED", {})
        raise


# ---- tune's trials


@dataclass(frozen=True)
class TuningTrial:
    """What one trial of a search tried, and what it came to."""

    params: Mapping[str, Any]  # of train
    figures: Mapping[str, float]  # on val


def log_tuning_trials(study: str, trials: Sequence[TuningTrial]) -> None:
    """A run of the search with a child for each trial; those that are there already stay as they are.

    Raises: PipelineError, when MLflow does not answer.
    """
    with connect() as client, http_limits(retries=0, timeout=LIVE_TIMEOUT):
        parent = find_or_create(
            lambda: next(iter(_runs(client, study=study)), None),
            lambda: _new_run(client, "tune", {"study": study}),
        ).info.run_id
        children = {"mlflow.parentRunId": parent}
        shown = {run.data.tags["trial"] for run in _runs(client, **children, status="FINISHED")}
        for number, trial in enumerate(trials, 1):
            tags = {**children, "trial": str(number)}
            if tags["trial"] not in shown:
                _log_trial(client, tags, trial)
        client.set_terminated(parent, "FINISHED")


def _log_trial(client: MlflowClient, tags: Mapping[str, str], trial: TuningTrial) -> None:
    run = find_or_create(
        lambda: next(iter(_runs(client, **tags)), None),
        lambda: _new_run(client, f"trial {tags['trial']}", tags),
    )
    _log_params(client, run, flatten_params({"train": trial.params}))
    now = run.info.start_time  # a fixed time: logged twice, it is one point
    points = [Metric(f"val/{name}", value, now, 0) for name, value in trial.figures.items()]
    client.log_batch(run.info.run_id, metrics=points)
    client.set_terminated(run.info.run_id, "FINISHED")


# ---- register's run


def log_model_run(record: RunContents) -> str:
    """The run of this evaluated model, as it should be; does nothing when it is there. Returns its id.

    Goes on with the live run of the training if that is still bare, else with a new one: one path for a
    lost database, another machine, a restored stage, a second evaluation and a record that was killed.
    """
    with connect() as client:
        run = find_or_create(
            lambda: next(
                iter([*_runs(client, run_key=record.run_key), *_bare_runs(client, record)]), None
            ),
            lambda: _new_run(client, record.name, {"run_key": record.run_key}),
        )
        _close_what_was_killed(client, but=run)
        if "run_key" not in run.data.tags or run.info.status != "FINISHED":
            _fill(client, run, record)
        return str(run.info.run_id)


def log_restored_run(model_hash: str, name: str, tags: Mapping[str, str]) -> str:
    """The run of a model that only the ledger remembers: its tags, and no curves. Returns its id."""
    with connect() as client:
        own = {**tags, "restored": model_hash}
        run = find_or_create(
            lambda: next(iter(_runs(client, restored=model_hash)), None),
            lambda: _new_run(client, name, own),
        )
        client.set_terminated(run.info.run_id, "FINISHED")
        return str(run.info.run_id)


def set_verdict(run_id: str, verdict: str, description: str) -> None:
    """The last verdict on a run's model, which may be another one than when it was recorded."""
    with connect() as client:
        client.set_tag(run_id, "verdict", verdict)
        client.set_tag(run_id, "mlflow.note.content", description)


def _bare_runs(client: MlflowClient, record: RunContents) -> list[Run]:
    """Trainings of this network that were not evaluated yet.

    One that could not say which network it made, as MLflow was away when it ended, is known by its curves.
    """
    losses = {int(epoch["epoch"]): epoch["loss"] for epoch in record.curves}

    def is_its(run: Run) -> bool:
        return all(
            abs(losses.get(step, -1) - loss) < 1e-6 for step, loss in _shown(client, run).items()
        )

    found = _runs(client, network_hash=record.network_hash) + [
        r for r in _open_runs(client) if is_its(r)
    ]
    theirs = {
        name: str(value) for name, value in record.params.items()
    }  # MLflow lets none of them change
    return [
        r for r in found if "run_key" not in r.data.tags and r.data.params.items() <= theirs.items()
    ]


def _fill(client: MlflowClient, run: Run, record: RunContents) -> None:
    """All that the run shall show. A run that is FINISHED and bears its key is whole."""
    shown, then = (
        _shown(client, run),
        run.info.start_time,
    )  # a fixed time: logged twice, it is one point
    with mlflow.start_run(run.info.run_id):
        mlflow.set_tags(
            {**record.tags, "run_key": record.run_key, "network_hash": record.network_hash}
        )
        mlflow.set_tags({"mlflow.runName": record.name, "mlflow.note.content": record.description})
        _log_params(client, run, record.params)
        for epoch in record.curves:
            if int(epoch["epoch"]) not in shown:
                _log_epoch(client, run, epoch)
        metrics = [
            (name, value) for name, value in record.metrics.items() if name not in run.data.metrics
        ]
        for start in range(0, len(metrics), METRICS_AT_ONCE):
            mlflow.log_metrics(
                dict(metrics[start : start + METRICS_AT_ONCE]), step=0, timestamp=then
            )
        for split, rows in record.datasets.items():
            mlflow.log_input(
                mlflow.data.from_pandas(rows, name=split, targets="label"), context=split
            )
        for name, plot in record.plots.items():
            mlflow.log_figure(plot, f"plots/{name}.png")
        for name, folder in record.folders.items():
            mlflow.log_artifacts(str(folder), name)
