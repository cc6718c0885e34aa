"""MLflow shows what the files say: one run an evaluation, live while it trains, one alias in service."""

import logging
from dataclasses import replace
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from matplotlib.figure import Figure
from mlflow.exceptions import MlflowException

from pipeline.core.errors import PipelineError
from pipeline.tracking import runs as runs_
from pipeline.tracking.mlflow_client import MODEL_NAME
from pipeline.tracking.runs import RunContents, _log_epoch, flatten_params, live_run, log_model_run

PARAMS = {"train.units": 8, "train.dropout": 0, "evaluate.seed": 1}
CURVES = [{"epoch": n, "loss": 1 / n, "accuracy": n / 10} for n in (1, 2, 3)]


@pytest.fixture
def record(tmp_path):
    """An evaluated model, as its files tell it."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.html").write_text("docs")
    return RunContents(
        run_key="key",
        network_hash="network",
        name="bilstm f1 0.900",
        description="**criteria met**",
        params=PARAMS,
        metrics={"test/f1": 0.9, "threshold": 0.5},
        curves=CURVES,
        tags={"model_hash": "model", "verdict": "criteria met"},
        datasets={"val": pd.DataFrame({"message_id": ["a", "b"], "label": ["ham", "spam"]})},
        plots={"roc": Figure()},
        folders={"data_docs": tmp_path / "docs"},
    )


def runs(store):
    experiment = store.get_experiment_by_name(MODEL_NAME)
    return store.search_runs([experiment.experiment_id]) if experiment else []


def unplugged(*_, **__):
    raise MlflowException("unplugged")


def loss_of(store, run_id):
    return [(point.step, point.value) for point in store.get_metric_history(run_id, "train/loss")]


def trained(params, network_hash="network", training_key="training"):
    """A training that ended well."""
    with live_run("bilstm", params, training_key) as live:
        live.log_curves(CURVES)
        live.finish(network_hash)


LIVE = {"train": {"units": 8, "dropout": 0}}


# ---- names


def test_flat_names_params_by_their_dotted_keys():
    nested = {"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": None, "g": {}}
    assert flatten_params(nested) == {"a.b.c": 1, "a.d": [1, {"e": 2}], "f": None}


# ---- train's live curves


@pytest.mark.slow
def test_epoch_is_seen_while_the_training_goes_on(store):
    with live_run("bilstm", LIVE, "training") as live:
        for so_far in (CURVES[:1], CURVES[:2]):
            live.log_curves(so_far)
        (run,) = runs(store)
        assert run.info.status == "RUNNING"
        assert run.info.run_name == "bilstm in training"
        assert run.data.params == {"train.units": "8", "train.dropout": "0"}
        assert loss_of(store, run.info.run_id) == [(1, 1.0), (2, 0.5)]
        assert "train/epoch" not in run.data.metrics
        live.finish("network")
    (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert run.data.tags["network_hash"] == "network"


@pytest.mark.slow
def test_training_that_breaks_off_is_failed_and_keeps_its_curves(store):
    def train():
        with live_run("bilstm", LIVE, "training") as live:
            live.log_curves(CURVES[:1])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train()
    (run,) = runs(store)
    assert run.info.status == "FAILED"
    assert loss_of(store, run.info.run_id) == [(1, 1.0)]
    assert "network_hash" not in run.data.tags


# ---- register's run


@pytest.mark.slow
def test_run_is_built_from_the_files_where_there_is_none(store, record, tmp_path):
    run_id = log_model_run(record)
    (run,) = runs(store)
    assert run.info.run_id == run_id
    assert (run.info.status, run.info.run_name) == ("FINISHED", "bilstm f1 0.900")
    assert run.data.params == {"train.units": "8", "train.dropout": "0", "evaluate.seed": "1"}
    assert run.data.metrics["test/f1"] == 0.9
    assert loss_of(store, run_id) == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert run.data.tags["mlflow.note.content"] == "**criteria met**"
    assert {
        "run_key": "key",
        "network_hash": "network",
        "model_hash": "model",
    }.items() <= run.data.tags.items()
    assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["val"]
    attached = Path(run.info.artifact_uri.removeprefix("file://"))
    assert attached.is_relative_to(tmp_path / "mlartifacts")
    assert (attached / "plots" / "roc.png").stat().st_size > 0
    assert (attached / "data_docs" / "index.html").read_text() == "docs"


@pytest.mark.slow
def test_recorded_twice_is_one_run(store, record):
    assert log_model_run(record) == log_model_run(record)
    (run,) = runs(store)
    assert len(loss_of(store, run.info.run_id)) == 3


@pytest.mark.slow
def test_live_run_of_the_same_network_is_finished_and_not_repeated(store, record):
    trained(LIVE)
    (live,) = runs(store)
    assert log_model_run(record) == live.info.run_id
    (run,) = runs(store)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "bilstm f1 0.900")
    assert run.data.params == {"train.units": "8", "train.dropout": "0", "evaluate.seed": "1"}
    assert len(loss_of(store, run.info.run_id)) == 3


@pytest.mark.slow
def test_live_run_of_another_network_is_left_alone(store, record):
    trained(LIVE, network_hash="another")
    (live,) = runs(store)
    assert log_model_run(record) != live.info.run_id
    assert len(runs(store)) == 2
    assert "run_key" not in store.get_run(live.info.run_id).data.tags


@pytest.mark.slow
def test_live_run_under_other_params_is_left_alone(store, record):
    """More patience can make the same network; MLflow lets no param of a run change."""
    trained({"train": {"units": 8, "dropout": 0.5}})
    (live,) = runs(store)
    run_id = log_model_run(record)
    assert run_id != live.info.run_id
    assert store.get_run(run_id).data.params["train.dropout"] == "0"
    assert len(loss_of(store, run_id)) == 3


@pytest.mark.slow
def test_second_evaluation_of_one_network_is_a_second_run(store, record):
    trained(LIVE)
    first = log_model_run(record)
    params = PARAMS | {"evaluate.seed": 2}
    second = log_model_run(replace(record, run_key="another", params=params, metrics={"test/f1": 0.8}))
    assert first != second
    assert [store.get_run(run_id).data.metrics["test/f1"] for run_id in (first, second)] == [
        0.9,
        0.8,
    ]
    assert loss_of(store, second) == loss_of(store, first)
    assert len(runs(store)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("call", ["log_metrics", "log_input", "log_figure", "log_artifacts"])
def test_record_that_broke_off_is_made_whole_in_the_same_run(call, store, record, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(mlflow, call, unplugged)
        with pytest.raises(PipelineError, match=r"^MLflow at .*: unplugged; "):
            log_model_run(record)
    (half,) = runs(store)
    assert half.info.status == "FAILED"
    assert log_model_run(record) == half.info.run_id
    (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert [step for step, _ in loss_of(store, run.info.run_id)] == [1, 2, 3]
    assert len(store.get_metric_history(run.info.run_id, "test/f1")) == 1
    assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["val"]
    assert {file.path for file in store.list_artifacts(run.info.run_id)} == {"plots", "data_docs"}


# ---- what a kill leaves


def killed(training_key, epochs, params=LIVE):
    """A training that a SIGKILL ended: nobody closes its run. (Who lets go of what is returned, does.)"""
    live = live_run("bilstm", params, training_key)
    live.__enter__().log_curves(CURVES[:epochs])
    return live


@pytest.mark.slow
def test_training_that_goes_on_after_a_kill_is_one_run_without_a_doubled_point(store):
    left = killed("training", epochs=2)
    (half,) = runs(store)
    trained(LIVE)
    (run,) = runs(store)
    assert run.info.run_id == half.info.run_id
    assert run.info.status == "FINISHED"
    assert [step for step, _ in loss_of(store, run.info.run_id)] == [1, 2, 3]
    del left


@pytest.mark.slow
def test_run_that_a_kill_left_open_is_closed_by_the_next_training_or_record_of_this_folder(
    store, record
):
    left = [killed("another", epochs=1)]
    trained({"train": {"units": 9}}, network_hash="of nine units")
    assert {run.data.tags["training_key"]: run.info.status for run in runs(store)} == {
        "another": "KILLED",
        "training": "FINISHED",
    }
    left.append(killed("a third", epochs=1, params={"train": {"units": 10}}))
    log_model_run(record)
    assert sorted(run.info.status for run in runs(store)) == [
        "FINISHED",
        "FINISHED",
        "KILLED",
        "KILLED",
    ]


@pytest.mark.slow
def test_open_run_of_another_folder_is_left_alone(store, record, tmp_path, monkeypatch):
    left = killed("training", epochs=1)
    (tmp_path / "another").mkdir()
    monkeypatch.chdir(tmp_path / "another")
    trained(LIVE)
    log_model_run(record)
    assert sorted(run.info.status for run in runs(store)) == ["FINISHED", "RUNNING"]
    del left


@pytest.mark.slow
def test_training_whose_end_no_server_heard_of_is_known_by_its_curves(store, record):
    left = killed("training", epochs=2)
    (open_run,) = runs(store)
    assert log_model_run(record) == open_run.info.run_id
    (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert [step for step, _ in loss_of(store, run.info.run_id)] == [1, 2, 3]
    del left


@pytest.mark.slow
def test_open_training_with_other_curves_is_not_taken_for_this_one(store, record):
    left = killed("training", epochs=2)
    other = [{**epoch, "loss": epoch["loss"] + 0.1} for epoch in CURVES]
    run_id = log_model_run(replace(record, curves=other))
    statuses = {run.info.run_id: run.info.status for run in runs(store)}
    assert statuses.pop(run_id) == "FINISHED"
    assert list(statuses.values()) == ["KILLED"]
    del left


@pytest.mark.slow
def test_training_that_is_forced_again_makes_no_second_run(store, record):
    trained(LIVE)
    run_id = log_model_run(record)
    trained(LIVE)
    assert log_model_run(record) == run_id
    (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert [step for step, _ in loss_of(store, run_id)] == [1, 2, 3]


# ---- a server that fails in the middle


@pytest.mark.slow
@pytest.mark.parametrize("took_effect", [False, True])
def test_training_goes_on_without_mlflow_and_its_curves_follow(
    took_effect, store, monkeypatch, caplog
):
    log_epoch = _log_epoch

    def lost(*arguments):
        if took_effect:
            log_epoch(*arguments)
        raise MlflowException("lost")

    with live_run("bilstm", LIVE, "training") as live:
        live.log_curves(CURVES[:1])
        with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
            broken.setattr(runs_, "_log_epoch", lost)
            live.log_curves(CURVES[:2])
        (line,) = caplog.messages
        assert line.startswith("MLflow at sqlite:///")
        assert line.endswith("; the training goes on, its curves follow")
        live.log_curves(CURVES)
        live.finish("network")
    (run,) = runs(store)
    assert [step for step, _ in loss_of(store, run.info.run_id)] == [1, 2, 3]
