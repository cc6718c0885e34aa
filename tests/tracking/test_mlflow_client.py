"""pipeline/tracking/mlflow_client.py"""

import os
import re
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from pipeline.registry import versions
from pipeline.tracking import mlflow_client
from pipeline.tracking.live_runs import live_run
from pipeline.tracking.mlflow_client import connect, find_or_create, http_limits, tracking_uri
from tests.harness import http_server
from tests.harness.errors import error_of
from tests.harness.mlflow_store import store_at

CHECK_SERVER = "check that MLFLOW_TRACKING_URI is right and that its server is up"
LOG_IN = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
REPEAT = "run it again: it continues where it stopped"


@pytest.fixture
def project(tmp_path):
    """A project's folder without a database."""
    (tmp_path / "params.yaml").touch()
    with store_at("", tmp_path):
        yield tmp_path


def test_uri_is_the_environments_else_in_the_root(project, monkeypatch):
    assert tracking_uri() == f"sqlite:///{project}/mlflow.db"
    (project / "copy").mkdir()
    monkeypatch.chdir(project / "copy")  # as in `dvc exp run --temp`
    monkeypatch.setenv("DVC_ROOT", "..")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # as in a CI job without secrets
    assert tracking_uri() == f"sqlite:///{project}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    assert tracking_uri() == "http://mlflow.example:5000"


def test_interrupted_creation_leaves_no_database(project, monkeypatch):
    def create_half(uri):
        Path(uri.removeprefix("sqlite:///")).write_bytes(b"half of its tables")
        raise KeyboardInterrupt

    monkeypatch.setattr(mlflow_client, "MlflowClient", create_half)
    with pytest.raises(KeyboardInterrupt):
        connect().__enter__()
    assert [path.name for path in project.iterdir()] == ["params.yaml"]


def test_database_that_the_user_names_is_not_created(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlfow.db")
    remedy = "correct the path, or create the database with `mlflow experiments search`"
    line = f"MLFLOW_TRACKING_URI: {project}/mlfow.db does not exist; {remedy}"
    assert error_of(connect().__enter__) == line
    assert [path.name for path in project.iterdir()] == ["params.yaml"]


def test_no_database_is_created_outside_of_a_project(project):
    (project / "params.yaml").unlink()
    problem = f"{project}: no params.yaml, so no project"
    remedy = "run in the project's root, or set MLFLOW_TRACKING_URI"
    assert error_of(connect().__enter__) == f"{problem}; {remedy}"
    assert list(project.iterdir()) == []


# ---- failures


@pytest.fixture(scope="module")
def other_server():
    """The address of a web server that is not MLflow: every path is 404."""
    with http_server.server() as server:
        yield f"http://127.0.0.1:{server.http.server_port}"


def error_at(uri, call, monkeypatch):
    """The message with which a call fails at this address."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return error_of(call)


def start_training():
    with live_run("bilstm", {"train": {"units": 8}}, "training"):
        raise AssertionError("trains without MLflow")


def download():
    with connect():
        mlflow.artifacts.download_artifacts("mlflow-artifacts:/1/model.keras")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (versions.champion_number, "API request to endpoint "),
        (start_training, "API request to endpoint "),
        (download, "404 Client Error: Not Found for url: "),
    ],
)
def test_unreachable_registry_is_an_error(call, problem, store, other_server, monkeypatch):
    line = error_at("http://me:secret@127.0.0.1:9", call, monkeypatch)
    assert line == f"MLflow at http://***@127.0.0.1:9: Connection refused; {CHECK_SERVER}"
    line = error_at(other_server, call, monkeypatch)
    assert re.fullmatch(f"MLflow at {other_server}: {problem}.*; {CHECK_SERVER}", line)


@pytest.mark.slow
def test_unusable_database_is_an_error(store, monkeypatch):
    Path("text.db").write_text("no database at all\n" * 60)
    line = error_at("sqlite:///text.db", versions.champion_number, monkeypatch)
    assert re.fullmatch("MLflow at sqlite:///text.db: .*file is not a database.*", line)


LONG = 300 * "s"
USER = f"https://me:{LONG}@host"


@pytest.mark.parametrize(
    ("code", "message", "line"),
    [
        (codes.PERMISSION_DENIED, "Not authenticated", f"Not authenticated; {LOG_IN}"),
        (codes.INVALID_PARAMETER_VALUE, "UniqueViolation", f"UniqueViolation; {REPEAT}"),
        (None, f"{USER} failed: too many 503 error responses", "too many 503 error responses"),
        (None, f"{USER} failed with Remote end closed connection", "Remote end closed connection"),
        (None, f"<html>\n{USER} {LONG}", f"<html> https://***@host {126 * 's'}"),
    ],
)
def test_servers_error_becomes_one_line_without_passwords(code, message, line, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@host")
    error = MlflowException(message, **({"error_code": code} if code else {}))
    line = line if code else f"{line}; {CHECK_SERVER}"
    assert str(mlflow_client.connection_error(error)) == f"MLflow at https://***@host: {line}"


# ---- find_or_create


@pytest.fixture
def two_retries(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example")


def test_thing_whose_response_was_lost_is_not_created_again(two_retries):
    things = []

    def create():
        things.append("thing")
        raise MlflowException("lost", error_code=codes.TEMPORARILY_UNAVAILABLE)

    assert find_or_create(lambda: next(iter(things), None), create) == "thing"
    assert len(things) == 1


@pytest.mark.parametrize(
    ("uri", "code", "tries"),
    [
        ("http://mlflow.example", codes.TEMPORARILY_UNAVAILABLE, 3),
        ("sqlite:///mlflow.db", codes.TEMPORARILY_UNAVAILABLE, 1),
        ("http://mlflow.example", codes.PERMISSION_DENIED, 1),
    ],
)
def test_only_a_servers_temporary_error_is_retried(uri, code, tries, two_retries, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    retries = []

    def create():
        retries.append(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
        raise MlflowException("lost", error_code=code)

    with pytest.raises(MlflowException, match="lost"):
        find_or_create(lambda: None, create)
    assert retries == ["0"] * tries  # MLflow's client itself sends nothing twice


def test_http_limits_end_with_the_block(monkeypatch):
    retries, timeout = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"
    monkeypatch.setenv(retries, "3")
    monkeypatch.delenv(timeout, raising=False)
    with http_limits(retries=0, timeout=9):
        assert (os.environ[retries], os.environ[timeout]) == ("0", "9")
    assert os.environ[retries] == "3"
    assert timeout not in os.environ


def test_deleted_experiment_is_restored(project, caplog):
    with connect() as client:
        number = mlflow_client.experiment_id(client)
        client.delete_experiment(number)
        assert mlflow_client.experiment_id(client) == number
        assert client.get_experiment(number).lifecycle_stage == "active"
    assert caplog.messages == ["MLflow: restores the experiment spam-detector, which was deleted"]
