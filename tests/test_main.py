"""pipeline/__main__.py"""

import sys

import pytest

from pipeline.__main__ import COMMANDS, main
from tests.harness.errors import error_of


@pytest.mark.parametrize("argv", [[], ["--help"]])
def test_every_command_is_listed(argv, capsys):
    main(argv)
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:1] == " "]
    assert listed == list(COMMANDS)


def test_unknown_command_is_one_line_with_the_choices():
    choices = ", ".join(COMMANDS)
    line = f"python -m pipeline: unknown command 'scroe'; choose from {choices}"
    assert error_of(main, ["scroe"]) == line


@pytest.mark.slow  # imports TensorFlow, MLflow and Great Expectations
@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_shows_an_example(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pipeline"])
    with pytest.raises(SystemExit) as raised:
        main([name, "--help"])
    assert raised.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: python -m pipeline {name} ")
    assert f"example: python -m pipeline {name}" in text
