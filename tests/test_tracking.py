"""MLflow shows what the files say: one run an evaluation, live while it trains, one alias in service."""

import http.server
import threading
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from pipeline import tracking
from pipeline.stage import PipelineError
from pipeline.tracking import NAME, Record, address, flat, live_run

PARAMS = {"train.units": 8, "train.dropout": 0, "evaluate.seed": 1}
CURVES = [{"epoch": n, "loss": 1 / n, "accuracy": n / 10} for n in (1, 2, 3)]


@pytest.fixture
def record(tmp_path):
    """An evaluated model, as its files tell it."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.html").write_text("docs")
    return Record(
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
    experiment = store.get_experiment_by_name(NAME)
    return store.search_runs([experiment.experiment_id]) if experiment else []


def loss_of(store, run_id):
    return [(point.step, point.value) for point in store.get_metric_history(run_id, "train/loss")]


def trained(params, network_hash="network"):
    """A training that ended well."""
    with live_run("bilstm", params) as live:
        for epoch in CURVES:
            live.log_epoch(epoch)
        live.finish(network_hash)


LIVE = {"train": {"units": 8, "dropout": 0}}


# ---- names and places


def test_flat_names_params_by_their_dotted_keys():
    nested = {"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": None, "g": {}}
    assert flat(nested) == {"a.b.c": 1, "a.d": [1, {"e": 2}], "f": None}


def test_address_is_the_environments_else_beside_the_root(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert address() == f"sqlite:///{tmp_path}/mlflow.db"
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")  # as in `dvc exp run --temp`
    monkeypatch.setenv("DVC_ROOT", "..")
    assert address() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    assert address() == "http://mlflow.example:5000"


# ---- train's live curves


@pytest.mark.slow
def test_epoch_is_seen_while_the_training_goes_on(store):
    with live_run("bilstm", LIVE) as live:
        for epoch in CURVES[:2]:
            live.log_epoch(epoch)
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
        with live_run("bilstm", LIVE) as live:
            live.log_epoch(CURVES[0])
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
    run_id = tracking.record(record)
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
    assert tracking.record(record) == tracking.record(record)
    (run,) = runs(store)
    assert len(loss_of(store, run.info.run_id)) == 3


@pytest.mark.slow
def test_live_run_of_the_same_network_is_finished_and_not_repeated(store, record):
    trained(LIVE)
    (live,) = runs(store)
    assert tracking.record(record) == live.info.run_id
    (run,) = runs(store)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "bilstm f1 0.900")
    assert run.data.params == {"train.units": "8", "train.dropout": "0", "evaluate.seed": "1"}
    assert len(loss_of(store, run.info.run_id)) == 3


@pytest.mark.slow
def test_live_run_of_another_network_is_left_alone(store, record):
    trained(LIVE, network_hash="another")
    (live,) = runs(store)
    assert tracking.record(record) != live.info.run_id
    assert len(runs(store)) == 2
    assert "run_key" not in store.get_run(live.info.run_id).data.tags


@pytest.mark.slow
def test_live_run_under_other_params_is_left_alone(store, record):
    """More patience can make the same network; MLflow lets no param of a run change."""
    trained({"train": {"units": 8, "dropout": 0.5}})
    (live,) = runs(store)
    run_id = tracking.record(record)
    assert run_id != live.info.run_id
    assert store.get_run(run_id).data.params["train.dropout"] == "0"
    assert len(loss_of(store, run_id)) == 3


@pytest.mark.slow
def test_second_evaluation_of_one_network_is_a_second_run(store, record):
    trained(LIVE)
    first = tracking.record(record)
    params = PARAMS | {"evaluate.seed": 2}
    second = tracking.record(replace(record, run_key="another", params=params, metrics={"test/f1": 0.8}))
    assert first != second
    assert [store.get_run(run_id).data.metrics["test/f1"] for run_id in (first, second)] == [0.9, 0.8]
    assert loss_of(store, second) == loss_of(store, first)
    assert len(runs(store)) == 2


@pytest.mark.slow
def test_record_that_broke_off_is_made_again_whole(store, record):
    with pytest.raises(PipelineError, match=r"^MLflow at .*no\*name"):
        tracking.record(replace(record, params=PARAMS | {"no*name": 1}))
    run_id = tracking.record(record)
    assert len(loss_of(store, run_id)) == 3
    assert sorted(run.info.status for run in runs(store)) == ["FAILED", "FINISHED"]


# ---- versions and the alias


def version(store, model_hash):
    if not store.search_registered_models():
        store.create_registered_model(NAME)
    return str(store.create_model_version(NAME, "file:///nowhere", tags={"model_hash": model_hash}).version)


@pytest.mark.slow
def test_champion_is_the_version_that_was_promoted_last(store):
    assert tracking.champion() is None  # no model
    first, second = version(store, "a"), version(store, "b")
    assert tracking.champion() is None  # no alias
    for promoted in (first, second, first):
        tracking.promote(promoted)
        assert tracking.champion() == promoted
        assert str(store.get_model_version_by_alias(NAME, "champion").version) == promoted


@pytest.mark.slow
def test_version_is_found_by_the_hash_of_its_model(store):
    assert tracking.version_of("a") is None
    first, second = version(store, "a"), version(store, "b")
    assert [tracking.version_of(name) for name in ("a", "b", "c")] == [first, second, None]


@pytest.mark.slow
def test_tag_of_a_version_is_set_and_no_other(store):
    tracking.tag_version(version(store, "a"), "verdict", "criteria met")
    assert store.get_model_version(NAME, "1").tags == {"model_hash": "a", "verdict": "criteria met"}


@pytest.mark.slow
def test_without_a_champion_it_says_how_to_make_one(store):
    with pytest.raises(PipelineError) as refused:
        tracking.load_champion()
    assert str(refused.value) == "models:/spam-detector@champion: there is none yet; run `make repro`"


@pytest.mark.slow
def test_champion_whose_files_are_gone_is_one_line(store):
    tracking.promote(version(store, "a"))
    with pytest.raises(PipelineError, match=r"^MLflow at MLFLOW_TRACKING_URI or mlflow\.db: .*\S$"):
        tracking.load_champion()


# ---- a registry that is not there is not one without a champion


class NotFound(http.server.BaseHTTPRequestHandler):
    """Whatever it is asked for, it has not got it."""

    def do_GET(self):
        self.send_error(404)

    def do_POST(self):
        self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def no_mlflow():
    """The address of a server that is no MLflow."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), NotFound)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def refusal(call, uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(PipelineError) as refused:
        call()
    return str(refused.value)


def started():
    with live_run("bilstm", LIVE):
        raise AssertionError("it trained without MLflow")


CALLS = {
    "champion": tracking.champion,
    "load_champion": tracking.load_champion,
    "promote": lambda: tracking.promote("1"),
    "version_of": lambda: tracking.version_of("a"),
    "live_run": started,
}


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_registry_that_does_not_answer_is_an_error(call, store, monkeypatch):
    line = refusal(CALLS[call], "http://127.0.0.1:9", monkeypatch)
    assert line.startswith("MLflow at MLFLOW_TRACKING_URI or mlflow.db: API request to http://127.0.0.1:9/")
    assert "\n" not in line


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_server_that_is_no_mlflow_is_an_error(call, store, no_mlflow, monkeypatch):
    line = refusal(CALLS[call], no_mlflow, monkeypatch)
    assert line.startswith("MLflow at MLFLOW_TRACKING_URI or mlflow.db: API request to endpoint ")
    assert "\n" not in line


@pytest.mark.slow
def test_database_that_cannot_be_opened_is_an_error(store, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no database at all\n" * 60)
    for uri, said in {
        f"sqlite:///{tmp_path}/file": "file is not a database",
        f"sqlite:///{tmp_path}/file/mlflow.db": "File exists",
        "nonsense://registry": "nonsense",
        str(tmp_path / "mlruns"): "maintenance mode",
    }.items():
        line = refusal(tracking.champion, uri, monkeypatch)
        assert line.startswith("MLflow at MLFLOW_TRACKING_URI or mlflow.db: ")
        assert said in line
        assert "\n" not in line
