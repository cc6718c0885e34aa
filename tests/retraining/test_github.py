"""Outputs, summaries, pull requests and issues reach GitHub, without passwords."""

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
    """A program `gh` that records its calls and lists what is in `known.json`."""
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
    """The recorded calls, without the path of the body's file."""
    lines = (folder / "calls.txt").read_text().splitlines()
    return [" ".join(word for word in line.split() if word[0] != "/") for line in lines]


def test_output_is_one_line_and_summary_a_paragraph(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    github.write_output("decision", "wait")
    github.write_output("sentence", "no retraining:\ndecision=retrain")
    github.write_summary("**wait**")
    github.write_summary("done")
    output = (tmp_path / "output").read_text()
    assert output == "decision=wait\nsentence=no retraining: decision=retrain\n"
    assert (tmp_path / "summary").read_text() == "**wait**\n\ndone\n\n"


def test_passwords_reach_neither_the_job_nor_an_issue(gh, monkeypatch):
    monkeypatch.setenv("GITHUB_OUTPUT", str(gh / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(gh / "summary"))
    writers = (
        partial(github.write_output, "sentence"),
        github.write_summary,
        partial(github.open_issue, "Down"),
    )
    for write in writers:
        write("no answer from https://ada:secret@mlflow.example")
    for name in ("output", "summary", "bodies.txt"):
        assert "no answer from https://***@mlflow.example" in (gh / name).read_text()


def test_outside_github_nothing_is_written(tmp_path, monkeypatch):
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_SERVER_URL", "GITHUB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    github.write_output("decision", "wait")
    github.write_summary("**wait**")
    assert list(tmp_path.iterdir()) == []
    assert github.raw_url("abc", "reports/retrain/roc.png") == "reports/retrain/roc.png"
    assert github.job_url() == ""


def test_addresses_name_the_commit_and_the_job(monkeypatch):
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    monkeypatch.setenv("GITHUB_REPOSITORY", "ada/spam")
    monkeypatch.setenv("GITHUB_RUN_ID", "7")
    assert github.raw_url("abc", "a.png") == "https://github.com/ada/spam/raw/abc/a.png"
    assert github.job_url() == "https://github.com/ada/spam/actions/runs/7"


def test_github_is_available_with_gh_and_a_token(gh, monkeypatch):
    assert github.is_available()
    monkeypatch.delenv("GH_TOKEN")
    assert not github.is_available()
    monkeypatch.setenv("GH_TOKEN", "t")
    monkeypatch.setenv("PATH", "")
    assert not github.is_available()


def test_pull_requests_are_listed_without_those_of_forks(gh):
    states = {3: "OPEN", 2: "OPEN", 1: "MERGED"}
    listed = [
        {"number": n, "headRefName": f"retrain/{n}", "state": state, "isCrossRepository": n == 3}
        for n, state in states.items()
    ]
    (gh / "known.json").write_text(json.dumps(listed))
    assert github.list_pull_requests() == [
        github.PullRequest(2, "retrain/2", open=True),
        github.PullRequest(1, "retrain/1", open=False),
    ]
    fields = "number,headRefName,state,isCrossRepository"
    assert calls(gh) == [f"pr list --state all --limit 1000 --json {fields}"]


def test_pull_request_is_opened_with_a_label_and_closed(gh):
    github.open_pull_request("retrain/x", "main", "Retrain: promote", "**better**")
    github.close_pull_request(2, "retrain/3 is newer.")
    assert calls(gh) == [
        "label create retrain --force",
        "pr create --head retrain/x --base main --title Retrain: promote --body-file "
        "--label retrain",
        "pr close 2 --comment retrain/3 is newer.",
    ]
    assert (gh / "bodies.txt").read_text() == "**better**"


def test_open_issue_with_this_title_gets_a_comment(gh):
    github.open_issue("Refused", "row 91")
    (gh / "known.json").write_text(json.dumps([{"number": 3, "title": "Refused"}]))
    github.open_issue("Refused", "row 92")
    github.open_issue("Tampered with", "38 %")
    assert [line for line in calls(gh) if not line.startswith(("issue list", "label"))] == [
        "issue create --title Refused --body-file --label retrain",
        "issue comment 3 --body-file",
        "issue create --title Tampered with --body-file --label retrain",
    ]


def test_error_of_gh_is_one_line(gh):
    (gh / "broken").write_text("HTTP 401: Bad credentials")
    with pytest.raises(PipelineError) as refused:
        github.open_issue("Refused", "row 91")
    assert str(refused.value) == (
        "gh issue list: HTTP 401: Bad credentials; check the token and the job's permissions"
    )


def test_fork_without_issues_only_logs(gh, caplog):
    (gh / "broken").write_text("the 'ada/spam' repository has disabled issues")
    github.open_issue("Refused", "row 91")
    assert caplog.messages == [
        "warning: issues are disabled in this repository; not reported: Refused"
    ]
