"""pipeline/tracking/mlflow_client.py"""

import os
import re
from functools import partial
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
    with store_at("", tmp_path):
        yield tmp_path


def test_uri_is_the_environments_else_in_the_root(project, monkeypatch):
    assert tracking_uri() == f"sqlite:///{project}/mlflow.db"
    (project / "copy").mkdir()
    monkeypatch.chdir(project / "copy")  # as in `dvc exp run --temp`
    monkeypatch.setenv("DVC_ROOT", "..")
    assert tracking_uri() == f"sqlite:///{project}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    assert tracking_uri() == "http://mlflow.example:5000"


@pytest.mark.slow
def test_projects_database_is_created(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # as in a CI job without secrets
    with connect() as client:
        names = [experiment.name for experiment in client.search_experiments()]
    assert names == ["Default"]
    assert [file.name for file in project.iterdir()] == ["mlflow.db"]


def test_interrupted_creation_leaves_no_database(project, monkeypatch):
    def create_half(uri):
        Path(uri.removeprefix("sqlite:///")).write_bytes(b"half of its tables")
        raise KeyboardInterrupt

    monkeypatch.setattr(mlflow_client, "MlflowClient", create_half)
    with pytest.raises(KeyboardInterrupt):
        connect().__enter__()
    assert list(project.iterdir()) == []


def test_database_that_the_user_names_is_not_created(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlfow.db")
    remedy = "correct the path, or create the database with `mlflow experiments search`"
    line = f"MLFLOW_TRACKING_URI: {project}/mlfow.db does not exist; {remedy}"
    assert error_of(connect().__enter__) == line
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [
        versions.champion_number,
        versions.load_champion,
        partial(versions.promote, "1", {}, after=None),
        partial(versions.find_version, "a"),
        start_training,
    ],
)
def test_unreachable_registry_is_an_error(call, store, other_server, monkeypatch):
    line = error_at("http://me:secret@127.0.0.1:9", call, monkeypatch)
    assert line == f"MLflow at http://***@127.0.0.1:9: Connection refused; {CHECK_SERVER}"
    line = error_at(other_server, call, monkeypatch)
    problem = f"MLflow at {other_server}: API request to endpoint .*; {CHECK_SERVER}"
    assert re.fullmatch(problem, line)


@pytest.mark.slow
def test_missing_artifact_is_an_error(store, other_server, monkeypatch):
    def download():
        with connect():
            mlflow.artifacts.download_artifacts("mlflow-artifacts:/1/model.keras")

    line = error_at(other_server, download, monkeypatch)
    problem = f"MLflow at {other_server}: 404 Client Error: Not Found for url: .*; {CHECK_SERVER}"
    assert re.fullmatch(problem, line)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("uri", "problem"),
    [("sqlite:///text.db", "file is not a database"), ("mlruns", "maintenance mode")],
)
def test_unusable_database_is_an_error(uri, problem, store, monkeypatch):
    Path("text.db").write_text("no database at all\n" * 60)
    line = error_at(uri, versions.champion_number, monkeypatch)
    assert re.fullmatch(f"MLflow at {uri}: .*{problem}.*", line)


LONG = 300 * "s"
USER = f"https://me:{LONG}@host"


@pytest.mark.parametrize(
    ("code", "message", "line"),
    [
        (codes.PERMISSION_DENIED, "Not authenticated", f"Not authenticated; {LOG_IN}"),
        (codes.INVALID_PARAMETER_VALUE, "UniqueViolation", f"UniqueViolation; {REPEAT}"),
        (None, f"{USER} failed: too many 503 error responses", "too many 503 error responses"),
        (None, f"{USER} failed with Remote end closed connection", "Remote end closed connection"),
        (None, f"{USER} says no", "https://***@host says no"),
        (None, f"<html>\n{LONG}", f"<html> {193 * 's'}"),
    ],
)
def test_servers_error_becomes_one_line_without_passwords(code, message, line, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@host")
    error = MlflowException(message, **({"error_code": code} if code else {}))
    line = line if code else f"{line}; {CHECK_SERVER}"
    assert str(mlflow_client.connection_error(error)) == f"MLflow at https://***@host: {line}"


# ---- find_or_create

LOST = (False, codes.TEMPORARILY_UNAVAILABLE)  # (whether the call took effect, the error)
RESPONSE_LOST = (True, codes.TEMPORARILY_UNAVAILABLE)
CREATED = (True, None)


class Server:
    """Keeps what is created. Each call takes effect or not, and fails or not, as told."""

    def __init__(self, *calls):
        self.calls = list(calls)
        self.things = []

    def find(self):
        return self.things[0] if self.things else None

    def create(self):
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"  # it must not be sent twice
        takes_effect, error = self.calls.pop(0)
        if takes_effect:
            self.things.append(object())
        if error:
            raise MlflowException("lost", error_code=error)
        return self.things[0]


@pytest.fixture
def two_retries(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example")


@pytest.mark.parametrize(
    "calls",
    [[CREATED], [LOST, CREATED], [LOST, LOST, CREATED], [RESPONSE_LOST], [LOST, RESPONSE_LOST]],
)
def test_thing_is_created_once_whatever_is_lost(calls, two_retries):
    server = Server(*calls)
    assert find_or_create(server.find, server.create) is server.things[0]
    assert len(server.things) == 1
    assert server.calls == []


def test_existing_thing_is_not_created():
    assert find_or_create(lambda: "a", Server().create) == "a"


@pytest.mark.parametrize(
    ("uri", "error", "tries"),
    [
        ("http://mlflow.example", codes.TEMPORARILY_UNAVAILABLE, 3),
        ("sqlite:///mlflow.db", codes.TEMPORARILY_UNAVAILABLE, 1),
        ("http://mlflow.example", codes.PERMISSION_DENIED, 1),
        ("http://mlflow.example", codes.INVALID_PARAMETER_VALUE, 1),
    ],
)
def test_only_a_servers_temporary_error_is_retried(uri, error, tries, two_retries, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    server = Server(*[(False, error)] * 4)
    with pytest.raises(MlflowException, match="lost"):
        find_or_create(server.find, server.create)
    assert len(server.calls) == 4 - tries


def test_http_limits_end_with_the_block(monkeypatch):
    retries, timeout = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"
    monkeypatch.setenv(retries, "3")
    monkeypatch.delenv(timeout, raising=False)
    with http_limits(retries=0, timeout=9):
        assert (os.environ[retries], os.environ[timeout]) == ("0", "9")
    assert os.environ[retries] == "3"
    assert timeout not in os.environ
