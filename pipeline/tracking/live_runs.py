"""Logs a training to MLflow while it runs."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run, RunTag
from mlflow.exceptions import MlflowException

from pipeline.tracking import runs
from pipeline.tracking.mlflow_client import (
    connect,
    connection_error,
    find_or_create,
    http_limits,
)
from pipeline.tracking.runs import LIVE_TIMEOUT

log = logging.getLogger(__name__)


class LiveRun:
    """The run of a training; each epoch appears in the MLflow UI when it ends.

    A server that fails during the training does not stop it.
    """

    def __init__(self, client: MlflowClient, run: Run) -> None:
        self._client = client
        self._run = run
        # epochs that the run has; None if unknown, because a response may have been lost
        self._logged_epochs: set[int] | None = None

    def log_curves(self, curves: Sequence[Mapping[str, float]]) -> None:
        """Logs the epochs that the run does not have yet.

        If the server fails, the next call logs them, or the stage `register` does.

        Args:
            curves: all epochs so far, rows of TRAINING_CURVES.
        """
        try:
            with http_limits(retries=0, timeout=LIVE_TIMEOUT):
                self._log_missing_epochs(curves)
        except MlflowException as error:
            self._logged_epochs = None
            log.warning(
                "%s; the training continues and logs its curves later", connection_error(error)
            )

    def _log_missing_epochs(self, curves: Sequence[Mapping[str, float]]) -> None:
        if self._logged_epochs is None:
            self._logged_epochs = set(runs.logged_losses(self._client, self._run))
        for epoch in curves:
            number = int(epoch["epoch"])
            if number not in self._logged_epochs:
                runs.log_epoch(self._client, self._run, epoch)
                self._logged_epochs.add(number)

    def finish(self, network_hash: str) -> None:
        """Ends the run, with the tag by which `register` finds the training of a network."""
        self._end("FINISHED", {"network_hash": network_hash})

    def _end(self, status: str, tags: Mapping[str, str]) -> None:
        """Ends the run with this status of MLflow."""
        run_id = self._run.info.run_id
        try:
            with http_limits(retries=0, timeout=LIVE_TIMEOUT):
                self._client.log_batch(run_id, tags=[RunTag(*tag) for tag in tags.items()])
                self._client.set_terminated(run_id, status)
        except MlflowException as error:
            log.warning("%s; its run stays open until register finds it", connection_error(error))


@contextmanager
def live_run(name: str, params: Mapping[str, Any], training_key: str) -> Iterator[LiveRun]:
    """The run of a training; a resumed training continues its run.

    The run's status is FAILED or KILLED if the block ends by an error.

    Args:
        name: of the model.
        params: nested, as in params.yaml.
        training_key: hash of all that determines the training.
    Raises: PipelineError, if MLflow does not answer at the start.
    """
    tags = {"training_key": training_key}
    with connect() as client:
        run = find_or_create(
            lambda: runs.find_run(client, **tags, workspace=runs.workspace()),
            lambda: runs.create_run(client, f"{name} in training", tags),
        )
        runs.close_killed_runs(client, keep=run)
        runs.log_params(client, run, runs.flatten_params(params))
        if run.info.status not in ("RUNNING", "FINISHED"):
            client.update_run(run.info.run_id, "RUNNING")
        live = LiveRun(client, run)
    try:
        yield live
    except BaseException as error:
        live._end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED", {})
        raise
