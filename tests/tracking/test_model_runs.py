"""pipeline/tracking/model_runs.py"""

from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from pipeline.tracking.model_runs import (
    attach_file,
    log_model_run,
    log_restored_run,
    set_verdict,
)
from tests.harness.errors import error_of
from tests.tracking.conftest import CURVES

pytestmark = pytest.mark.slow  # each test writes to an MLflow database


@pytest.mark.parametrize("function", ["log_metrics", "log_input", "log_artifacts"])
def test_run_has_the_contents_even_after_an_interruption(
    function, tracked, contents, tmp_path, monkeypatch
):
    def fail(*_, **__):
        raise mlflow.MlflowException("unplugged")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow, function, fail)
        assert ": unplugged; " in error_of(log_model_run, contents)
    assert tracked.statuses() == ["FAILED"]
    run_id = log_model_run(contents)
    run = tracked.only_run()
    assert run.info.run_id == run_id
    assert (run.info.status, run.info.run_name) == ("FINISHED", "bilstm f1 0.900 01234567")
    assert run.data.params["validate.row_count"] == "[20, 40]"
    assert run.data.metrics["test/f1"] == 0.9
    assert len(tracked.store.get_metric_history(run_id, "test/f1")) == 1
    assert tracked.losses(run_id) == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    tags = {"run_key": contents.run_key, "network_hash": "network", **contents.tags}
    tags["mlflow.note.content"] = contents.description
    assert tags.items() <= run.data.tags.items()
    assert {entry.dataset.name for entry in run.inputs.dataset_inputs} == {"val", "test"}
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    assert artifacts.is_relative_to(tmp_path / "mlartifacts")
    assert (artifacts / "plots" / "roc.png").read_bytes() == b"\x89PNG"
    assert (artifacts / "data_docs" / "index.html").read_text() == "docs"
    assert log_model_run(contents) == run_id
    assert tracked.epochs(run_id) == [1, 2, 3]


def test_run_of_the_training_is_continued_by_its_first_evaluation(tracked, contents):
    run_id = tracked.train()
    for _ in range(2):
        assert log_model_run(contents) == run_id
        run = tracked.only_run()
        assert (run.info.status, run.info.run_name) == ("FINISHED", contents.name)
        assert run.data.params["validate.row_count"] == "[20, 40]"
        assert tracked.epochs(run_id) == [1, 2, 3]
        tracked.train()  # forced to run again
    second = log_model_run(replace(contents, run_key="another", metrics={"test/f1": 0.8}))
    f1 = [tracked.store.get_run(run).data.metrics["test/f1"] for run in (run_id, second)]
    assert f1 == [0.9, 0.8]
    assert tracked.losses(second) == tracked.losses(run_id)
    assert len(tracked.runs()) == 2


@pytest.mark.parametrize(
    "training",
    [{"network_hash": "another"}, {"params": {"train": {"units": 9}}}],
    ids=["another network", "other params"],
)
def test_run_of_another_training_is_left_alone(training, tracked, contents):
    live_id = tracked.train(**training)
    run_id = log_model_run(contents)
    assert run_id != live_id
    assert "run_key" not in tracked.store.get_run(live_id).data.tags
    assert tracked.epochs(run_id) == [1, 2, 3]


def test_training_whose_end_was_missed_is_known_by_its_curves(tracked, contents):
    killed = tracked.kill_training(epochs=2)
    run_id = tracked.only_run().info.run_id
    assert log_model_run(contents) == run_id
    assert tracked.statuses() == ["FINISHED"]
    assert tracked.epochs(run_id) == [1, 2, 3]
    del killed


def test_open_training_with_other_curves_is_closed_in_this_folder(
    tracked, contents, tmp_path, monkeypatch
):
    killed = [tracked.kill_training(epochs=1)]
    (tmp_path / "another").mkdir()
    monkeypatch.chdir(tmp_path / "another")
    killed += [tracked.kill_training(epochs=2)]
    curves = [{**epoch, "loss": epoch["loss"] + 0.1} for epoch in CURVES]
    run_id = log_model_run(replace(contents, curves=curves))
    assert tracked.statuses() == ["FINISHED", "KILLED", "RUNNING"]
    assert tracked.store.get_run(run_id).info.status == "FINISHED"
    del killed


def test_restored_model_has_one_run_and_a_changed_verdict(tracked):
    run_id = log_restored_run("model", "restored", {"model_hash": "model"})
    assert log_restored_run("model", "restored", {"model_hash": "model"}) == run_id
    set_verdict(run_id, "promoted", "**promoted**")
    run = tracked.only_run()
    assert (run.info.status, run.info.run_name) == ("FINISHED", "restored")
    tags = {"verdict": "promoted", "mlflow.note.content": "**promoted**", "restored": "model"}
    assert tags.items() <= run.data.tags.items()


def test_attached_file_replaces_the_one_of_its_name(tracked, contents, tmp_path):
    run_id = log_model_run(contents)
    log_model_run(replace(contents, run_key="another"))
    page = tmp_path / "page.html"
    for text in ("before", "now"):
        page.write_text(text)
        attach_file(page, "reports", run_key=contents.run_key)
    folder = tracked.store.download_artifacts(run_id, "reports", str(tmp_path))
    assert (Path(folder) / "page.html").read_text() == "now"


def test_file_without_a_run_is_one_line(tracked, contents):
    log_model_run(contents)
    line = "page.html: MLflow has no run of this model; run `dvc repro`"
    assert error_of(attach_file, Path("page.html"), "reports", run_key="unknown") == line
