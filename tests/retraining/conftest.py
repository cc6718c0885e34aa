"""Fixtures that the tests of retraining share."""

import os

import pytest
import ruamel.yaml

from tests.harness.gh import GitHub
from tests.harness.small_project import ROOT, init_repository


def code_files():
    """Files of the code that a model depends on, from dvc.yaml: all but register's."""
    stages = ruamel.yaml.YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    del stages["register"]
    paths = {path for stage in stages.values() for path in stage.get("deps", [])}
    code = [path for path in paths if path.startswith("pipeline/")]
    return sorted(path if path.endswith(".py") else f"{path}/module.py" for path in code)


OTHER_FILES = (
    *("README.md", "docs/index.md", "pipeline/core/README.md"),
    *("pipeline/register.py", "pipeline/monitoring/drift.py"),
)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Params, stages, code, docs and a lock, pushed to `.git/origin`; returns a runner there."""
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "dvc.yaml", "dvc.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for path in (*code_files(), *OTHER_FILES):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("first\n")
    run = init_repository(tmp_path)
    run("git", "init", "--quiet", "--bare", "--initial-branch=main", ".git/origin")
    run("git", "remote", "add", "origin", str(tmp_path / ".git/origin"))
    run("git", "push", "--quiet", "--set-upstream", "origin", "main")
    return run


@pytest.fixture
def hub(tmp_path_factory, monkeypatch):
    """GitHub, whose program `gh` is replaced by tests/harness/gh.py."""
    hub = GitHub(tmp_path_factory.mktemp("github"))
    monkeypatch.setenv("PATH", str(hub.programs), prepend=os.pathsep)
    monkeypatch.setenv("GH_TOKEN", "t")
    return hub
