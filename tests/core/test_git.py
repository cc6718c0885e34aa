"""pipeline/core/git.py"""

import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.git import run_git, try_git


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_git("init", "--quiet")


def test_output_of_a_command_is_returned():
    assert run_git("rev-parse", "--is-inside-work-tree") == "true\n"
    assert try_git("rev-parse", "--is-inside-work-tree") == "true\n"
    assert run_git("var", "GIT_EDITOR", GIT_EDITOR="ed") == "ed\n"


def test_failed_command_is_an_error_or_none():
    with pytest.raises(PipelineError, match=r"^git rev-parse: fatal: "):
        run_git("rev-parse", "--verify", "HEAD")
    assert try_git("rev-parse", "--verify", "HEAD") is None
