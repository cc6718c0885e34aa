"""pipeline/tracking/ui.py"""

import os
import shutil
import sqlite3
import sys
from contextlib import closing

import pytest

from pipeline.tracking import ui
from pipeline.tracking.mlflow_client import MODEL_NAME
from tests.harness.errors import error_of

NEWER = "update this clone if a newer MLflow made it"
UPGRADE = (
    "copy the database and run `mlflow db upgrade` with this address, "
    "or update this clone if a newer MLflow made it"
)


@pytest.fixture
def started(monkeypatch):
    """The command lines that replace this process."""
    commands = []
    monkeypatch.setattr(os, "execv", lambda program, command: commands.append(command))
    return commands


def test_mlflow_shows_the_projects_database(store, tmp_path, started):
    ui.main(["--port", "5077"])
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    options = ["--backend-store-uri", uri, "--host", "127.0.0.1", "--port", "5077"]
    assert started == [[sys.executable, "-m", "mlflow", "ui", *options]]


def test_address_opens_the_view_for_training(store, started, caplog):
    caplog.set_level("INFO")
    number = store.create_experiment(MODEL_NAME)
    ui.main(["--port", "5077"])
    assert caplog.messages[0] == (
        f"open http://127.0.0.1:5077/#/experiments/{number}/runs?workflowType=machine_learning"
    )


def test_database_of_another_mlflow_is_one_line(store, started, monkeypatch):
    uri = "sqlite:///other.db"  # short, as an error line has 300 characters
    shutil.copyfile("mlflow.db", "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with closing(sqlite3.connect("other.db")) as database, database:
        (expected,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    versions = f"found version ffffffffffff, but expected {expected}"
    problem = f"out-of-date database schema ({versions})"
    assert error_of(ui.main, []) == f"MLflow at {uri}: {problem}; {UPGRADE}"
    assert started == []


def test_server_has_pages_of_its_own(monkeypatch, caplog, started):
    caplog.set_level("INFO")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    ui.main([])
    assert caplog.messages == ["open the server that MLFLOW_TRACKING_URI names"]
    assert started == []
