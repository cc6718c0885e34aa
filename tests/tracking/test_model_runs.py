"""pipeline/tracking/model_runs.py"""

from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from pipeline.tracking.model_runs import log_model_run, log_restored_run, set_verdict
from tests.harness.errors import error_of
from tests.tracking.conftest import CURVES

pytestmark = pytest.mark.slow  # each test writes to an MLflow database


def test_run_is_built_from_the_contents(tracked, contents, tmp_path):
    run_id = log_model_run(contents)
    run = tracked.only_run()
    assert run.info.run_id == run_id
    assert (run.info.status, run.info.run_name) == ("FINISHED", "bilstm f1 0.900")
    assert run.data.params == {"train.units": "8", "train.dropout": "0", "evaluate.seed": "1"}
    assert run.data.metrics["test/f1"] == 0.9
    assert tracked.losses(run_id) == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    tags = {"run_key": "key", "network_hash": "network", "model_hash": "model"}
    tags["mlflow.note.content"] = "**criteria met**"
    assert tags.items() <= run.data.tags.items()
    assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["val"]
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    assert artifacts.is_relative_to(tmp_path / "mlartifacts")
    assert (artifacts / "plots" / "roc.png").read_bytes() == b"\x89PNG"
    assert (artifacts / "data_docs" / "index.html").read_text() == "docs"
    assert log_model_run(contents) == run_id
    assert tracked.epochs(run_id) == [1, 2, 3]


def test_run_of_the_training_is_continued(tracked, contents):
    run_id = tracked.train()
    for _ in range(2):
        assert log_model_run(contents) == run_id
        run = tracked.only_run()
        assert (run.info.status, run.info.run_name) == ("FINISHED", "bilstm f1 0.900")
        assert run.data.params["evaluate.seed"] == "1"
        assert tracked.epochs(run_id) == [1, 2, 3]
        tracked.train()  # forced to run again


@pytest.mark.parametrize(
    "training",
    [{"network_hash": "another"}, {"params": {"train": {"units": 8, "dropout": 0.5}}}],
    ids=["another network", "other params"],
)
def test_run_of_another_training_is_left_alone(training, tracked, contents):
    live_id = tracked.train(**training)
    run_id = log_model_run(contents)
    assert run_id != live_id
    assert "run_key" not in tracked.store.get_run(live_id).data.tags
    assert tracked.epochs(run_id) == [1, 2, 3]


def test_second_evaluation_of_a_network_is_a_second_run(tracked, contents):
    tracked.train()
    first = log_model_run(contents)
    second = log_model_run(replace(contents, run_key="another", metrics={"test/f1": 0.8}))
    f1 = [tracked.store.get_run(run_id).data.metrics["test/f1"] for run_id in (first, second)]
    assert f1 == [0.9, 0.8]
    assert tracked.losses(second) == tracked.losses(first)
    assert len(tracked.runs()) == 2


@pytest.mark.parametrize("function", ["log_metrics", "log_input", "log_artifacts"])
def test_interrupted_call_is_completed_in_the_same_run(function, tracked, contents, monkeypatch):
    def fail(*_, **__):
        raise mlflow.MlflowException("unplugged")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow, function, fail)
        assert ": unplugged; " in error_of(log_model_run, contents)
    assert tracked.statuses() == ["FAILED"]
    run_id = log_model_run(contents)
    run = tracked.only_run()
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    assert tracked.epochs(run_id) == [1, 2, 3]
    assert len(tracked.store.get_metric_history(run_id, "test/f1")) == 1
    assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["val"]
    artifacts = {file.path for file in tracked.store.list_artifacts(run_id)}
    assert artifacts == {"plots", "data_docs"}


def test_training_whose_end_was_missed_is_known_by_its_curves(tracked, contents):
    killed = tracked.kill_training(epochs=2)
    run_id = tracked.only_run().info.run_id
    assert log_model_run(contents) == run_id
    assert tracked.statuses() == ["FINISHED"]
    assert tracked.epochs(run_id) == [1, 2, 3]
    del killed


def test_open_training_with_other_curves_is_closed(tracked, contents):
    killed = tracked.kill_training(epochs=2)
    curves = [{**epoch, "loss": epoch["loss"] + 0.1} for epoch in CURVES]
    run_id = log_model_run(replace(contents, curves=curves))
    statuses = {run.info.run_id: run.info.status for run in tracked.runs()}
    assert statuses.pop(run_id) == "FINISHED"
    assert list(statuses.values()) == ["KILLED"]
    del killed


def test_open_run_of_another_folder_is_left_alone(tracked, contents, tmp_path, monkeypatch):
    killed = tracked.kill_training(epochs=1)
    (tmp_path / "another").mkdir()
    monkeypatch.chdir(tmp_path / "another")
    tracked.train()
    log_model_run(contents)
    assert tracked.statuses() == ["FINISHED", "RUNNING"]
    del killed


def test_restored_model_has_one_run_and_a_changed_verdict(tracked):
    run_id = log_restored_run("model", "restored", {"model_hash": "model"})
    assert log_restored_run("model", "restored", {"model_hash": "model"}) == run_id
    set_verdict(run_id, "promoted", "**promoted**")
    run = tracked.only_run()
    assert (run.info.status, run.info.run_name) == ("FINISHED", "restored")
    tags = {"verdict": "promoted", "mlflow.note.content": "**promoted**", "restored": "model"}
    assert tags.items() <= run.data.tags.items()
