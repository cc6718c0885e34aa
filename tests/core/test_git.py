"""pipeline/core/git.py"""

import pytest

from pipeline.core.git import run_git, try_git
from tests.harness.errors import error_of


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_git("init", "--quiet")


def test_output_of_a_command_is_returned():
    assert run_git("rev-parse", "--is-inside-work-tree") == "true\n"
    assert try_git("rev-parse", "--is-inside-work-tree") == "true\n"
    assert run_git("var", "GIT_EDITOR", GIT_EDITOR="ed") == "ed\n"


def test_failed_command_is_an_error_or_none():
    command = ("rev-parse", "--verify", "HEAD")
    assert error_of(run_git, *command).startswith("git rev-parse: fatal: ")
    assert try_git(*command) is None
