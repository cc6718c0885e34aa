"""Inputs of a stage that change while it runs."""

import os
from pathlib import Path

import pytest

from pipeline.core.stage_inputs import unchanged_inputs
from tests.harness.errors import error_of

DVC_YAML = """
stages:
  train:
    cmd: "true"
    deps: [data, code.py]
    params: [train, ingest.on_broken_file]
"""
PARAMS = "train: {units: 8}\ningest: {on_broken_file: stop, sources: []}\n"


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "train")
    for path, text in {"dvc.yaml": DVC_YAML, "params.yaml": PARAMS, "code.py": ""}.items():
        Path(path).write_text(text)
    Path("data/deep/__pycache__").mkdir(parents=True)
    Path("data/deep/a.csv").write_text("a")


def run_with(path, text):
    """Runs a stage while a file is written; its time of change always differs."""
    with unchanged_inputs():
        Path(path).write_text(text)
        os.utime(path, (1, 1))


@pytest.mark.parametrize(
    ("path", "text", "changed"),
    [
        ("params.yaml", PARAMS.replace("8", "9"), "params.yaml: train"),
        ("params.yaml", PARAMS.replace("stop", "skip"), "params.yaml: ingest.on_broken_file"),
        ("data/deep/a.csv", "b", "data/deep/a.csv"),
        ("data/new.csv", "a", "data/new.csv"),
        ("code.py", " ", "code.py"),
    ],
)
def test_changed_input_is_an_error(path, text, changed):
    line = f"{changed}: changed while train ran; run `dvc repro` again"
    assert error_of(run_with, path, text) == line


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("params.yaml", PARAMS.replace("[]", "[sms]")),
        ("data/deep/__pycache__/a.pyc", ""),
        ("other.csv", ""),
    ],
)
def test_change_of_what_is_no_input_is_fine(path, text):
    run_with(path, text)


@pytest.mark.parametrize("variables", [{}, {"DVC_STAGE": "another"}])
def test_other_runs_are_not_checked(monkeypatch, variables):
    monkeypatch.delenv("DVC_STAGE")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    run_with("code.py", " ")
