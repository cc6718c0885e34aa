"""Git tells which retrainings there were, and what has changed since."""

from datetime import UTC, datetime

import pytest

from pipeline.core.params import read_yaml
from pipeline.retraining import history
from tests.harness.errors import error_of
from tests.harness.small_project import commit_all, set_params
from tests.retraining.conftest import OTHER_FILES, code_files

# ---- changes


def test_changed_lines_of_training_code_are_the_changes(repository, tmp_path):
    assert history.changed_since("HEAD") == []
    for path in (*code_files(), *OTHER_FILES):
        (tmp_path / path).write_text("second\n")
    assert history.changed_since("HEAD") == code_files()


def test_changed_params_of_model_stages_are_changes(repository, tmp_path):
    split = {"train": 0.6, "val": 0.2, "test": 0.2}
    set_params(tmp_path, {"train": {"units": 7}, "vectorize": {"split": split}})
    set_params(tmp_path, {"register": {"latency_budget": 7}, "retrain": {"windows": 9}})
    splits = [f"vectorize.split.{name}" for name in ("test", "train", "val")]
    assert history.changed_since("HEAD") == ["train.units", *splits]


def test_unknown_commit_has_no_changes_and_is_logged(repository, caplog):
    assert history.changed_since("") == history.changed_since("0" * 40) == []
    assert caplog.text.count(" is not in this clone: changes since then are unknown") == 2


# ---- past runs


def test_runs_are_found_by_their_commits_on_any_branch(repository, monkeypatch):
    assert history.past_runs() == []
    for day, branch in ((3, "retrain/a"), (1, "retrain/b")):
        repository("git", "switch", "--quiet", "--create", branch, "main")
        commit_all(repository, "Retrain: tie", f"Retrained-at: 2026-03-0{day}T06:00:00Z {day:040}")
    repository("git", "switch", "--quiet", "main")
    repository("git", "merge", "--quiet", "--no-ff", "retrain/a", "--message", "Retrain: tie")
    commit_all(repository, "Squashed", f"Retrained-at: 2026-03-01T06:00:00Z {1:040}")
    times = ("yesterday", "2026-03-01T06:00:00Z")
    bad_times = ("yesterday", "0001-01-01T00:00:00+14:00")
    for malformed in (*times, *(f"{time} {1:040}" for time in bad_times), f"{times[1]} --output=x"):
        head = commit_all(repository, "By hand", f"Retrained-at: {malformed}")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1772431200")
    commit_all(repository, "Retrain", history.trailer_line())
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    runs = [(run.time, run.source) for run in history.past_runs()]
    days = {1: f"{1:040}", 2: head, 3: f"{3:040}"}
    assert runs == [(datetime(2026, 3, day, 6, tzinfo=UTC), days[day]) for day in days]


def test_run_with_a_clock_ahead_has_the_time_of_its_commit(repository, monkeypatch, caplog):
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-03-01T06:00:00Z")
    source = commit_all(repository, "New data")
    for time, commit in (("2027-01-01", source), ("2027-01-02", "0" * 40), ("2026-02-01", source)):
        commit_all(repository, "Retrain", f"Retrained-at: {time}T06:00:00Z {commit}")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1772431200")  # 2 March 2026
    times = [f"{run.time:%Y-%m-%d}" for run in history.past_runs()]
    assert times == ["1970-01-01", "2026-02-01", "2026-03-01"]
    dated = f"warning: retrain: the run from commit {source[:8]} is dated 2027-01-01"
    assert [message.startswith(dated) for message in caplog.messages] == [True, False]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1770000000")  # the clock is set back to 2 February
    assert [run.time.year for run in history.past_runs()] == [1970, 1970, 2026]


def past_run(commit="HEAD", source="HEAD"):
    return history.PastRun(datetime(2026, 3, 1, tzinfo=UTC), commit, source)


def test_run_had_the_same_inputs_until_data_or_params_change(repository, tmp_path):
    assert past_run().same_inputs
    set_params(tmp_path, {"train": {"units": 7}})
    assert not past_run().same_inputs
    repository("git", "checkout", "--quiet", "params.yaml")
    lock = tmp_path / "dvc.lock"
    messages = history.locked_md5(read_yaml(lock), history.MESSAGES_FILE)
    lock.write_text(lock.read_text().replace(messages, "0" * 32))
    assert not past_run().same_inputs
    assert not past_run("0" * 40).same_inputs


def test_code_merged_before_a_squashed_proposal_is_new_to_its_run(repository, tmp_path):
    before = repository("git", "rev-parse", "HEAD").stdout.strip()
    (tmp_path / "pipeline/train.py").write_text("second\n")
    commit_all(repository, "Squashed on top of other code")
    assert not past_run(source=before).same_inputs
    assert past_run(source=before).changed == ["pipeline/train.py"]


@pytest.mark.slow
def test_run_whose_files_are_lost_has_seen_nothing(repository):
    repository("dvc", "init", "--quiet")
    assert past_run().seen_ids().tolist() == []
    assert past_run("0" * 40).seen_ids().tolist() == []


# ---- the branch that proposals go to


def test_unpublished_commits_and_files_are_refused(repository, tmp_path):
    commit_all(repository, "Not ready")
    line = "retrain: origin's main lacks commits of this clone; push them, then run it again"
    assert error_of(history.require_published, "main") == line
    repository("git", "push", "--quiet", "origin", "main")
    (tmp_path / "dvc.lock").write_text("an output of retraining")
    history.require_published("main")
    set_params(tmp_path, {"train": {"seed": 7}})
    line = "retrain: params.yaml: differs from the last commit; commit it, then run it again"
    assert error_of(history.require_published, "main") == line


def test_default_branch_is_githubs_else_origins_else_the_current(repository, monkeypatch):
    monkeypatch.delenv("GITHUB_REF_NAME", raising=False)
    repository("git", "switch", "--quiet", "--create", "topic")
    assert history.default_branch() == "topic"
    repository("git", "switch", "--quiet", "--detach")
    line = "retrain: this clone is on no branch; `git switch` to the branch that proposals go to"
    assert error_of(history.default_branch) == line
    repository("git", "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    assert history.default_branch() == "main"
    monkeypatch.setenv("GITHUB_REF_NAME", "trunk")
    assert history.default_branch() == "trunk"
