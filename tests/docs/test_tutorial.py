"""The commands of the tutorial and of README's quick start print what the pages show."""

import json
import shutil

import pytest

from tests.docs import console
from tests.harness.small_project import ROOT, new_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """A clone in which the tutorial was followed, and the commands that printed something else."""
    folder = tmp_path_factory.mktemp("tutorial") / "clone"
    folder.mkdir()
    run = new_project(folder)
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    (folder / "data" / "inbox" / "messages.csv").unlink()
    run("git", "commit", "--quiet", "--all", "--message", "As in a new clone")
    return folder, console.follow(ROOT / "docs" / "tutorial.md", folder)


def test_tutorial_prints_what_it_shows(followed):
    assert followed[1] == []


def test_tutorial_ends_with_a_champion_in_git(followed):
    folder, _ = followed
    assert console.run("git status --porcelain", folder).split() == ["M", ".dvc/config"]
    (line,) = (folder / "ledger.jsonl").read_text().splitlines()
    assert json.loads(line)["verdict"] == "first"


def test_quick_start_of_readme_prints_what_it_shows(followed):
    """`make repro` finds the tutorial's messages, in place of the default data."""
    assert console.follow(ROOT / "README.md", followed[0]) == []


def test_difference_sees_another_label():
    expected = '{"text": "...", "label": "spam", ...}\n'
    assert console.difference(expected, '{"text": "a", "label": "spam", "p": 1}\n') == ""
    assert console.difference(expected, '{"text": "a", "label": "ham", "p": 1}\n')
