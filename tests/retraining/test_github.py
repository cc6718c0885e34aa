"""What is said reaches GitHub's files and its `gh`, and nowhere else."""

import json
import os
from functools import partial

import pytest

from pipeline.core.errors import PipelineError
from pipeline.retraining import github

GH = """#!/bin/sh
echo "$@" >> calls.txt
for word in "$@"; do
  if [ "$before" = --body-file ]; then cat "$word" >> bodies.txt; fi
  before=$word
done
if [ "$2" = list ]; then cat known.json; fi
if [ -e broken ]; then cat broken >&2; exit 1; fi
"""


@pytest.fixture
def gh(tmp_path, monkeypatch):
    """A program of that name, which notes how it was called; `known.json` is what it lists."""
    program = tmp_path / "bin" / "gh"
    program.parent.mkdir()
    program.write_text(GH)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GH_TOKEN", "t")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "known.json").write_text("[]")
    return tmp_path


def calls(folder):
    """The calls, without the name of the body's file."""
    lines = (folder / "calls.txt").read_text().splitlines()
    return [" ".join(w for w in line.split() if not w.startswith("/")) for line in lines]


def test_an_output_is_one_line_and_a_summary_a_paragraph(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    github.output("decision", "wait")
    github.output("sentence", "did not retrain:\ndecision=retrain")
    github.summary("**wait**")
    github.summary("done")
    assert (
        tmp_path / "output"
    ).read_text() == "decision=wait\nsentence=did not retrain: decision=retrain\n"
    assert (tmp_path / "summary").read_text() == "**wait**\n\ndone\n\n"


def test_passwords_in_addresses_reach_neither_the_job_nor_an_issue(gh, monkeypatch):
    monkeypatch.setenv("GITHUB_OUTPUT", str(gh / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(gh / "summary"))
    for say in (partial(github.output, "sentence"), github.summary, partial(github.issue, "Down")):
        say("no answer from https://ada:secret@mlflow.example")
    for name in ("output", "summary", "bodies.txt"):
        assert "no answer from https://***@mlflow.example" in (gh / name).read_text()


def test_on_a_laptop_nothing_is_written(tmp_path, monkeypatch):
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_SERVER_URL", "GITHUB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    github.output("decision", "wait")
    github.summary("**wait**")
    assert list(tmp_path.iterdir()) == []
    assert github.raw("abc", "reports/retrain/roc.png") == "reports/retrain/roc.png"
    assert github.run() == ""


def test_addresses_are_those_of_the_commit_and_of_the_job(monkeypatch):
    for name, value in (
        ("SERVER_URL", "https://github.com"),
        ("REPOSITORY", "ada/spam"),
        ("RUN_ID", "7"),
    ):
        monkeypatch.setenv(f"GITHUB_{name}", value)
    assert github.raw("abc", "a.png") == "https://github.com/ada/spam/raw/abc/a.png"
    assert github.run() == "https://github.com/ada/spam/actions/runs/7"


def test_pull_requests_need_gh_and_a_token(gh, monkeypatch):
    assert github.there()
    monkeypatch.delenv("GH_TOKEN")
    assert not github.there()
    monkeypatch.setenv("GH_TOKEN", "t")
    monkeypatch.setenv("PATH", "")
    assert not github.there()


def test_a_pull_request_is_opened_found_and_closed_and_those_from_forks_are_not(gh):
    github.pull_request("retrain/x", "main", "Retrain: promote", "**better**")
    known = [
        {"number": n, "headRefName": f"retrain/{n}", "state": state, "isCrossRepository": n == 3}
        for n, state in ((3, "OPEN"), (2, "OPEN"), (1, "MERGED"))
    ]
    (gh / "known.json").write_text(json.dumps(known))
    assert github.pull_requests() == [
        github.PullRequest(2, "retrain/2", open=True),
        github.PullRequest(1, "retrain/1", open=False),
    ]
    github.close_pull_request(2, "retrain/3 is newer.")
    assert calls(gh) == [
        "label create retrain --force",
        "pr create --head retrain/x --base main --title Retrain: promote --body-file --label retrain",
        "pr list --state all --limit 1000 --json number,headRefName,state,isCrossRepository",
        "pr close 2 --comment retrain/3 is newer.",
    ]
    assert (gh / "bodies.txt").read_text() == "**better**"


def test_an_issue_that_is_open_gets_a_comment_and_no_twin(gh):
    github.issue("The guard refuses the data", "row 91")
    (gh / "known.json").write_text(
        json.dumps([{"number": 3, "title": "The guard refuses the data"}])
    )
    github.issue("The guard refuses the data", "row 92")
    github.issue("New labels look tampered with", "38 %")
    assert [line for line in calls(gh) if not line.startswith(("issue list", "label"))] == [
        "issue create --title The guard refuses the data --body-file --label retrain",
        "issue comment 3 --body-file",
        "issue create --title New labels look tampered with --body-file --label retrain",
    ]


def test_what_gh_refuses_is_one_line(gh):
    (gh / "broken").write_text("HTTP 401: Bad credentials")
    with pytest.raises(PipelineError) as refused:
        github.issue("The guard refuses the data", "row 91")
    assert str(refused.value) == (
        "gh issue list: HTTP 401: Bad credentials; see the job's permissions and token"
    )


def test_in_a_fork_without_issues_nobody_is_told_and_nothing_fails(gh, caplog):
    (gh / "broken").write_text("the 'ada/spam' repository has disabled issues")
    github.issue("The guard refuses the data", "row 91")
    assert caplog.messages == [
        "warning: issues are off in this repository, so nobody is told: The guard refuses the data"
    ]
