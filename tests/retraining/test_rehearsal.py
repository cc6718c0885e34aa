"""`make retrain` in clones of a real origin: some weeks, and what can go wrong."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness import retraining_rehearsal as rehearsal
from tests.harness.retraining_world import World

pytestmark = pytest.mark.slow

SMALL_NETWORK = {
    "model": "dense",
    "corruptions": [],
    "wide_share": 0.0,
    "dropout": 0.0,
    "patience": 99,
    "epochs": 7,
    "learning_rate": 0.01,
}
WEEKS = ("the first run", "quiet", "poisoned labels", "a broken file")


def test_weeks_end_as_they_should(sms_messages, tmp_path):
    train = rehearsal.SETTINGS["train"] | SMALL_NETWORK
    world = World(tmp_path, rehearsal.SETTINGS | {"train": train})
    inbox = rehearsal.Inbox(world, rehearsal.shuffle(sms_messages))
    rows = []
    for name in WEEKS:
        row, problems = rehearsal.play(inbox, name, rehearsal.WEEKS[name])
        assert problems == []
        rows.append(row)
    assert rows[1][1].startswith("no retraining: 60 new rows (400 needed); ")
    assert [line["verdict"] for line in world.ledger()] == ["first"]
    assert len(world.branches()) == 1
    titles = ["New labels look tampered with", "Validation refuses the new data"]
    assert [issue["title"] for issue in world.open("issue")] == titles
    pages = {page.name for page in tmp_path.glob("clone*/data/review/*.html")}
    assert pages >= {"drift.html", "poisoning.html"}


# ---- what can go wrong


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A world, its clone, and a function that restores it in place, as MLflow keeps its paths.

    In `trained` the clone has trained the first model, and nothing is pushed. In `merged` its pull
    request is merged, and the registry has not followed.
    """
    home = tmp_path_factory.mktemp("retraining")
    world = World(home / "world", {})
    clone = world.clone()
    prevent_pushes(world, "exit 1")
    assert world.make(clone, "retrain").returncode != 0
    (world.origin / "hooks/pre-receive").unlink()
    shutil.rmtree(world.remote)
    shutil.copytree(world.folder, home / "trained", symlinks=True)
    succeed(world.make(clone, "retrain"))
    world.merge(*world.open("pr"))
    shutil.copytree(world.folder, home / "merged", symlinks=True)

    def restore(name):
        shutil.rmtree(world.folder)
        shutil.copytree(home / name, world.folder, symlinks=True)
        return world

    return restore, clone


@pytest.fixture
def world(prepared):
    return prepared[0]("trained")


@pytest.fixture
def clone(prepared, world):
    return prepared[1]


@pytest.fixture
def merged(prepared):
    return prepared[0]("merged")


def prevent_pushes(world, script):
    """Runs a script in origin before every push to it is accepted."""
    hook = world.origin / "hooks/pre-receive"
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)


def succeed(done: subprocess.CompletedProcess):
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done


def nothing_happened(world):
    return (world.branches(), world.open("pr"), world.champion()) == ([], [], None)


def test_kill_before_push_leaves_no_proposal(world, clone):
    prevent_pushes(world, "kill -9 0")  # the process group of make
    assert world.make(clone, "retrain").returncode != 0
    assert nothing_happened(world)
    assert list(world.flaws()) == []


def test_kill_before_the_pull_request_is_completed_by_a_later_run(world, clone):
    assert world.make(clone, "retrain", GH_KILLS="1").returncode != 0
    (branch,) = world.branches()
    assert world.open("pr") == []
    succeed(world.make(world.clone(), "pull", "retrain"))
    assert [request["headRefName"] for request in world.open("pr")] == [branch]
    assert world.branches() == [branch]
    assert list(world.flaws()) == []


def test_expired_token_leaves_origin_and_the_next_run_proposes(world, clone):
    prevent_pushes(world, "echo 'Bad credentials' >&2; exit 1")
    done = world.make(clone, "retrain")
    assert done.returncode != 0
    assert "pre-receive hook declined" in done.stderr
    assert nothing_happened(world)
    (world.origin / "hooks/pre-receive").unlink()
    succeed(world.make(clone, "retrain"))
    assert len(world.open("pr")) == 1
    assert list(world.flaws()) == []


def test_remote_that_refuses_files_leaves_no_proposal(world, clone):
    for first in range(128):  # half of all hashes
        path = world.remote / f"files/md5/{first:02x}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to("/nowhere")
    assert world.make(clone, "retrain").returncode != 0
    assert any(path.is_file() for path in world.remote.rglob("*"))
    assert nothing_happened(world)


def test_two_at_once_leave_one_open_pull_request(world, clone):
    other = clone.with_name("other")
    shutil.copytree(clone, other, symlinks=True)
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(world.make, folder, "retrain") for folder in (clone, other)]
    assert [run.result().returncode for run in runs].count(0) >= 1
    assert len(world.open("pr")) == 1
    assert list(world.flaws()) == []


def test_registry_that_was_away_follows_the_merge_later(merged):
    away = merged.database.rename(merged.folder / "away.db")
    done = merged.make(merged.clone(), "follow")
    assert done.returncode != 0
    assert "error: MLFLOW_TRACKING_URI: " in done.stderr
    away.rename(merged.database)
    succeed(merged.make(merged.clone(), "pull", "retrain"))
    assert merged.champion() == "1"
    assert list(merged.flaws()) == []


def test_fork_rebuilds_its_registry_from_ledger_and_remote(merged):
    merged.make_registry()
    assert merged.champion() is None
    succeed(merged.make(merged.clone(), "pull", "retrain"))
    assert merged.champion() == "1"
    assert list(merged.flaws()) == []


def test_fork_that_lost_the_files_of_the_champion_promotes_nothing(merged):
    merged.make_registry()
    shutil.rmtree(merged.remote)
    clone = merged.clone()
    succeed(merged.make(clone, "pull", "retrain", REASON="now"))
    outputs = rehearsal.read_outputs(clone)
    assert outputs["decision"] == "wait"
    assert "the champion cannot be compared with: " in outputs["sentence"]
    assert merged.champion() is None
