"""Outputs, summaries, pull requests and issues reach GitHub, without passwords."""

import json

from pipeline.retraining import github
from tests.harness.errors import error_of

LONG = f"```\n{'error: x' * 10_000}\n```\n\nhttps://github.com/ada/spam/actions/runs/7"
PROBLEM = "no answer\nfrom https://ada:secret@mlflow.example"


def test_output_is_one_line_and_summary_a_paragraph(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    github.write_output("decision", "wait")
    github.write_output("sentence", PROBLEM)
    github.write_summary("**wait**")
    github.write_summary(PROBLEM)
    output = (tmp_path / "output").read_text()
    assert output == "decision=wait\nsentence=no answer from https://***@mlflow.example\n"
    summary = (tmp_path / "summary").read_text()
    assert summary == "**wait**\n\nno answer\nfrom https://***@mlflow.example\n\n"


def test_outside_github_nothing_is_written(tmp_path, monkeypatch):
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_SERVER_URL", "GITHUB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    github.write_output("decision", "wait")
    github.write_summary("**wait**")
    assert list(tmp_path.iterdir()) == []
    assert github.raw_url("abc", "reports/retrain/roc.png") == "reports/retrain/roc.png"
    assert github.job_url() == ""


def test_github_is_available_with_gh_and_a_token(hub, monkeypatch):
    assert github.is_available()
    monkeypatch.delenv("GH_TOKEN")
    assert not github.is_available()
    monkeypatch.setenv("GH_TOKEN", "t")
    monkeypatch.setenv("PATH", "")
    assert not github.is_available()


def test_all_pull_requests_but_those_of_forks_are_listed(hub):
    fields = {"state": "MERGED", "isCrossRepository": False}
    recorded = [{"number": n, "headRefName": f"retrain/{n}", **fields} for n in range(1, 41)]
    recorded[38] |= {"isCrossRepository": True}
    recorded[39] |= {"state": "OPEN"}
    hub.record.write_text(json.dumps({"pr": recorded}))
    newest, *others = github.list_pull_requests()
    assert newest == github.PullRequest(40, "retrain/40", open=True)
    assert others == [github.PullRequest(n, f"retrain/{n}", open=False) for n in range(38, 0, -1)]


def test_pull_request_that_another_run_opened_is_no_error(hub, caplog):
    caplog.set_level("INFO")
    for _ in range(2):
        github.open_pull_request("retrain/1", "main", "Better", "Why")
    assert [entry["headRefName"] for entry in hub.open("pr")] == ["retrain/1"]
    assert "retrain/1: its pull request is open already" in caplog.text


def test_open_issue_with_this_title_gets_a_comment(hub):
    bodies = (("Refused", PROBLEM), ("Tampered with", "38 %"), ("Refused", LONG))
    for title, body in bodies:
        github.open_issue(title, body)
    refused, tampered = hub.open("issue")
    assert (refused["title"], refused["label"]) == ("Refused", "retrain")
    assert refused["body"] == "no answer\nfrom https://***@mlflow.example"
    (comment,) = refused["comments"]
    assert len(comment) == github.MAX_BODY
    assert (comment[:99], comment[-99:]) == (LONG[:99], LONG[-99:])
    assert (tampered["title"], tampered["body"]) == ("Tampered with", "38 %")


def test_error_of_gh_is_one_line(hub, monkeypatch):
    monkeypatch.setenv("GH_FAILS", "HTTP 401:\nBad credentials")
    assert error_of(github.open_issue, "Refused", "row 91") == (
        "gh issue list: HTTP 401: Bad credentials; check the token and the job's permissions"
    )


def test_fork_without_issues_only_logs(hub, monkeypatch, caplog):
    monkeypatch.setenv("GH_FAILS", "the 'ada/spam' repository has disabled issues")
    github.open_issue("Refused", "row 91")
    assert caplog.messages == [
        "warning: issues are disabled in this repository; not reported: Refused"
    ]
