"""A project with an evaluated model, for the tests of the registry."""

import pytest

from pipeline.registry import parity
from tests.harness.evaluated_project import Project, score_in_process


@pytest.fixture
def project(store, tmp_path, monkeypatch):
    """No model is registered yet; a champion is scored in this process."""
    monkeypatch.setattr(parity, "score_in_child", score_in_process)
    return Project(tmp_path, store)


@pytest.fixture
def champion(project):
    """Version 1 is the champion; it calls nothing spam, so that almost any model beats it."""
    project.register_thresholds(2.0)
    return project
