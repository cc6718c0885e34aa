"""A project with an evaluated model, for the tests of the registry."""

import subprocess

import pytest

from pipeline.core import dvc_cache
from pipeline.registry import parity
from tests.harness.evaluated_project import Project, score_in_process


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
