"""decide sees what has happened since the champion, and run leaves a proposal."""

import subprocess
from datetime import UTC, datetime

import pandas as pd
import pytest
from conftest import ROOT, runner, set_params

from pipeline import retrain, stage
from pipeline.stage import PipelineError

DAY = pd.Timedelta(days=1)
NOON = pd.Timestamp("2026-03-02T12:00", tz="UTC")


def received(*days):
    """Messages that came so many days before the newest; None has no date."""
    dates = [pd.NaT if day is None else NOON - day * DAY for day in days]
    return pd.DataFrame({"text": [str(day) for day in days], "received_at": pd.to_datetime(dates, utc=True)})


def texts(windows):
    return [window["text"].tolist() for window in windows]


def test_windows_are_spans_of_equal_length_the_newest_last():
    new = received(0, 0, 6.9, 7, 13, 14, 30)
    assert texts(retrain.windows(new, days=7, most=3)) == [["14"], ["7", "13"], ["0", "0", "6.9"]]


def test_messages_without_a_date_are_of_the_newest_window():
    assert texts(retrain.windows(received(None, 0, 0, 8), days=7, most=2)) == [["8"], ["None", "0", "0"]]
    assert texts(retrain.windows(received(None, None), days=7, most=2)) == [[], ["None", "None"]]


def test_a_message_of_the_future_moves_no_window():
    new = received(-30_000, 0, 8)
    assert texts(retrain.windows(new, days=7, most=2)) == [["8"], ["-30000", "0"]]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Params, stages, code and a lock, committed; returns what runs a command there."""
    monkeypatch.chdir(tmp_path)
    run = runner(tmp_path)
    for name in ("params.yaml", "dvc.yaml", "dvc.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "pipeline").mkdir()
    for name in ("train", "drift", "register"):
        (tmp_path / f"pipeline/{name}.py").write_text("first\n")
    run("git", "init", "--quiet", "--initial-branch=main")
    run("git", "config", "user.name", "Ada")
    run("git", "config", "user.email", "ada@example.com")
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message", "First")
    return run


def test_code_and_params_that_a_model_depends_on_have_changed(repository, tmp_path):
    assert retrain.changed("HEAD") == []
    (tmp_path / "pipeline/train.py").write_text("second\n")
    set_params(
        tmp_path, {"train": {"units": 7}, "vectorize": {"split": {"train": 0.6, "val": 0.2, "test": 0.2}}}
    )
    assert retrain.changed("HEAD") == [
        "pipeline/train.py",
        "train.units",
        "vectorize.split.test",
        "vectorize.split.train",
        "vectorize.split.val",
    ]


def test_code_and_params_of_other_things_are_no_reason(repository, tmp_path):
    for name in ("drift", "register"):
        (tmp_path / f"pipeline/{name}.py").write_text("second\n")
    set_params(
        tmp_path, {"register": {"latency_budget": 7}, "drift": {"alpha": 0.5}, "retrain": {"windows": 9}}
    )
    assert retrain.changed("HEAD") == []


@pytest.mark.parametrize("commit", ["", "0" * 40])
def test_a_commit_that_is_not_here_is_no_reason_and_is_said(repository, commit, caplog):
    assert retrain.changed(commit) == []
    assert "is not in this clone: no word about changes" in caplog.text


def test_runs_are_known_by_their_commits_on_any_branch(repository, tmp_path):
    assert retrain.runs() == []
    commit = ("git", "commit", "--quiet", "--allow-empty", "--message", "Retrain: tie: f1 +0.0", "--message")
    for day, branch in ((3, "retrain/a"), (1, "retrain/b")):
        repository("git", "switch", "--quiet", "--create", branch, "main")
        repository(*commit, f"Retrained-at: 2026-03-0{day}T06:00:00Z")
    repository("git", "switch", "--quiet", "main")
    repository("git", "merge", "--quiet", "--no-ff", "retrain/a", "--message", "Retrain: tie: f1 +0.0")
    repository(*commit, "Retrained-at: 2026-03-01T06:00:00Z")  # the other, squashed
    repository(*commit, "Retrained-at: yesterday")  # by hand
    assert [one.time for one in retrain.runs()] == [datetime(2026, 3, day, 6, tzinfo=UTC) for day in (1, 3)]


def a_run(commit="HEAD"):
    return retrain.Run(datetime(2026, 3, 1, tzinfo=UTC), commit)


def test_a_run_had_the_same_if_data_code_and_params_are_what_they_were(repository, tmp_path):
    assert a_run().same
    set_params(tmp_path, {"train": {"units": 7}})
    assert not a_run().same
    repository("git", "checkout", "--quiet", "params.yaml")
    assert a_run().same
    lock = tmp_path / "dvc.lock"
    data = retrain._md5(stage.read_yaml(lock), retrain.VALIDATED)
    lock.write_text(lock.read_text().replace(data, "0" * 32))
    assert not a_run().same
    assert not a_run("0" * 40).same


def test_a_run_whose_files_are_nowhere_knew_nobody(repository):
    repository("dvc", "init", "--quiet")
    assert a_run().known_ids().tolist() == []
    assert a_run("0" * 40).known_ids().tolist() == []


@pytest.mark.parametrize(
    ("line", "so"),
    [
        ("data/inbox/a.csv: row 91: 1 columns, not 2; mend the row", True),
        ("data/ingested/messages.parquet: label_is_known: 4 of 94 rows (4.3 %) break it", True),
        (".downloads/a1: '../data.csv': leads out of the archive", True),
        ("params.yaml: ingest.sources: unknown 'smss'; choose from files, feedback, sms", False),
        ("data/sources.lock.json: missing; `git checkout data/sources.lock.json` brings it back", False),
        ("data/ingested/messages.parquet: No space left on device; free space, then run it again", False),
        ("data/inbox/a.csv: Permission denied; give permission, then run it again", False),
    ],
)
def test_errors_about_the_messages_are_the_guards_and_others_are_not(line, so):
    assert retrain.of_data(line) is so


def test_where_it_is_not_the_data_nothing_is_decided(monkeypatch):
    monkeypatch.setattr(retrain.subprocess, "run", lambda *_: subprocess.CompletedProcess([], 0))
    for said in (["data/inbox/a.csv: row 91: torn"], []):
        monkeypatch.setattr(retrain, "repro", lambda _, said=said: said)
        assert retrain.prepare() == said
    monkeypatch.setattr(retrain, "repro", lambda _: ["params.yaml: ingest: source: unknown key"])
    with pytest.raises(
        PipelineError, match=r"^params.yaml: ingest: source: unknown key; nothing was decided$"
    ):
        retrain.prepare()


def test_what_dvc_says_against_the_data_is_told_and_all_else_is_an_error(repository, tmp_path):
    repository("dvc", "init", "--quiet")

    def validate(command):
        stage.write_json(tmp_path / "dvc.yaml", {"stages": {"validate": {"cmd": command}}})  # JSON is YAML

    validate("echo 'error: row 91 is torn' >&2; exit 1")
    assert retrain.repro("validate") == ["row 91 is torn"]
    validate("echo 'error: none' >&2")
    assert retrain.repro("validate") == []
    validate("exit 1")
    with pytest.raises(PipelineError, match=r"^retrain: `dvc repro` failed, as it says above$"):
        retrain.repro("validate")


def test_exit_codes_can_be_told_apart_and_help_names_them():
    assert len(set(retrain.ACTIONS.values()) | {1, 2}) == len(retrain.ACTIONS) + 2
    command = ["python", "-m", "pipeline.retrain", "decide", "--help"]
    said = " ".join(subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.split())
    assert "0 retrain, 3 wait, 4 blocked, 5 refused, 1 an error" in said
