"""MLflow is where it is said to be, or one line says why not; and what is made once stays one."""

import http.server
import os
import threading
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    PERMISSION_DENIED,
    TEMPORARILY_UNAVAILABLE,
)

from pipeline.core.errors import PipelineError
from pipeline.registry import versions
from pipeline.tracking import mlflow_client
from pipeline.tracking.mlflow_client import connect, find_or_create, http_limits, tracking_uri
from pipeline.tracking.runs import live_run

# ---- the address


def test_address_is_the_environments_else_beside_the_root(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")  # as in `dvc exp run --temp`
    monkeypatch.setenv("DVC_ROOT", "..")
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    assert tracking_uri() == "http://mlflow.example:5000"


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A project's folder without a database."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "DVC_ROOT"):
        monkeypatch.setenv(name, "")  # so that what MLflow sets here goes with the test
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


@pytest.mark.slow
def test_database_of_the_project_is_made_where_there_is_none(fresh):
    with connect() as client:
        assert [experiment.name for experiment in client.search_experiments()] == ["Default"]
    assert [file.name for file in fresh.iterdir()] == ["mlflow.db"]


def test_database_whose_making_was_interrupted_is_not_there(fresh, monkeypatch):
    def half(uri):
        Path(uri.removeprefix("sqlite:///")).write_bytes(b"half of its tables")
        raise KeyboardInterrupt

    monkeypatch.setattr(mlflow_client, "MlflowClient", half)
    with pytest.raises(KeyboardInterrupt), connect():
        raise AssertionError("it went on without a database")
    assert list(fresh.iterdir()) == []


def test_empty_variable_is_none_as_a_job_without_secrets_has_it(fresh, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    with connect():
        pass
    assert (fresh / "mlflow.db").exists()


def test_database_that_was_to_be_there_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlfow.db")
    with pytest.raises(PipelineError) as refused, connect():
        raise AssertionError("it went on without a registry")
    assert str(refused.value) == (
        f"MLFLOW_TRACKING_URI: {tmp_path}/mlfow.db is not there; mend the path, "
        "or make the database with `mlflow experiments search`"
    )
    assert list(tmp_path.iterdir()) == []


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
    with live_run("bilstm", {"train": {"units": 8}}, "training"):
        raise AssertionError("it trained without MLflow")


CALLS = {
    "champion": versions.champion_number,
    "load_champion": versions.load_champion,
    "promote": lambda: versions.promote("1", {}, after=None),
    "version_of": lambda: versions.find_version("a"),
    "live_run": started,
}


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_registry_that_does_not_answer_is_an_error(call, store, monkeypatch):
    assert refusal(CALLS[call], "http://me:secret@127.0.0.1:9", monkeypatch) == (
        "MLflow at http://***@127.0.0.1:9: Connection refused; "
        "see that MLFLOW_TRACKING_URI is right, and that its server is up"
    )


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_server_that_is_no_mlflow_is_an_error(call, store, no_mlflow, monkeypatch):
    line = refusal(CALLS[call], no_mlflow, monkeypatch)
    assert line.startswith(f"MLflow at {no_mlflow}: API request to endpoint ")
    assert line.endswith("; see that MLFLOW_TRACKING_URI is right, and that its server is up")
    assert "\n" not in line


@pytest.mark.slow
def test_artifact_that_the_server_has_not_got_is_an_error(store, no_mlflow, monkeypatch):
    def fetched():
        with connect():
            mlflow.artifacts.download_artifacts("mlflow-artifacts:/1/model.keras")

    line = refusal(fetched, no_mlflow, monkeypatch)
    assert line.startswith(f"MLflow at {no_mlflow}: 404 Client Error: Not Found for url: ")
    assert line.endswith("; see that MLFLOW_TRACKING_URI is right, and that its server is up")


@pytest.mark.slow
def test_database_that_cannot_be_opened_is_an_error(store, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no database at all\n" * 60)
    for uri, said in {
        f"sqlite:///{tmp_path}/file": "file is not a database",
        "nonsense://registry": "nonsense",
        str(tmp_path / "mlruns"): "maintenance mode",
    }.items():
        line = refusal(versions.champion_number, uri, monkeypatch)
        assert line.startswith(f"MLflow at {uri}: ")
        assert said in line
        assert "\n" not in line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            MlflowException("You are not authenticated", error_code=PERMISSION_DENIED),
            "MLflow at https://***@host: You are not authenticated; "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        ),
        (
            MlflowException(
                "API request to https://me:secret@host/api failed: too many 503 error responses"
            ),
            "MLflow at https://***@host: too many 503 error responses; "
            "see that MLFLOW_TRACKING_URI is right, and that its server is up",
        ),
        (
            MlflowException(
                f"API request to https://me:{300 * 's'}@host/api failed with Remote end closed connection"
            ),
            "MLflow at https://***@host: Remote end closed connection; "
            "see that MLFLOW_TRACKING_URI is right, and that its server is up",
        ),
        (
            MlflowException(f"https://me:{300 * 's'}@host says no"),
            "MLflow at https://***@host: https://***@host says no; "
            "see that MLFLOW_TRACKING_URI is right, and that its server is up",
        ),
        (
            MlflowException("UniqueViolation", error_code=INVALID_PARAMETER_VALUE),
            "MLflow at https://***@host: UniqueViolation; run it again: it goes on where it stopped",
        ),
        (
            MlflowException("<html>\n" + 300 * "x"),
            f"MLflow at https://***@host: <html> {193 * 'x'}; "
            "see that MLFLOW_TRACKING_URI is right, and that its server is up",
        ),
    ],
)
def test_what_a_server_says_becomes_one_line_without_the_password(error, line, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@host")
    assert str(mlflow_client.connection_error(error)) == line


# ---- once


class Server:
    """Keeps what is created; some answers get lost, before or after the call took effect."""

    def __init__(self, *answers):
        self.answers, self.things = list(answers), []

    def find(self):
        return self.things[0] if self.things else None

    def create(self):
        assert (
            os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
        )  # the client must not send it twice
        took_effect, error = self.answers.pop(0)
        if took_effect:
            self.things.append(object())
        if error:
            raise MlflowException("lost", error_code=error)
        return self.things[0]


@pytest.fixture
def three_trials(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example")


@pytest.mark.parametrize(
    "answers",
    [
        [(True, None)],
        [(False, TEMPORARILY_UNAVAILABLE), (True, None)],
        [(True, TEMPORARILY_UNAVAILABLE)],
        [(False, TEMPORARILY_UNAVAILABLE), (True, TEMPORARILY_UNAVAILABLE)],
        [(False, TEMPORARILY_UNAVAILABLE), (False, TEMPORARILY_UNAVAILABLE), (True, None)],
    ],
)
def test_thing_is_made_once_wherever_the_answer_got_lost(answers, three_trials):
    server = Server(*answers)
    assert find_or_create(server.find, server.create) is server.things[0]
    assert len(server.things) == 1
    assert server.answers == []


def test_thing_that_is_there_is_not_made(three_trials):
    server = Server()
    server.things = ["a"]
    assert find_or_create(server.find, server.create) == "a"


def test_server_that_stays_away_is_an_error_after_the_last_trial(three_trials):
    server = Server(*[(False, TEMPORARILY_UNAVAILABLE)] * 4)
    with pytest.raises(MlflowException, match="lost"):
        find_or_create(server.find, server.create)
    assert len(server.answers) == 1


def test_file_that_fails_is_not_waited_for(three_trials, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    server = Server(*[(False, TEMPORARILY_UNAVAILABLE)] * 3)
    with pytest.raises(MlflowException, match="lost"):
        find_or_create(server.find, server.create)
    assert len(server.answers) == 2


@pytest.mark.parametrize("error", [PERMISSION_DENIED, INVALID_PARAMETER_VALUE])
def test_refusal_is_not_tried_again(error, three_trials):
    server = Server((False, error), (True, None))
    with pytest.raises(MlflowException, match="lost"):
        find_or_create(server.find, server.create)
    assert len(server.answers) == 1


def test_patience_is_for_a_while(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    with http_limits(retries=0, timeout=9):
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "9"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "3"
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ
