"""`make retrain` in clones of a real origin: some weeks, and what can go wrong."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness import retraining_rehearsal as rehearsal
from tests.harness.retraining_world import World

pytestmark = pytest.mark.slow

SMALL_NETWORK = {"model": "dense", "corruptions": [], "wide_share": 0.0, "dropout": 0.0}
SHORT_TRAINING = {"patience": 99, "epochs": 7, "fewest_steps": 0, "learning_rate": 0.01}


def test_weeks_end_as_they_should(sms_messages, tmp_path):
    train = rehearsal.SETTINGS["train"] | SMALL_NETWORK | SHORT_TRAINING
    world = World(tmp_path, rehearsal.SETTINGS | {"train": train})
    inbox = rehearsal.Inbox(world, sms_messages)
    for name in ("the first run", "quiet", "poisoned labels", "a broken file"):
        _, problems = rehearsal.play(inbox, name, rehearsal.WEEKS[name])
        assert problems == []
    assert [line["verdict"] for line in world.ledger()] == ["first"]
    pages = {page.name for page in tmp_path.glob("clone*/data/review/*.html")}
    assert pages >= {"drift.html", "poisoning.html"}


# ---- what can go wrong


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A world whose clone has trained the first model and pushed nothing, and a copy of it."""
    home = tmp_path_factory.mktemp("retraining")
    world = World(home / "world", {})
    hook = prevent_pushes(world, "exit 1")
    assert world.make(world.clone(), "retrain").returncode != 0
    hook.unlink()
    shutil.rmtree(world.remote)
    return world, shutil.copytree(world.folder, home / "copy", symlinks=True)


@pytest.fixture
def world(trained):
    """The world as it was, in the same place, as MLflow keeps its paths."""
    world, copy = trained
    shutil.rmtree(world.folder)
    shutil.copytree(copy, world.folder, symlinks=True)
    return world


@pytest.fixture
def clone(world):
    (clone,) = world.folder.glob("clone*")
    return clone


def prevent_pushes(world, script):
    """Runs a script in origin before every push to it, until the returned file is deleted."""
    hook = world.origin / "hooks/pre-receive"
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)
    return hook


def succeed(done: subprocess.CompletedProcess):
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def nothing_happened(world):
    return (world.branches(), world.github.open("pr"), world.champion()) == ([], [], "")


def test_failures_before_the_push_leave_no_proposal(world, clone):
    for first in range(128):  # the remote refuses half of all hashes
        path = world.remote / f"files/md5/{first:02x}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to("/nowhere")
    assert world.make(clone, "retrain").returncode != 0
    assert any(path.is_file() for path in world.remote.rglob("*"))
    assert nothing_happened(world)
    shutil.rmtree(world.remote)
    prevent_pushes(world, "kill -9 0")  # the process group of make
    assert world.make(clone, "retrain").returncode != 0
    assert nothing_happened(world)
    hook = prevent_pushes(world, "echo 'Bad credentials' >&2; exit 1")
    assert "pre-receive hook declined" in world.make(clone, "retrain").stderr
    assert nothing_happened(world)
    hook.unlink()
    succeed(world.make(clone, "retrain"))
    assert len(world.github.open("pr")) == 1
    assert list(world.flaws()) == []


def test_kill_before_the_pull_request_is_completed_by_a_later_run(world, clone):
    assert world.make(clone, "retrain", GH_KILLS="1").returncode != 0
    (branch,) = world.branches()
    assert world.github.open("pr") == []
    succeed(world.make(world.clone(), "pull", "retrain"))
    assert [request["headRefName"] for request in world.github.open("pr")] == [branch]
    assert world.branches() == [branch]
    assert list(world.flaws()) == []


def test_two_at_once_leave_one_open_pull_request(world, clone):
    other = clone.with_name("other")
    shutil.copytree(clone, other, symlinks=True)
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(world.make, folder, "retrain") for folder in (clone, other)]
    assert [run.result().returncode for run in runs].count(0) >= 1
    assert len(world.github.open("pr")) == 1
    assert list(world.flaws()) == []


def follow_in_a_fresh_clone(world):
    """The next run makes the registry follow the merge."""
    assert world.champion() == ""
    succeed(world.make(world.clone(), "pull", "retrain"))
    assert world.champion() == "1"
    assert list(world.flaws()) == []


def test_registry_follows_the_merge_or_is_rebuilt_from_the_remote(world, clone):
    succeed(world.make(clone, "retrain"))
    world.merge(*world.github.open("pr"))
    away = world.database.rename(world.folder / "away.db")
    done = world.make(world.clone(), "follow")
    assert done.returncode != 0
    assert "error: MLFLOW_TRACKING_URI: " in done.stderr
    away.rename(world.database)
    follow_in_a_fresh_clone(world)
    world.make_registry()  # as in a fork
    follow_in_a_fresh_clone(world)
    world.make_registry()
    shutil.rmtree(world.remote)
    clone = world.clone()
    succeed(world.make(clone, "pull", "retrain", REASON="now"))
    outputs = rehearsal.read_outputs(clone)
    assert outputs["decision"] == "blocked"
    assert "the champion cannot be compared with: " in outputs["sentence"]
    assert world.champion() == ""
