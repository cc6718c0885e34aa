"""Fixtures that the tests of retraining share."""

import pytest
import ruamel.yaml

from tests.harness.small_project import ROOT, init_repository


def code_dependencies():
    """The code that a model depends on, from dvc.yaml: all but register's."""
    stages = ruamel.yaml.YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    del stages["register"]
    paths = {path for stage in stages.values() for path in stage["deps"]}
    return sorted(path for path in paths if path.startswith("pipeline/"))


def code_file(dependency):
    """A file of code in a dependency, which is a file or a folder."""
    return dependency if dependency.endswith(".py") else f"{dependency}/module.py"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Params, stages, code, docs and a lock, committed; returns what runs a command there."""
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "dvc.yaml", "dvc.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    others = ["pipeline/register.py", "pipeline/monitoring/drift.py", "README.md", "docs/index.md"]
    notes = ["pipeline/core/README.md"]
    for path in [*map(code_file, code_dependencies()), *others, *notes]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("first\n")
    return init_repository(tmp_path)
