"""pipeline/__main__.py"""

import importlib
import os
import subprocess
import sys

import pytest

import pipeline
from pipeline.__main__ import COMMANDS, main
from tests.harness.errors import error_of
from tests.harness.small_project import ROOT


def test_keras_runs_on_tensorflow_whatever_is_set(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    importlib.reload(pipeline)
    assert os.environ["KERAS_BACKEND"] == "tensorflow"


def test_python_without_docstrings_is_refused_in_one_line():
    command = [sys.executable, "-c", "import pipeline"]
    environment = {**os.environ, "PYTHONOPTIMIZE": "2"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    line = "PYTHONOPTIMIZE=2 removes the docstrings that libraries need; set it to 1 or unset it"
    assert (done.returncode, done.stderr) == (1, f"error: {line}\n")


@pytest.mark.parametrize("argv", [[], ["--help"]])
def test_every_command_is_listed(argv, capsys):
    main(argv)
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:1] == " "]
    assert listed == list(COMMANDS)


def test_unknown_command_is_one_line_with_the_choices():
    choices = ", ".join(COMMANDS)
    line = f"python -m pipeline: unknown command 'scroe'; choose from {choices}"
    assert error_of(main, ["scroe"]) == line
