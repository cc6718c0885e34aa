"""pipeline/core/git.py"""

from pipeline.core.git import run_git, try_git
from tests.harness.errors import error_of


def test_command_returns_its_output_or_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_git("init", "--quiet")
    assert run_git("var", "GIT_EDITOR", GIT_EDITOR="ed") == "ed\n"
    assert try_git("rev-parse", "--is-inside-work-tree") == "true\n"
    command = ("rev-parse", "--verify", "HEAD")
    assert error_of(run_git, *command).startswith("git rev-parse: fatal: ")
    assert try_git(*command) is None
