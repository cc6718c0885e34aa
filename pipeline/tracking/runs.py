"""Finds and creates MLflow runs, and logs params and epochs so that a repetition changes nothing.

A process can be killed and a server can fail between any two calls. Therefore a run is created
with the tag that it is found by, it is searched before it is created, and everything that is
logged may be logged again.
"""

import hashlib
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.tracking.context import registry as context

from pipeline.tracking.mlflow_client import experiment_id

LIVE_TIMEOUT = 10  # seconds that a training or a search waits for a server


def flatten_params(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested params by their dotted keys, such as `train.units`; a list is one value."""
    values: dict[str, Any] = {}
    for key, value in params.items():
        name = f"{prefix}{key}"
        values |= flatten_params(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return values


def workspace() -> str:
    """16 hexadecimal digits that identify this folder on this machine.

    One stage at a time runs in a folder, so open runs of its workspace belong to killed processes.
    """
    return hashlib.sha256(f"{platform.node()}:{Path.cwd().resolve()}".encode()).hexdigest()[:16]


def find_runs(client: MlflowClient, **tags: str) -> list[Run]:
    """The runs with these tags, newest first. The name `status` stands for the run's status."""
    kinds = {name: "attributes" if name == "status" else "tags" for name in tags}
    condition = " and ".join(f"{kinds[name]}.{name} = '{value}'" for name, value in tags.items())
    order = ["attributes.start_time DESC"]
    return list(client.search_runs([experiment_id(client)], condition, order_by=order))


def find_run(client: MlflowClient, **tags: str) -> Run | None:
    """The newest run with these tags, or None."""
    return next(iter(find_runs(client, **tags)), None)


def open_runs(client: MlflowClient) -> list[Run]:
    """The runs of this folder that are not finished, newest first."""
    return find_runs(client, workspace=workspace(), status="RUNNING")


def create_run(client: MlflowClient, name: str, tags: Mapping[str, str]) -> Run:
    """A new run with these tags, those of MLflow's context and our workspace."""
    all_tags = context.resolve_tags({**tags, "workspace": workspace()})
    return client.create_run(experiment_id(client), run_name=name, tags=all_tags)


def close_killed_runs(client: MlflowClient, keep: Run) -> None:
    """Ends the open runs of this folder, except one, with the status KILLED."""
    for run in open_runs(client):
        if run.info.run_id != keep.info.run_id:
            client.set_terminated(run.info.run_id, "KILLED")


def log_params(client: MlflowClient, run: Run, params: Mapping[str, Any]) -> None:
    """Logs params as text. MLflow refuses to change a param that a run has."""
    entries = [Param(name, str(value)) for name, value in params.items()]
    client.log_batch(run.info.run_id, params=entries)


def logged_losses(client: MlflowClient, run: Run) -> dict[int, float]:
    """The loss of each epoch that the run has. An epoch's points are logged in one call."""
    history = client.get_metric_history(run.info.run_id, "train/loss")
    return {point.step: point.value for point in history}


def log_epoch(client: MlflowClient, run: Run, epoch: Mapping[str, float]) -> None:
    """Logs one row of TRAINING_CURVES as one point of each `train/` metric."""
    step = int(epoch["epoch"])
    now = int(time.time() * 1000)
    points = [
        Metric(f"train/{name}", value, now, step)
        for name, value in epoch.items()
        if name != "epoch"
    ]
    client.log_batch(run.info.run_id, metrics=points)
