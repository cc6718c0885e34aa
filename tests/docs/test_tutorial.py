"""The commands of the tutorial and of README's quick start print what the pages show."""

import json
import shutil

import pytest

from tests.docs import console
from tests.harness.small_project import ROOT, new_project


@pytest.mark.slow
def test_tutorial_and_quick_start_print_what_they_show(tmp_path):
    """In a clone; `make repro` of README finds the tutorial's messages, not the default data."""
    clone = tmp_path / "clone"  # the tutorial makes its remote beside it
    run = new_project(clone)
    shutil.copyfile(ROOT / "params.yaml", clone / "params.yaml")
    (clone / "data" / "inbox" / "messages.csv").unlink()
    run("git", "commit", "--quiet", "--all", "--message", "As in a new clone")
    assert console.follow(ROOT / "docs" / "tutorial.md", clone) == []
    assert run("git", "status", "--porcelain").stdout == " M .dvc/config\n"
    (line,) = (clone / "ledger.jsonl").read_text().splitlines()
    assert json.loads(line)["verdict"] == "first"
    assert console.follow(ROOT / "README.md", clone) == []


def test_difference_sees_another_label():
    expected = '{"text": "...", "label": "spam", ...}\n'
    assert console.difference(expected, '{"text": "a", "label": "spam", "p": 1}\n') == ""
    assert console.difference(expected, '{"text": "a", "label": "ham", "p": 1}\n')
