"""What stands in for `gh` records what it is asked, and refuses as `gh` does."""

import json
import shutil

import pytest
from conftest import runner

from benchmarks.actions import gh

ALL = {"pull-requests": "write", "issues": "write"}
CREATE = ("pr", "create", "--title", "T", "--body-file", "body", "--label", "l", "--head", "new", "--base")
FIELDS = "number,headRefName,state,isCrossRepository"
LIST = ("pr", "list", "--state", "all", "--limit", "1000", "--json", FIELDS)
TELL = ("issue", "create", "--title", "T", "--body-file", "body", "--label", "l")
LABEL = ("label", "create", "l", "--force")


@pytest.fixture
def asked(tmp_path):
    """Asks `gh`, with a token of these permissions; of origin `new` is ahead of `main`, and `same` is not."""
    run = runner(tmp_path)
    who = ("-c", "user.name=A stranger", "-c", "user.email=stranger@example.com")
    run("git", "init", "--quiet", "--initial-branch=main")
    for branch in ("same", "new"):
        run("git", *who, "commit", "--quiet", "--allow-empty", "--message", branch)
        run("git", "branch", branch)
    run("git", "update-ref", "refs/heads/main", "same")
    (tmp_path / "body").write_text("The body, with `code`.\n")

    def asked(*given, permissions=ALL, token="token"):
        shutil.rmtree(tmp_path / "tools", ignore_errors=True)
        gh.install(tmp_path / "tools", tmp_path / "github.json", tmp_path / ".git", "token", permissions)
        return run(str(tmp_path / "tools/gh"), *given, check=False, GH_TOKEN=token)

    asked.record = lambda: gh.read(tmp_path / "github.json")
    asked.note = tmp_path / "tools" / gh.UNMODELLED
    return asked


def refused(done):
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_a_pull_request_is_made_listed_and_closed(asked):
    shown = {"number": 1, "headRefName": "new", "isCrossRepository": False}
    assert asked(*LIST).stdout == "[]\n"
    asked(*LABEL)
    assert asked(*CREATE, "main").returncode == 0
    assert json.loads(asked(*LIST).stdout) == [shown | {"state": "OPEN"}]
    assert asked("pr", "close", "1", "--comment", "No.").returncode == 0
    assert json.loads(asked(*LIST).stdout) == [shown | {"state": "CLOSED"}]
    words = {"title": "T", "body": "The body, with `code`.\n", "labels": ["l"], "comments": ["No."]}
    assert asked.record().pull_requests == [shown | words | {"state": "CLOSED", "baseRefName": "main"}]


def test_issues_are_made_listed_and_commented_and_numbered_with_pull_requests(asked, tmp_path):
    for given in (LABEL, LABEL, (*CREATE, "main"), TELL, TELL):
        assert asked(*given).returncode == 0
    listed = ("issue", "list", "--state", "open", "--label", "l", "--json", "number,title")
    assert json.loads(asked(*listed).stdout) == [{"number": 3, "title": "T"}, {"number": 2, "title": "T"}]
    assert asked("issue", "comment", "2", "--body-file", "body").returncode == 0
    record = asked.record()
    assert [issue["comments"] for issue in record.issues] == [["The body, with `code`.\n"], []]
    record.issues[1]["state"] = "CLOSED"
    gh.write(tmp_path / "github.json", record)
    assert json.loads(asked(*listed).stdout) == [{"number": 2, "title": "T"}]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ((*CREATE, "main"), 'a pull request for branch "new" into branch "main" already exists'),
        ((*CREATE[:-2], "same", "--base", "main"), "No commits between them (createPullRequest)"),
        ((*CREATE[:-2], "none", "--base", "main"), "Head and base must be branches (createPullRequest)"),
        ((*TELL[:-1], "none"), "could not add label: 'none' not found"),
        (("issue", "comment", "7", "--body-file", "body"), "number of 7."),
    ],
)
def test_what_gh_refuses_is_refused(asked, given, problem):
    asked(*LABEL)
    asked(*CREATE, "main")
    assert problem in refused(asked(*given))
    assert not asked.note.exists()


@pytest.mark.parametrize(
    ("given", "choices"),
    [
        (("pr", "merge", "1"), "pr list, pr create, pr close, "),
        ((*TELL, "--draft", ""), "--title --body-file --label"),
        ((*TELL, "--label", "other"), "--title --body-file --label"),
        (TELL[:-2], "--title --body-file --label"),
        ((*LIST[:-1], "url"), "--state --limit --json"),
        ((*LIST[:2], "--state", "closed", *LIST[4:]), "--state --limit --json"),
        (("pr", "list", "new", *LIST[2:]), "--state --limit --json"),
    ],
)
def test_what_is_not_modelled_is_refused_and_noted(asked, given, choices):
    said = refused(asked(*given))
    assert said.startswith(f"{' '.join(['gh', *given])!r} is not modelled; choose from {choices}")
    assert asked.note.read_text() == said.removesuffix("\n")


def test_gh_needs_the_token_of_the_job_and_its_permission(asked):
    for token in ("", "other"):
        assert "HTTP 401: Bad credentials" in refused(asked(*LIST, token=token))
    read = {"pull-requests": "read"}
    assert asked(*LIST, permissions=read).returncode == 0
    for given, needed in (((*CREATE, "main"), "pull-requests: write"), (TELL, "issues: write")):
        assert f"not accessible by integration ({needed})" in refused(asked(*given, permissions=read))
