"""Scheduled retraining, played by the workflow's own steps: weeks as they come, and what goes wrong."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from benchmarks.actions import Event, run

from pipeline.core.files import write_json, write_text
from pipeline.core.params import read_yaml
from tests.harness.retraining_rehearsal import (
    DAILY,
    WEEKS,
    Rehearsal,
    decided,
    locked,
    quiet,
    rehearsed,
    shuffled,
    table,
)
from tests.harness.year_of_retrainings import SETTINGS, TRAIN

NETWORK = {**SETTINGS["train"], **TRAIN}  # one that trains in seconds
SHORT = ("the first run", "quiet", "poisoned", "a broken file")


@pytest.fixture
def rehearsal(sms_messages, mlflow_server, tmp_path):
    mlflow_server.restore("empty")
    return Rehearsal(tmp_path, mlflow_server, shuffled(sms_messages), NETWORK)


@pytest.mark.slow
def test_weeks_end_as_they_should_and_begin_with_nothing_but_origin_and_remotes(rehearsal):
    told = []
    for week, problems in rehearsed(rehearsal, {name: WEEKS[name] for name in SHORT}):
        told.append(week)
        assert problems == [], week
    assert [week.verdict for week in told] == ["first", "", "", ""]
    assert [line["verdict"] for line in rehearsal.lines()] == ["first"]
    assert len(rehearsal.branches()) == 1
    pages = rehearsal.github().folder.glob("artifacts/*/review/review/*.html")
    assert {page.name for page in pages} >= {"drift.html", "poisoning.html"}
    assert [issue["title"] for issue in rehearsal.issues()] == [
        "New labels look tampered with",
        "The guard refuses the data",
    ]
    assert "did not retrain: 60 new rows of the 400 needed; " in table(told)
    assert all(week.seconds > 0 for week in told)


# ---- what goes wrong


class KilledError(Exception):
    pass


def killed_at(words):
    """The machine is lost when a step says this."""

    def watch(job, step, line):
        if line and words in line:
            raise KilledError(line)

    return watch


def well(result):
    """The run, which must have ended well."""
    assert result.success, log(result)[-3000:]
    return result


def failed(result):
    """The names of the steps that failed."""
    return [
        step.name for job in result.jobs.values() for step in job.steps if step.outcome == "failure"
    ]


@pytest.mark.slow
def test_whatever_dies_in_between_leaves_origin_and_registry_at_one_and_a_later_run_ends_it(
    rehearsal,
):
    before = rehearsal.at_origin("for-each-ref")

    def untouched():
        assert list(rehearsal.flaws()) == []
        assert rehearsal.at_origin("for-each-ref") == before
        assert rehearsal.champion() is None

    # the registry is away
    rehearsal.server.stop()
    assert (
        failed(rehearsal.played(DAILY, environment={"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"})) != []
    )
    rehearsal.server.start()
    untouched()

    # the machine is lost when the registry has the version, and nobody else knows
    with pytest.raises(KilledError):
        rehearsal.played(DAILY, watch=killed_at("is proposed"))
    untouched()

    # DVC's remote takes some files, and then no more
    kept = rehearsal.remote / "files/md5"
    kept.mkdir(parents=True)
    no_place = [kept / f"{first:02x}" for first in range(128)]  # for half of all hashes
    for path in no_place:
        path.symlink_to("/nowhere")
    assert failed(rehearsal.played(DAILY)) == ["Run dvc push"]
    assert any(path.is_file() for path in kept.rglob("*"))
    for path in no_place:
        path.unlink()
    untouched()

    # the token has expired: origin takes no push
    hook = rehearsal.origin / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho 'Bad credentials' >&2\nexit 1\n")
    hook.chmod(0o755)
    assert failed(rehearsal.played(DAILY)) == ["Run python -m pipeline propose"]
    hook.unlink()
    untouched()

    # two at once, which GitHub's concurrency group would keep apart
    with ThreadPoolExecutor() as both:
        runs = [both.submit(rehearsal.played, DAILY) for _ in range(2)]
    assert [run.result().success for run in runs].count(True) >= 1
    assert list(rehearsal.flaws()) == []

    # the registry is away when their pull requests are merged, all that are open
    rehearsal.server.stop()
    for request in rehearsal.requests():
        merged = rehearsal.merge(request, environment={"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"})
        assert failed(merged) == ["Run python -m pipeline ledger follow"]
    rehearsal.server.start()
    assert rehearsal.champion() is None
    quiet(rehearsal)
    assert decided(rehearsal.played(DAILY))["decision"] == "wait"
    assert list(rehearsal.flaws()) == []
    assert rehearsal.champion() == "1"


@pytest.mark.slow
def test_owner_who_said_so_gets_winners_by_themselves_also_after_a_race(rehearsal):
    stage_file = rehearsal.desk / "params.yaml"
    stage_file.write_text(stage_file.read_text().replace("auto_merge: false", "auto_merge: true"))
    rehearsal.push("By itself")

    def race(job, step, line):
        if (
            line is None
            and "pipeline.propose" in step
            and not (rehearsal.desk / "notes.md").exists()
        ):
            write_text(rehearsal.desk / "notes.md", "somebody pushes meanwhile")
            rehearsal.push("Notes")

    well(rehearsal.played(DAILY, watch=race))
    assert rehearsal.branches() == rehearsal.requests() == []
    assert list(rehearsal.flaws()) == []
    assert rehearsal.champion() == "1"
    assert rehearsal.at_origin("log", "-2", "--format=%s", "main").splitlines()[1] == "Notes"


@pytest.mark.slow
def test_fork_keeps_its_remote_in_a_cache_and_promotes_nothing_when_that_was_evicted(rehearsal):
    (rehearsal.desk / ".dvc/config").write_text("[core]\n    analytics = false\n")
    rehearsal.push("No remote of ours")
    nobody = {"secrets": {}}
    with pytest.raises(KilledError):  # when its branch is at origin, and no pull request is open
        rehearsal.played(DAILY, watch=killed_at("branch retrain/"), **nobody)
    assert rehearsal.requests() == []
    assert decided(well(rehearsal.played(DAILY, **nobody)))["decision"] == "wait"
    (request,) = rehearsal.requests()
    rehearsal.merge(request, **nobody)
    assert "register: first: " in log(well(pipeline_of_ci(rehearsal)))
    quiet(rehearsal)
    kept = well(rehearsal.played(DAILY, **nobody))
    assert "version 1 is the champion again, in a registry that had none" in log(kept)
    assert "60 new rows of the 400 needed" in decided(kept)["sentence"]
    for cache in rehearsal.github().caches.iterdir():
        cache.unlink()
    evicted = well(rehearsal.played(DAILY, **nobody))
    assert decided(evicted)["decision"] == "wait"
    assert "no champion to compare with: not promoting" in decided(evicted)["sentence"]


def pipeline_of_ci(rehearsal):
    """How the job of ci.yml ends that runs the whole pipeline, on what is at origin now."""
    workflow = rehearsal.folder / "ci.yml"
    loaded = read_yaml(rehearsal.desk / ".github/workflows/ci.yml")
    write_json(
        workflow, loaded | {"jobs": {"pipeline": loaded["jobs"]["pipeline"]}}
    )  # JSON is YAML
    return run(workflow, Event("push"), rehearsal.github(secrets={}), rehearsal.folder / "ci")


def log(result):
    return "\n".join(step.log for job in result.jobs.values() for step in job.steps)


# ---- parts


def test_hashes_of_a_lock_are_those_of_what_dvc_keeps():
    lock = """
stages:
  train:
    outs: [{path: models/model.keras, md5: aa}, {path: reports/train.json, md5: bb}]
  register:
    deps: [{path: x, md5: cc}]
"""
    assert locked(lock) == ["aa"]
    assert locked("") == []
