"""What stands in for `gh` records what it is asked, and refuses as `gh` does."""

import json
import shutil

import pytest
from conftest import runner

from benchmarks.actions import gh

ALL = {"pull-requests": "write", "issues": "write"}
CREATE = ("pr", "create", "--title", "Title", "--body-file", "body", "--head", "new", "--base", "main")
LIST = ("pr", "list", "--head", "new", "--state", "open", "--json", "number")
TELL = ("issue", "create", "--title", "Title", "--body-file", "body")


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A repository of which the branch `new` is ahead of `main`, and `same` is not."""
    folder = tmp_path_factory.mktemp("origin")
    git = runner(folder)
    who = ("-c", "user.name=A stranger", "-c", "user.email=stranger@example.com")
    git("git", "init", "--quiet", "--initial-branch=main")
    git("git", *who, "commit", "--quiet", "--allow-empty", "--message", "first")
    git("git", "branch", "same")
    git("git", "checkout", "--quiet", "-b", "new")
    git("git", *who, "commit", "--quiet", "--allow-empty", "--message", "second")
    return folder / ".git"


@pytest.fixture
def asked(origin, tmp_path):
    """Asks `gh`, with a token of these permissions; a call without its answer is refused."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "body").write_text("The body, with `code`.\n")
    run = runner(tmp_path / "work")
    run("git", "init", "--quiet")

    def asked(*given, permissions=ALL, may_open=True, token="token", known="token"):
        shutil.rmtree(tmp_path / "tools", ignore_errors=True)
        tokens = {gh.hashed(known): permissions}
        settings = (str(tmp_path / "github.json"), str(origin), "owner/name", tokens, may_open)
        gh.install(tmp_path / "tools", gh.Settings(*settings))
        return run(str(tmp_path / "tools" / "gh"), *given, check=False, GH_TOKEN=token)

    asked.record = lambda: gh.read(tmp_path / "github.json")
    asked.unmodelled = lambda: gh.unmodelled(tmp_path / "github.json")
    asked.folder = tmp_path / "work"
    return asked


def refused(done):
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_a_pull_request_is_made_listed_and_edited(asked):
    assert asked(*LIST).stdout == "[]\n"
    assert asked(*CREATE, "--label", "enhancement").stdout == "https://github.com/owner/name/pull/1\n"
    assert json.loads(asked(*LIST).stdout) == [{"number": 1}]
    (asked.folder / "body").write_text("Another")
    assert asked("pr", "edit", "1", "--title", "New", "--body-file", "body").returncode == 0
    assert asked.record().pull_requests == [
        {
            "number": 1,
            "title": "New",
            "body": "Another",
            "head": "new",
            "base": "main",
            "labels": ["enhancement"],
            "state": "open",
            "comments": [],
        }
    ]


def test_a_second_pull_request_of_a_branch_is_refused_while_the_first_is_open(asked, tmp_path):
    asked(*CREATE)
    said = 'a pull request for branch "new" into branch "main" already exists:\n'
    assert refused(asked(*CREATE)) == said + "https://github.com/owner/name/pull/1\n"
    record = asked.record()
    record.pull_requests[0]["state"] = "merged"
    gh.write(tmp_path / "github.json", record)
    assert asked(*CREATE).stdout == "https://github.com/owner/name/pull/2\n"
    assert json.loads(asked(*LIST).stdout) == [{"number": 2}]


@pytest.mark.parametrize(
    ("head", "base", "problem"),
    [
        ("none", "main", "Head ref must be a branch"),
        ("new", "none", "Base ref must be a branch"),
        ("same", "main", "No commits between main and same"),
    ],
)
def test_a_pull_request_needs_two_branches_and_a_commit_between(asked, head, base, problem):
    said = refused(asked(*CREATE[:-4], "--head", head, "--base", base))
    assert said == f"pull request create failed: GraphQL: {problem} (createPullRequest)\n"
    assert asked.record().pull_requests == []


def test_issues_are_made_listed_commented_and_closed(asked):
    assert asked("label", "create", "drift", "--force").returncode == 0
    assert asked("label", "create", "drift", "--force").returncode == 0
    assert asked(*TELL, "--label", "drift").stdout == "https://github.com/owner/name/issues/1\n"
    asked(*TELL)
    asked(*TELL, "--label=drift,bug")
    listed = ("issue", "list", "--state", "open", "--label", "drift", "--json", "number,title")
    newest, oldest = {"number": 3, "title": "Title"}, {"number": 1, "title": "Title"}
    assert json.loads(asked(*listed).stdout) == [newest, oldest]
    assert asked("issue", "comment", "1", "--body-file", "body").returncode == 0
    assert asked("issue", "close", "3").returncode == 0
    assert json.loads(asked(*listed).stdout) == [oldest]
    assert [issue["comments"] for issue in asked.record().issues] == [["The body, with `code`.\n"], [], []]


def test_pull_requests_and_issues_are_numbered_together(asked):
    asked(*TELL)
    assert asked(*CREATE).stdout.endswith("/pull/2\n")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ((*TELL, "--label", "none"), "could not add label: 'none' not found"),
        ((*TELL[:-1], "none"), "open none: no such file or directory"),
        (("issue", "close", "7"), "Could not resolve to an issue or pull request with the number of 7."),
        (("pr", "edit", "7", *CREATE[2:6]), "Could not resolve to an issue or pull request"),
        (("issue", "close"), "accepts 1 arg(s), received 0"),
        ((*TELL, "--label"), "flag needs an argument: --label"),
    ],
)
def test_what_gh_refuses_is_refused(asked, given, problem):
    assert problem in refused(asked(*given))
    assert asked.unmodelled() == ""


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (("pr", "merge", "1"), "gh pr merge"),
        (("api", "repos"), "gh api repos"),
        ((*CREATE, "--draft"), "gh pr create --draft"),
        ((*TELL, "-l", "bug"), "gh issue create -l"),
        (CREATE[:-2], "gh pr create without --base"),
        ((*LIST[:-1], "url"), "gh with --json url"),
        ((*LIST[:4], "--state", "all", "--json", "number"), "gh pr list --state all"),
        (("label", "create", "a"), "gh label create without --force"),
    ],
)
def test_what_is_not_modelled_is_refused_and_noted_once(asked, given, problem):
    assert refused(asked(*given)) == f"{problem} is not modelled\n"
    assert asked.unmodelled() == f"{problem} is not modelled"
    assert asked.unmodelled() == ""


def test_gh_needs_a_token_that_is_known(asked):
    without = asked(*LIST, token="")
    assert without.returncode == 4
    assert "set the GH_TOKEN environment variable" in without.stderr
    assert refused(asked(*LIST, token="other")).startswith("HTTP 401: Bad credentials")


def test_gh_needs_the_permission(asked):
    for given, scope, what in (
        (CREATE, "pull-requests", "createPullRequest"),
        (TELL, "issues", "createIssue"),
        (("label", "create", "a", "--force"), "issues", "createLabel"),
    ):
        said = refused(asked(*given, permissions=ALL | {scope: "read"}))
        assert said == f"GraphQL: Resource not accessible by integration ({what})\n"
    assert asked(*LIST, permissions={"pull-requests": "read"}).stdout == "[]\n"
    assert refused(asked(*LIST, permissions={}))
    assert asked(*CREATE, permissions=None).returncode == 0  # a person's token


def test_a_repository_may_let_no_workflow_open_pull_requests(asked):
    assert "GitHub Actions is not permitted to create" in refused(asked(*CREATE, may_open=False))


def test_gh_needs_a_clone(asked):
    shutil.rmtree(asked.folder / ".git")
    assert "not a git repository" in refused(asked(*LIST))
