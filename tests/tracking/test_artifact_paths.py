"""A project's runs and models are found after its folder was moved or copied."""

import shutil
import sqlite3

import mlflow
import pytest
from mlflow import MlflowClient

from pipeline.tracking import artifact_paths
from pipeline.tracking.mlflow_client import connect, experiment_id
from tests.harness.errors import error_of
from tests.harness.mlflow_store import store_at


@pytest.fixture
def project(tmp_path, empty_database):
    """A folder with an MLflow in which a run has an artifact; and the run's id."""
    folder = tmp_path / "50% off"
    folder.mkdir()
    shutil.copyfile(empty_database, folder / "mlflow.db")
    with store_at("", folder), connect() as client:
        run = client.create_run(experiment_id(client))
        client.log_text(run.info.run_id, "a curve", "plots/loss.txt")
    return folder, run.info.run_id


def text_of(folder, run_id):
    """The artifact, as the project in a folder reads it."""
    with store_at("", folder), connect():
        uri = f"runs:/{run_id}/plots/loss.txt"
        return mlflow.artifacts.load_text(uri)


def locations(folder):
    """The experiments' locations."""
    database = f"sqlite:///{folder}/mlflow.db"
    return [one.artifact_location for one in MlflowClient(database).search_experiments()]


def test_moved_project_finds_its_artifacts_and_adds_more_there(project, tmp_path, caplog):
    folder, run_id = project
    moved = folder.rename(tmp_path / "moved")
    caplog.set_level("INFO", logger="pipeline")
    assert text_of(moved, run_id) == "a curve"
    old, new = ((place / "mlartifacts").as_uri() for place in (folder, moved))
    assert caplog.messages == [f"MLflow: follows the project, which was moved from {old}"]
    assert locations(moved)[0] == new
    assert not folder.exists()


def test_copied_project_uses_its_own_artifacts(project, tmp_path):
    folder, run_id = project
    copied = shutil.copytree(folder, tmp_path / "copied")
    (copied / "mlartifacts" / run_id / "artifacts/plots/loss.txt").write_text("the copy")
    assert text_of(copied, run_id) == "the copy"
    assert text_of(folder, run_id) == "a curve"


def test_locations_that_are_not_of_a_moved_project_stay(project, tmp_path):
    folder, _ = project
    elsewhere = [f"{tmp_path.as_uri()}/elsewhere", f"{folder.as_uri()}/mlartifacts"]
    (tmp_path / "other").mkdir()
    shutil.copyfile(folder / "mlflow.db", tmp_path / "other" / "mlflow.db")  # without its artifacts
    with store_at("", tmp_path / "other"):
        with connect() as client:
            client.create_experiment("elsewhere", artifact_location=elsewhere[0])
        with connect() as client:
            found = {one.name: one.artifact_location for one in client.search_experiments()}
    assert [found["elsewhere"], found["spam-detector"]] == elsewhere


def test_failure_changes_no_path_and_is_one_line(project, tmp_path, monkeypatch):
    folder, _ = project
    moved = folder.rename(tmp_path / "moved")
    monkeypatch.setattr(
        artifact_paths, "PATH_COLUMNS", (*artifact_paths.PATH_COLUMNS, ("no_table", "path"))
    )
    with store_at("", moved):
        line = error_of(connect().__enter__)
    assert line == (
        f"{moved}/mlflow.db: the project was moved, and its paths cannot be corrected: no such "
        "table: no_table; give permission, and end other programs that use the file, then run it "
        "again"
    )
    with sqlite3.connect(moved / "mlflow.db") as connection:
        rows = connection.execute("SELECT artifact_location FROM experiments").fetchall()
    assert (f"{folder.as_uri()}/mlartifacts",) in rows
