"""Logs the trials of a hyperparameter search to MLflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric

from pipeline.tracking import runs
from pipeline.tracking.mlflow_client import connect, find_or_create, http_limits


@dataclass(frozen=True)
class TuningTrial:
    """One trial of a search."""

    params: Mapping[str, Any]  # those of the section `train` that the search varies
    figures: Mapping[str, float]  # measured on val, by name


def log_tuning_trials(study: str, trials: Sequence[TuningTrial]) -> None:
    """Logs a run for the search, with a child run for each trial; finished ones stay as they are.

    Args:
        study: identifies the search.
        trials: all so far, in the order of their numbers.
    Raises: PipelineError, if MLflow does not answer.
    """
    with connect() as client, http_limits(retries=0, timeout=runs.LIVE_TIMEOUT):
        parent = find_or_create(
            lambda: runs.find_run(client, study=study),
            lambda: runs.create_run(client, "tune", {"study": study}),
        ).info.run_id
        tags = {"mlflow.parentRunId": parent}
        finished = runs.find_runs(client, **tags, status="FINISHED")
        finished_numbers = {run.data.tags["trial"] for run in finished}
        for number, trial in enumerate(trials, 1):
            if str(number) not in finished_numbers:
                _log_trial(client, {**tags, "trial": str(number)}, trial)
        client.set_terminated(parent, "FINISHED")


def _log_trial(client: MlflowClient, tags: Mapping[str, str], trial: TuningTrial) -> None:
    run = find_or_create(
        lambda: runs.find_run(client, **tags),
        lambda: runs.create_run(client, f"trial {tags['trial']}", tags),
    )
    runs.log_params(client, run, runs.flatten_params({"train": trial.params}))
    time = run.info.start_time  # fixed, so that a point that is logged twice is one point
    points = [Metric(f"val/{name}", value, time, 0) for name, value in trial.figures.items()]
    client.log_batch(run.info.run_id, metrics=points)
    client.set_terminated(run.info.run_id, "FINISHED")
