"""A winner is proposed on a branch of one commit, or merged where the owner chose that."""

import shutil
import subprocess
from dataclasses import replace

import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.files import write_text
from pipeline.core.reports import Figure, write_report
from pipeline.registry import ledger, recovery
from pipeline.retraining import github, proposal_text, pull_requests, retrain
from pipeline.retraining.github import PullRequest
from tests.harness.ledger_entries import FIRST, SECOND
from tests.harness.small_project import ROOT, commit_all, init_repository, runner, set_params

SHORT = "promote: f1 +0.0200 [+0.0050, +0.0350] against the champion's 0.9500"
VERDICT = f"{SHORT} on 711 messages that neither has seen"
WINNER = replace(SECOND, reason=VERDICT.removeprefix("promote: "))
LATER = {"version": "7", "time": "2026-02-03T08:00:00+00:00"}
CURVES = {
    "precision_recall": "recall,precision,threshold\n1,0.9,0.1\n0.5,1,0.8\n",
    "roc": "ham_lost,spam_caught,threshold\n0,0.5,0.8\n0.1,1,0.1\n",
    "calibration": "probability,spam_share,rows\n0.1,0.1,9\n0.9,0.8,9\n",
}
NEW_ROC = "ham_lost,spam_caught,threshold\n0,0.7,0.8\n0.1,1,0.1\n"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """`origin.git`, and `clone` with one commit on main."""
    folder = tmp_path_factory.mktemp("template")
    clone = folder / "clone"
    for name in ("params.yaml", "dvc.yaml", ".gitattributes"):
        clone.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, clone / name)
    for name, rows in CURVES.items():
        write_text(clone / f"reports/plots/{name}.csv", rows)
    write_text(clone / "ledger.jsonl", ledger.ledger_text([FIRST]))
    write_text(clone / "data/inbox/.gitkeep", "")
    write_text(clone / ".gitignore", "data/inbox/secret\nmlflow.db\n")
    run = init_repository(clone)
    runner(folder)("git", "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    run("git", "remote", "add", "origin", "../origin.git")
    run("git", "push", "--quiet", "--set-upstream", "origin", "main")
    return folder


@pytest.fixture
def retrained(template, tmp_path, monkeypatch):
    """What runs a command in a clone in which a retraining has just ended with a winner."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    clone = tmp_path / "clone"
    monkeypatch.chdir(clone)
    for name in ("GH_TOKEN", "GITHUB_REF_NAME", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1772431200")  # 2026-03-02
    write_text(clone / "reports/plots/roc.csv", NEW_ROC)
    write_text(clone / "notes.txt", "a person's own")
    set_verdict(VERDICT)
    set_decision("retrain", "retraining: 300 new rows (200 needed)")
    set_winner(monkeypatch, WINNER)
    monkeypatch.setattr(proposal_text, "run_dvc", lambda *_: no_difference())  # seconds each
    return runner(clone)


def no_difference():
    """What `dvc metrics diff` returns if nothing differs."""
    return subprocess.CompletedProcess([], 0, stdout="")


def set_verdict(verdict):
    """Writes the report of register."""
    write_report(retrain.REGISTER_REPORT, 711, {"f1": Figure(0.97)}, verdict)


def set_decision(action, sentence="no retraining: nothing has changed since the last run"):
    """Writes the report of `decide`."""
    code = Figure(retrain.ACTIONS[action].exit_code)
    write_report(retrain.REPORT, 300, {"exit_code": code}, sentence)


def set_winner(monkeypatch, winner):
    """Sets the entry of the registry's challenger."""
    monkeypatch.setattr(ledger, "proposed_entry", lambda: winner)


def origin(run, *command):
    return run("git", "--git-dir", "../origin.git", *command).stdout.split()


def branches(run):
    return [name for name in origin(run, "branch", "--format=%(refname:short)") if name != "main"]


def message(run):
    (branch,) = branches(run)
    return run("git", "log", "-1", "--format=%B", f"origin/{branch}").stdout


def merge(run, *entries):
    """Puts these entries on main, also at origin."""
    ledger.LEDGER.write_text(ledger.ledger_text(entries))
    run("git", "commit", "--quiet", "--message", "Merged", "--", "ledger.jsonl")
    run("git", "push", "--quiet", "origin", "main")


# ---- the commit


def test_winner_is_one_commit_on_its_own_branch(retrained):
    pull_requests.main([])
    (branch,) = branches(retrained)
    assert branch.startswith("retrain/2026-03-02-")
    assert ledger.read_entries() == [FIRST]  # the clone stays as it is
    assert retrained("git", "status", "--porcelain", "-uno").stdout.count("\n") == 1
    assert ledger.entries_at(f"origin/{branch}") == [FIRST, WINNER]
    assert origin(retrained, "rev-list", "--count", f"main..{branch}") == ["1"]
    assert origin(retrained, "diff", "--name-only", "main", branch) == [
        "ledger.jsonl",
        "reports/plots/roc.csv",
        "reports/register.json",
        "reports/retrain.json",
        "reports/retrain/calibration.png",
        "reports/retrain/precision_recall.png",
        "reports/retrain/roc.png",
    ]


def test_commit_message_tells_verdict_reason_and_consequence(retrained):
    main = retrained("git", "rev-parse", "main").stdout.strip()
    pull_requests.main([])
    text = message(retrained)
    assert text.startswith(f"Retrain: {SHORT}\n\n")
    assert "Merge this to make version 2 the champion, or close it." in text
    assert "retraining: 300 new rows (200 needed)" in text
    assert text.strip().endswith(f"\n\nRetrained-at: 2026-03-02T06:00:00Z {main}")


def test_no_password_reaches_a_commit(retrained):
    set_decision("retrain", "retraining: requested: https://ada:secret@data.example")
    pull_requests.main([])
    assert "requested: https://***@data.example" in message(retrained)


def committed_data(run):
    """The files of data/, and the person's own, in the newest proposal."""
    (branch,) = branches(run)
    return origin(run, "diff", "--name-only", "main", branch, "--", "data", "notes.txt")


@pytest.mark.parametrize("has_messages", [False, True])
def test_messages_are_committed_only_to_a_git_with_messages(retrained, has_messages):
    known, new, secret = (
        pull_requests.Path("data/inbox") / name for name in ("a.csv", "b.csv", "secret")
    )
    if has_messages:
        write_text(known, "text,label\n")
        retrained("git", "add", str(known))
        retrained("git", "commit", "--quiet", "--message", "Messages", "--", str(known))
        retrained("git", "push", "--quiet", "origin", "main")
    for path in (new, secret):
        write_text(path, "text,label\n")
    pull_requests.main([])
    assert committed_data(retrained) == ([str(new)] if has_messages else [])
    assert new.exists()


# ---- pull requests


class FakeGitHub:
    """Pull requests, in place of `gh`."""

    def __init__(self):
        self.requests, self.texts, self.comments = [], [], {}

    def list_pull_requests(self):
        return self.requests[::-1]

    def open_pull_request(self, branch, base, title, body):
        self.requests.append(PullRequest(len(self.requests) + 1, branch, open=True))
        self.texts.append((base, title, body))

    def close_pull_request(self, number, reason="by hand"):
        self.set_open(number, False)
        self.comments[number] = reason

    def set_open(self, number, value):
        self.requests[number - 1] = replace(self.requests[number - 1], open=value)

    def open(self):
        return [request.branch for request in self.requests if request.open]


@pytest.fixture
def hub(monkeypatch):
    hub = FakeGitHub()
    monkeypatch.setattr(github, "is_available", lambda: True)
    for name in ("list_pull_requests", "open_pull_request", "close_pull_request"):
        monkeypatch.setattr(github, name, getattr(hub, name))
    return hub


def test_loser_is_a_branch_without_a_pull_request(retrained, hub):
    set_verdict(VERDICT.replace("promote", "tie"))
    pull_requests.main([])
    assert hub.requests == []
    assert "The champion stays. There is nothing to merge." in message(retrained)


def test_pull_request_has_the_figures_and_images_of_its_commit(retrained, hub, monkeypatch):
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    monkeypatch.setenv("GITHUB_REPOSITORY", "ada/spam")
    pull_requests.main([])
    ((base, title, body),) = hub.texts
    assert (base, title) == ("main", f"Retrain: {SHORT}")
    assert "Merge this to make version 2 the champion" in body
    assert "Retrained-at" not in body
    (commit,) = origin(retrained, "rev-parse", *hub.open())
    for name in CURVES:
        path = f"reports/retrain/{name}.png"
        assert f"![{name}](https://github.com/ada/spam/raw/{commit}/{path})" in body
        assert origin(retrained, "ls-tree", "--name-only", commit, path) == [path]


def test_failed_pull_request_is_opened_by_the_next_run(retrained, hub, monkeypatch):
    def fail(*_):
        raise PipelineError("gh pr create: HTTP 502")

    with monkeypatch.context() as broken:
        broken.setattr(github, "open_pull_request", fail)
        with pytest.raises(PipelineError, match="HTTP 502"):
            pull_requests.main([])
    set_decision("wait")
    for _ in range(2):
        pull_requests.main([])
    assert hub.open() == branches(retrained)
    assert len(hub.requests) == 1


def test_retraining_at_origin_is_not_pushed_again(retrained, hub, caplog):
    caplog.set_level("INFO", logger="pipeline")
    pull_requests.main([])
    before = origin(retrained, "for-each-ref")
    pull_requests.main([])
    assert caplog.messages[-1] == "propose: origin already has this retraining"
    assert origin(retrained, "for-each-ref") == before
    assert len(hub.requests) == 1


def test_winner_over_an_unmerged_champion_gets_no_pull_request(retrained, hub, monkeypatch, caplog):
    set_winner(monkeypatch, replace(WINNER, previous="9"))
    pull_requests.main([])
    assert len(branches(retrained)) == 1
    assert hub.requests == []
    (line,) = caplog.messages
    assert line == "warning: no pull request: the champion of main is another one"


def test_unreachable_origin_is_one_line(retrained):
    before = origin(retrained, "for-each-ref")
    retrained("git", "remote", "set-url", "origin", "../nowhere.git")
    with pytest.raises(PipelineError, match=r"^git fetch: .*nowhere"):
        pull_requests.main([])
    assert origin(retrained, "for-each-ref") == before


def test_unpublished_commits_are_not_proposed(retrained):
    retrained("git", "commit", "--quiet", "--allow-empty", "--message", "Not ready")
    with pytest.raises(PipelineError, match=r"^retrain: origin's main lacks commits of this clone"):
        pull_requests.main([])
    assert branches(retrained) == []


def retrain_again(monkeypatch):
    """Later another retraining ends, with a winner of its own."""
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2030-01-01T00:00:00Z")
    verdict = VERDICT.replace("0.0200", "0.0100")
    set_verdict(verdict)
    set_winner(monkeypatch, replace(WINNER, version="3", reason=verdict.partition(": ")[2]))
    pull_requests.main([])


def test_newer_proposal_closes_the_older(retrained, hub, monkeypatch):
    pull_requests.main([])
    (older,) = hub.open()
    retrain_again(monkeypatch)
    (newer,) = hub.open()
    assert {older, newer} == set(branches(retrained))
    assert hub.comments == {1: f"{newer} is newer."}


def test_proposal_closed_by_a_person_stays_closed_and_closes_none(retrained, hub, monkeypatch):
    pull_requests.main([])
    retrain_again(monkeypatch)
    hub.close_pull_request(2)
    hub.set_open(1, True)
    before = hub.open()
    set_decision("wait")
    pull_requests.main([])
    assert hub.open() == before


@pytest.mark.parametrize(
    "later",
    [
        replace(WINNER, reason="better", **LATER),
        replace(FIRST, verdict="rollback", previous="2", time=LATER["time"]),
    ],
)
def test_proposal_against_a_past_champion_is_closed(retrained, hub, later):
    pull_requests.main([])
    merge(retrained, FIRST, later)
    set_decision("wait")
    pull_requests.main([])
    assert hub.open() == []
    assert hub.comments == {1: "Another model became the champion."}


@pytest.mark.parametrize("line", [WINNER, replace(WINNER, **LATER)])
def test_merged_or_outdated_winner_gets_no_pull_request(retrained, hub, monkeypatch, line):
    with monkeypatch.context() as offline:
        offline.setattr(github, "is_available", lambda: False)
        pull_requests.main([])
    merge(retrained, FIRST, line)
    set_decision("wait")
    pull_requests.main([])
    assert hub.requests == []
    assert len(branches(retrained)) == 1


# ---- auto_merge


@pytest.fixture
def automatic(retrained, monkeypatch):
    """`auto_merge` is on; returns the runner, and main of origin whenever the registry follows."""
    set_params(pull_requests.Path("."), {"retrain": {"auto_merge": True}})
    retrained("git", "commit", "--quiet", "--message", "Merge winners", "--", "params.yaml")
    retrained("git", "push", "--quiet", "origin", "main")
    followed = []
    monkeypatch.setattr(
        recovery, "follow_ledger", lambda: followed.append(*origin(retrained, "rev-parse", "main"))
    )
    return retrained, followed


def push_as_another(folder, path, content):
    """Pushes a commit to main from another clone; returns it."""
    runner(folder)("git", "clone", "--quiet", "origin.git", "other")
    write_text(folder / "other" / path, content)
    run = runner(folder / "other")
    run("git", "config", "user.name", "Bob")
    run("git", "config", "user.email", "bob@example.com")
    commit = commit_all(run, "Other")
    run("git", "push", "--quiet", "origin", "main")
    return commit


def test_auto_merge_pushes_to_main_and_the_registry_follows(automatic):
    run, followed = automatic
    pull_requests.main([])
    assert run("git", "rev-parse", "origin/main").stdout.split() == followed
    assert branches(run) == []
    pull_requests.main([])  # again, as after a kill
    assert followed == origin(run, "rev-parse", "main") * 2
    assert branches(run) == []


def test_auto_merge_after_a_lost_race_is_on_top_of_the_other_commit(automatic, tmp_path):
    run, followed = automatic
    other = push_as_another(tmp_path, "notes.md", "Somebody's own\n")
    pull_requests.main([])
    assert len(followed) == 1
    assert origin(run, "rev-parse", "main~1") == [other]
    assert origin(run, "log", "-1", "--format=%s", "main")[0] == "Retrain:"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("reports/register.json", "{}\n"),
        ("ledger.jsonl", ledger.ledger_text([FIRST, replace(SECOND, **LATER)])),
    ],
    ids=["a conflict", "another champion"],
)
def test_auto_merge_that_cannot_be_joined_becomes_a_branch(automatic, tmp_path, path, content):
    run, followed = automatic
    other = push_as_another(tmp_path, path, content)
    pull_requests.main([])
    assert followed == []
    assert origin(run, "rev-parse", "main") == [other]
    assert len(branches(run)) == 1


# ---- issues


@pytest.mark.parametrize(
    ("action", "errors", "title", "body"),
    [
        ("refused", "a.csv: torn\n", "Validation refuses the new data", "```\na.csv: torn\n```"),
        ("blocked", "", "New labels look tampered with", ""),
    ],
)
def test_issue_tells_what_stopped_it(retrained, monkeypatch, action, errors, title, body):
    issues = []
    monkeypatch.setattr(github, "is_available", lambda: True)
    monkeypatch.setattr(github, "list_pull_requests", list)
    monkeypatch.setattr(github, "open_issue", lambda *issue: issues.append(issue))
    set_decision(action, "no retraining: because")
    if errors:
        write_text(retrain.REFUSED_FILE, errors)
    pull_requests.main([])
    text = f"no retraining: because\n\n{body}" if body else "no retraining: because"
    assert issues == [(title, text)]
    assert branches(retrained) == []
