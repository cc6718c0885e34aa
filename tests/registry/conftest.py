"""A project with an evaluated model, for the tests of the registry."""

import shutil
import subprocess
from types import SimpleNamespace

import mlflow
import pandas as pd
import pytest

from pipeline.core import dvc_cache
from pipeline.registry import parity, recovery, restore, versions
from tests.harness.evaluated_project import Project, score_in_process
from tests.harness.ledger_entries import merge_ledger
from tests.harness.mlflow_store import store_at
from tests.harness.small_project import runner


@pytest.fixture
def evaluated(store, tmp_path, monkeypatch):
    """No model is registered yet; a champion is scored in this process."""
    monkeypatch.setattr(parity, "score_in_child", score_in_process)
    return Project(tmp_path, store)


@pytest.fixture
def champion(evaluated):
    """Version 1 is the champion; it calls nothing spam, so that almost any model beats it."""
    evaluated.register_thresholds(2.0)
    return evaluated


@pytest.fixture
def dvc_in_process(monkeypatch, capsys):
    """Runs DVC in this process, as each process of its own takes a second to start."""
    from dvc.cli import main

    def run_dvc(*command):
        code = main(list(command))
        return subprocess.CompletedProcess(command, code, *capsys.readouterr())

    monkeypatch.setattr(dvc_cache, "run_dvc", run_dvc)


# ---- a lost registry

TEXTS = ["WIN a prize now! Text CLAIM", "see you at lunch", "Free entry 87121"]


@pytest.fixture(scope="session")
def lost_files(tmp_path_factory, empty_database):
    """A project whose registry is lost, and what its champion answered to TEXTS.

    Versions 1 and 3 were champions, 2 was not, and 3 was rolled back.
    """
    folder = tmp_path_factory.mktemp("lost")
    run = runner(folder)
    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    shutil.copyfile(empty_database, folder / "mlflow.db")
    address = f"sqlite:///{folder}/mlflow.db"
    with store_at(address, folder) as patch:
        patch.setattr(parity, "score_in_child", score_in_process)
        project = Project(folder, mlflow.MlflowClient(address, address))
        for threshold in (2.0, 3.0, 0.0):
            project.set_threshold(threshold)
            run("dvc", "add", "--quiet", *restore.FILE_NAMES.values())
            project.register()
        recovery.rollback(None, "loses ham")
        model, _ = versions.load_champion()
        answers = model.predict(pd.DataFrame({"text": TEXTS}))
    merge_ledger(folder)
    shutil.rmtree(folder / "mlartifacts")
    (folder / "mlflow.db").unlink()
    return SimpleNamespace(folder=folder, texts=TEXTS, answers=answers)


@pytest.fixture
def lost(lost_files, evaluated, dvc_in_process):
    """A copy of the project, with an empty registry."""
    (evaluated.folder / "reports" / "evaluate.json").unlink()
    shutil.copytree(lost_files.folder, evaluated.folder, dirs_exist_ok=True)
    return evaluated
