"""pipeline/tracking/live_runs.py"""

import logging

import pytest
from mlflow.exceptions import MlflowException

from pipeline.tracking import runs
from pipeline.tracking.live_runs import live_run
from tests.tracking.conftest import CURVES, TRAIN_PARAMS

pytestmark = pytest.mark.slow  # each test writes to an MLflow database


@pytest.mark.parametrize(
    ("error", "status"), [(ZeroDivisionError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_failed_training_keeps_its_curves(tracked, error, status):
    def train():
        with live_run("bilstm", TRAIN_PARAMS, "training") as live:
            live.log_curves(CURVES[:1])
            raise error

    with pytest.raises(error):
        train()
    run = tracked.only_run()
    assert run.info.status == status
    assert tracked.losses(run.info.run_id) == [(1, 1.0)]
    assert "network_hash" not in run.data.tags


def test_resumed_training_continues_its_run_and_closes_that_of_another(tracked):
    killed = [tracked.kill_training(epochs=1, training_key="another")]
    killed += [tracked.kill_training(epochs=2)]
    run_id = tracked.runs()[0].info.run_id
    assert tracked.train() == run_id
    assert tracked.epochs(run_id) == [1, 2, 3]
    statuses = {run.data.tags["training_key"]: run.info.status for run in tracked.runs()}
    assert statuses == {"another": "KILLED", "training": "FINISHED"}
    del killed


@pytest.mark.parametrize("takes_effect", [False, True])
def test_epochs_appear_in_time_or_after_a_failure(takes_effect, tracked, monkeypatch, caplog):
    log_epoch = runs.log_epoch

    def lose_response(*arguments):
        if takes_effect:
            log_epoch(*arguments)
        raise MlflowException("lost")

    with live_run("bilstm", TRAIN_PARAMS, "training") as live:
        live.log_curves(CURVES[:1])
        run = tracked.only_run()
        assert (run.info.status, run.info.run_name) == ("RUNNING", "bilstm in training")
        assert run.data.params == {"train.model": "bilstm", "train.units": "8"}
        assert set(run.data.metrics) == {"train/loss", "train/accuracy"}
        assert tracked.losses(run.info.run_id) == [(1, 1.0)]
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
            patch.setattr(runs, "log_epoch", lose_response)
            live.log_curves(CURVES[:2])
        (line,) = caplog.messages
        assert line.startswith("MLflow at sqlite:///")
        assert line.endswith("; the training continues and logs its curves later")
        live.log_curves(CURVES)
        live.finish("network")
    run = tracked.only_run()
    assert (run.info.status, run.data.tags["network_hash"]) == ("FINISHED", "network")
    assert tracked.epochs(run.info.run_id) == [1, 2, 3]
