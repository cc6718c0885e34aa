"""Git tells which retrainings there were, and what has changed since."""

from datetime import UTC, datetime

import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.params import read_yaml
from pipeline.retraining import history
from tests.harness.small_project import commit_all, set_params
from tests.retraining.conftest import code_dependencies, code_file

# ---- changes


@pytest.mark.parametrize("dependency", code_dependencies())
def test_changed_line_of_training_code_is_a_change(repository, tmp_path, dependency):
    path = code_file(dependency)
    assert history.changed_since("HEAD") == []
    (tmp_path / path).write_text("second\n")
    assert history.changed_since("HEAD") == [path]


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "docs/index.md",
        "pipeline/core/README.md",
        "pipeline/register.py",
        "pipeline/monitoring/drift.py",
    ],
)
def test_changed_line_of_docs_or_other_code_is_no_change(repository, tmp_path, path):
    (tmp_path / path).write_text("second\n")
    assert history.changed_since("HEAD") == []


def test_changed_params_of_model_stages_are_changes(repository, tmp_path):
    split = {"train": 0.6, "val": 0.2, "test": 0.2}
    set_params(tmp_path, {"train": {"units": 7}, "vectorize": {"split": split}})
    set_params(tmp_path, {"register": {"latency_budget": 7}, "retrain": {"windows": 9}})
    assert history.changed_since("HEAD") == [
        "train.units",
        "vectorize.split.test",
        "vectorize.split.train",
        "vectorize.split.val",
    ]


@pytest.mark.parametrize("commit", ["", "0" * 40])
def test_unknown_commit_has_no_changes_and_is_logged(repository, commit, caplog):
    assert history.changed_since(commit) == []
    assert "is not in this clone: changes since then are unknown" in caplog.text


# ---- past runs


def test_runs_are_found_by_their_commits_on_any_branch(repository):
    assert history.past_runs() == []
    for day, branch in ((3, "retrain/a"), (1, "retrain/b")):
        repository("git", "switch", "--quiet", "--create", branch, "main")
        commit_all(repository, "Retrain: tie", f"Retrained-at: 2026-03-0{day}T06:00:00Z {day:040}")
    repository("git", "switch", "--quiet", "main")
    repository("git", "merge", "--quiet", "--no-ff", "retrain/a", "--message", "Retrain: tie")
    commit_all(repository, "Squashed", f"Retrained-at: 2026-03-01T06:00:00Z {1:040}")
    for malformed in ("yesterday", "2026-03-01T06:00:00Z"):
        commit_all(repository, "By hand", f"Retrained-at: {malformed}")
    runs = [(run.time, run.source) for run in history.past_runs()]
    assert runs == [(datetime(2026, 3, day, 6, tzinfo=UTC), f"{day:040}") for day in (1, 3)]


def test_trailer_of_this_run_is_read_back(repository, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1772431200")
    head = repository("git", "rev-parse", "HEAD").stdout.strip()
    commit_all(repository, "Retrain", history.trailer_line())
    (run,) = history.past_runs()
    assert (run.time, run.source) == (datetime(2026, 3, 2, 6, tzinfo=UTC), head)


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
    repository("git", "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    repository("git", "remote", "add", "origin", "origin.git")
    with pytest.raises(PipelineError, match=r"^retrain: origin's main lacks commits of this clone"):
        history.require_published("main")
    repository("git", "push", "--quiet", "origin", "main")
    (tmp_path / "dvc.lock").write_text("an output of retraining")
    history.require_published("main")
    set_params(tmp_path, {"train": {"seed": 7}})
    with pytest.raises(
        PipelineError, match=r"^retrain: params.yaml: differs from the last commit; commit it, "
    ):
        history.require_published("main")


def test_default_branch_is_githubs_else_origins_else_the_current(repository, monkeypatch):
    monkeypatch.delenv("GITHUB_REF_NAME", raising=False)
    repository("git", "switch", "--quiet", "--create", "topic")
    assert history.default_branch() == "topic"
    repository("git", "update-ref", "refs/remotes/origin/main", "HEAD")
    repository("git", "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    repository("git", "switch", "--quiet", "--detach")
    assert history.default_branch() == "main"
    monkeypatch.setenv("GITHUB_REF_NAME", "trunk")
    assert history.default_branch() == "trunk"


def test_clone_on_no_branch_has_no_default_branch(repository, monkeypatch):
    monkeypatch.delenv("GITHUB_REF_NAME", raising=False)
    repository("git", "switch", "--quiet", "--detach")
    with pytest.raises(PipelineError, match=r"^retrain: this clone is on no branch; `git switch`"):
        history.default_branch()
