"""A winner comes to a person as a branch with one commit; to main by itself only where the owner said so."""

import shutil
from dataclasses import replace

import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.files import write_text
from pipeline.core.reports import Figure, write_report
from pipeline.registry import ledger, recovery
from pipeline.retraining import github, history, pull_requests, retrain
from pipeline.retraining.github import PullRequest
from tests.harness.small_project import ROOT, runner, set_params
from tests.registry.test_ledger import FIRST, SECOND

SHORT = "promote: f1 +0.0200 [+0.0050, +0.0350] against the champion's 0.9500"
VERDICT = f"{SHORT} on 711 messages that neither has seen"
WINNER = replace(SECOND, reason=VERDICT.removeprefix("promote: "))
CURVES = {
    "precision_recall": ("recall,precision,threshold", "1,0.9,0.1", "0.5,1,0.8"),
    "roc": ("ham_lost,spam_caught,threshold", "0,0.5,0.8", "0.1,1,0.1"),
    "calibration": ("probability,spam_share,rows", "0.1,0.1,9", "0.9,0.8,9"),
}


@pytest.fixture
def retrained(tmp_path, monkeypatch):
    """A clone of `origin.git` in which a retraining has just ended, whose winner waits."""
    run, clone = runner(tmp_path), tmp_path / "clone"
    run("git", "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    run("git", "clone", "--quiet", "origin.git", "clone")
    run = runner(clone)
    for name in ("params.yaml", "dvc.yaml", ".gitattributes"):
        shutil.copyfile(ROOT / name, clone / name)
    for name, rows in CURVES.items():
        write_text(clone / f"reports/plots/{name}.csv", "\n".join(rows) + "\n")
    (clone / "ledger.jsonl").write_text(f"{FIRST.line()}\n")
    (clone / "data/inbox").mkdir(parents=True)
    (clone / "data/inbox/.gitkeep").touch()
    (clone / ".gitignore").write_text("data/inbox/secret\nmlflow.db\n")
    run("git", "switch", "--quiet", "--create", "main")
    run("git", "config", "user.name", "Ada")
    run("git", "config", "user.email", "ada@example.com")
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message", "First")
    run("git", "push", "--quiet", "origin", "main")
    monkeypatch.chdir(clone)
    monkeypatch.delenv("GH_TOKEN", raising=False)
    monkeypatch.delenv("GITHUB_REF_NAME", raising=False)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1772431200")  # 2026-03-02
    write_text(
        clone / "reports/plots/roc.csv", "ham_lost,spam_caught,threshold\n0,0.7,0.8\n0.1,1,0.1\n"
    )
    write_report(clone / "reports/register.json", 711, {"f1": Figure(0.97)}, VERDICT)
    decided("retrain", "retrains: 300 new rows of the 200 needed")
    proposed(monkeypatch, WINNER)
    (clone / "notes.txt").write_text("a person's own")
    return run


def proposed(monkeypatch, winner):
    """What register has left at the registry's challenger."""
    monkeypatch.setattr(ledger, "proposed", lambda: winner)


def decided(action, sentence):
    """The report that decide leaves."""
    write_report(retrain.REPORT, 300, {"exit_code": Figure(retrain.ACTIONS[action])}, sentence)


def origin(run, *command):
    return run("git", "--git-dir", "../origin.git", *command).stdout.split()


def test_winner_is_one_commit_on_a_branch_of_its_own(retrained):
    main = retrained("git", "rev-parse", "main").stdout
    pull_requests.main([])
    (branch,) = branches(retrained)
    assert branch.startswith("retrain/2026-03-02-")
    assert retrained("git", "rev-parse", "main", "origin/main").stdout.split() == main.split() * 2
    assert retrained("git", "rev-parse", "--abbrev-ref", "HEAD").stdout.strip() == "main"
    assert ledger.read() == [FIRST]  # files here stay as they were
    assert ledger.at(f"origin/{branch}") == [FIRST, WINNER]
    changed = origin(retrained, "diff", "--name-only", "main", branch)
    assert sorted(changed) == [
        "ledger.jsonl",
        "reports/plots/roc.csv",
        "reports/register.json",
        "reports/retrain.json",
        "reports/retrain/calibration.png",
        "reports/retrain/precision_recall.png",
        "reports/retrain/roc.png",
    ]
    told = retrained("git", "log", "-1", "--format=%B", f"origin/{branch}").stdout
    assert told.startswith(
        "Retrain: promote: f1 +0.0200 [+0.0050, +0.0350] against the champion's 0.9500\n\n"
    )
    assert "Merging this makes version 2 the champion. Closing it changes nothing." in told
    assert "retrains: 300 new rows of the 200 needed" in told
    assert told.strip().endswith(f"\n\nRetrained-at: 2026-03-02T06:00:00Z {main.strip()}")


class Hub:
    """What GitHub is asked for, and what it shows of it."""

    def __init__(self):
        self.requests, self.texts, self.comments = [], [], {}

    def pull_requests(self):
        return self.requests[::-1]

    def pull_request(self, branch, base, title, body):
        self.requests.append(PullRequest(len(self.requests) + 1, branch, open=True))
        self.texts.append((base, title, body))

    def close_pull_request(self, number, why="by hand"):
        self.requests[number - 1] = replace(self.requests[number - 1], open=False)
        self.comments[number] = why

    def open(self):
        return [one.branch for one in self.requests if one.open]


@pytest.fixture
def hub(monkeypatch):
    hub = Hub()
    monkeypatch.setattr(github, "there", lambda: True)
    for name in ("pull_requests", "pull_request", "close_pull_request"):
        monkeypatch.setattr(github, name, getattr(hub, name))
    return hub


def branches(run):
    return [name for name in origin(run, "branch", "--format=%(refname:short)") if name != "main"]


def test_a_loser_is_a_branch_too_and_asks_nobody(retrained, hub):
    verdict = VERDICT.replace("promote", "tie")
    write_report(
        pull_requests.REGISTERED, 711, {"f1": Figure(0.97)}, verdict
    )  # another proposal waits still
    pull_requests.main([])
    assert hub.requests == []
    (branch,) = branches(retrained)
    told = retrained("git", "log", "-1", "--format=%B", f"origin/{branch}").stdout
    assert "The champion stays. There is nothing to merge." in told


def test_pull_request_has_figures_and_pictures_of_its_commit(retrained, hub, monkeypatch):
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    monkeypatch.setenv("GITHUB_REPOSITORY", "ada/spam")
    pull_requests.main([])
    ((base, title, body),) = hub.texts
    assert (base, title) == ("main", f"Retrain: {SHORT}")
    assert "Merging this makes version 2 the champion." in body
    assert history.MARK not in body
    (commit,) = origin(retrained, "rev-parse", *hub.open())
    for name in ("precision_recall", "roc", "calibration"):
        path = f"reports/retrain/{name}.png"
        assert f"![{name}](https://github.com/ada/spam/raw/{commit}/{path})" in body
        assert origin(retrained, "ls-tree", "--name-only", commit, path) == [path]


def test_pull_request_that_could_not_be_opened_is_opened_by_the_next_run(
    retrained, hub, monkeypatch
):
    def down(*_):
        raise PipelineError("gh pr create: HTTP 502")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(github, "pull_request", down)
        with pytest.raises(PipelineError, match="HTTP 502"):
            pull_requests.main([])
    decided("wait", "did not retrain: nothing has changed since the last run")
    pull_requests.main([])
    assert hub.open() == branches(retrained)
    pull_requests.main([])
    assert len(hub.requests) == 1


def again(monkeypatch, version="3", day=1):
    """Some days later another retraining has ended, with a version of its own."""
    monkeypatch.setenv("GIT_COMMITTER_DATE", f"2030-01-0{day}T00:00:00Z")
    verdict = VERDICT.replace("0.0200", f"0.0{day}00")
    winner = replace(WINNER, version=version, reason=verdict.removeprefix("promote: "))
    write_report(pull_requests.REGISTERED, 711, {"f1": Figure(0.98)}, verdict)
    proposed(monkeypatch, winner)
    pull_requests.main([])


def test_what_is_at_origin_already_is_not_pushed_again(retrained, hub, caplog):
    caplog.set_level("INFO", logger="pipeline")
    pull_requests.main([])
    before = origin(retrained, "for-each-ref")
    pull_requests.main([])
    assert caplog.messages[-1] == "propose: this retraining is at origin already"
    assert origin(retrained, "for-each-ref") == before
    assert len(hub.requests) == 1


def test_a_winner_whose_champion_only_the_registry_knows_is_a_branch_and_said(
    retrained, hub, monkeypatch, caplog
):
    proposed(monkeypatch, replace(WINNER, previous="9"))
    pull_requests.main([])
    assert len(branches(retrained)) == 1
    assert hub.requests == []
    said = "warning: it was not judged by the champion that main names: it stays a branch"
    assert caplog.messages == [said]


def test_what_was_not_pushed_is_not_published(retrained):
    retrained("git", "commit", "--quiet", "--allow-empty", "--message", "Not ready")
    with pytest.raises(
        PipelineError, match=r"^retrain: origin's main lacks commits that are here; push them"
    ):
        pull_requests.main([])
    assert branches(retrained) == []


def test_a_proposal_from_another_branch_goes_to_origins_default_one(retrained, hub):
    retrained("git", "remote", "set-head", "origin", "main")
    retrained("git", "switch", "--quiet", "--create", "other")
    pull_requests.main([])
    assert [base for base, _, _ in hub.texts] == ["main"]


def test_of_two_proposals_the_newer_is_open(retrained, hub, monkeypatch):
    pull_requests.main([])
    (older,) = hub.open()
    again(monkeypatch)
    (newer,) = hub.open()
    assert {older, newer} == set(branches(retrained))
    assert hub.comments == {1: f"{newer} is newer."}


def test_a_proposal_that_a_person_closed_stays_closed_and_closes_none(retrained, hub, monkeypatch):
    pull_requests.main([])
    again(monkeypatch)
    hub.close_pull_request(2)
    hub.requests[0] = replace(hub.requests[0], open=True)  # which a person has opened again
    before = hub.open()
    decided("wait", "did not retrain: nothing has changed since the last run")
    pull_requests.main([])
    assert hub.open() == before


@pytest.mark.parametrize(
    "later",
    [
        replace(WINNER, version="7", reason="better", time="2026-02-03T08:00:00+00:00"),
        replace(FIRST, verdict="rollback", previous="2", time="2026-02-03T08:00:00+00:00"),
    ],
)
def test_a_proposal_that_a_later_line_overtook_is_closed(retrained, hub, later):
    pull_requests.main([])
    merged(retrained, FIRST, later)
    decided("wait", "did not retrain: nothing has changed since the last run")
    pull_requests.main([])
    assert hub.open() == []
    assert hub.comments == {1: "Another champion serves by now."}


def merged(run, *entries):
    """These lines are on main, also at origin."""
    ledger.LEDGER.write_text(ledger.text(entries))
    run("git", "commit", "--quiet", "--message", "Merged", "--", "ledger.jsonl")
    run("git", "push", "--quiet", "origin", "main")


@pytest.mark.parametrize(
    "line", [WINNER, replace(WINNER, version="7", time="2026-02-03T08:00:00+00:00")]
)
def test_what_is_merged_or_was_judged_by_another_champion_is_no_proposal(
    retrained, hub, monkeypatch, line
):
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(github, "there", lambda: False)
        pull_requests.main([])
    merged(retrained, FIRST, line)
    decided("wait", "did not retrain: nothing has changed since the last run")
    pull_requests.main([])
    assert hub.requests == []
    assert len(branches(retrained)) == 1


def test_no_password_reaches_a_commit(retrained):
    decided("retrain", "retrains: asked for: https://ada:secret@data.example")
    pull_requests.main([])
    (branch,) = branches(retrained)
    told = retrained("git", "log", "-1", "--format=%B", f"origin/{branch}").stdout
    assert "asked for: https://***@data.example" in told


def test_outside_a_branch_nobody_knows_where_a_proposal_goes(retrained):
    retrained("git", "switch", "--quiet", "--detach")
    with pytest.raises(
        PipelineError, match=r"^retrain: this clone is on no branch; `git switch` to"
    ):
        pull_requests.main([])
    assert branches(retrained) == []


def test_differences_are_those_since_the_champion_and_none_is_no_table(retrained):
    retrained("dvc", "init", "--quiet")
    assert pull_requests.difference("params", "HEAD") == ""
    set_params(pull_requests.Path("."), {"train": {"units": 7}})
    retrained("git", "commit", "--quiet", "--message", "Fewer", "--", "params.yaml")
    before = retrained("git", "rev-parse", "HEAD~1").stdout.strip()
    assert pull_requests.difference("params", "HEAD") == ""
    head, _, row = pull_requests.difference("params", before).splitlines()
    assert [cell.strip() for cell in head.split("|")] == ["", "Param", "before", "now", ""]
    assert [cell.strip() for cell in row.split("|")] == ["", "train.units", "32", "7", ""]


def committed(run):
    """What the newest proposal has of data and of the person's own, besides what is at origin's main."""
    newest = origin(
        run, "branch", "--list", "retrain/*", "--sort=-committerdate", "--format=%(refname:short)"
    )[0]
    return origin(run, "diff", "--name-only", "main", newest, "--", "data", "notes.txt")


def test_what_is_ignored_and_what_is_the_persons_own_is_not_committed(retrained):
    new = pull_requests.Path("data/inbox/2026-03-01.csv")
    for path in (new, pull_requests.Path("data/inbox/secret")):
        write_text(path, "text,label\n")
    pull_requests.main([])
    assert committed(retrained) == []


def test_messages_go_where_messages_are_already_and_stay_here_too(retrained, monkeypatch):
    known, new = (
        pull_requests.Path("data/inbox/2026-02-28.csv"),
        pull_requests.Path("data/inbox/2026-03-01.csv"),
    )
    for path in (known, new):
        write_text(path, "text,label\n")
    retrained("git", "add", str(known))
    retrained("git", "commit", "--quiet", "--message", "Messages", "--", str(known))
    retrained("git", "push", "--quiet", "origin", "main")
    pull_requests.main([])
    assert committed(retrained) == [str(new)]
    assert new.exists()


@pytest.fixture
def automatic(retrained, monkeypatch):
    """The owner has said that a winner goes to main, and what follows is noted."""
    set_params(pull_requests.Path("."), {"retrain": {"auto_merge": True}})
    retrained("git", "commit", "--quiet", "--message", "By itself", "--", "params.yaml")
    retrained("git", "push", "--quiet", "origin", "main")
    followed = []
    monkeypatch.setattr(
        recovery, "follow", lambda: followed.append(origin(retrained, "rev-parse", "main"))
    )
    return retrained, followed


def test_where_the_owner_said_so_the_alias_follows_after_the_push(automatic):
    run, followed = automatic
    pull_requests.main([])
    assert followed == [origin(run, "rev-parse", "main")]
    assert run("git", "rev-parse", "origin/main").stdout.split() == followed[0]
    assert branches(run) == []
    pull_requests.main([])  # by hand, as after a kill
    assert followed == [origin(run, "rev-parse", "main")] * 2
    assert branches(run) == []


def test_a_push_that_lost_the_race_is_tried_again_on_top_of_what_came(automatic, tmp_path):
    run, followed = automatic
    other = elsewhere(tmp_path, "notes.md", "Somebody's own\n")
    pull_requests.main([])
    assert len(followed) == 1
    assert origin(run, "rev-parse", "main~1") == other
    assert origin(run, "log", "-1", "--format=%s", "main")[0] == "Retrain:"


def test_a_race_that_cannot_be_joined_becomes_a_proposal(automatic, tmp_path):
    run, followed = automatic
    other = elsewhere(tmp_path, "reports/register.json", "{}\n")
    pull_requests.main([])
    assert followed == []
    assert origin(run, "rev-parse", "main") == other
    assert len(branches(run)) == 1


def test_a_winner_that_was_judged_by_another_champion_becomes_a_proposal(automatic, tmp_path):
    run, followed = automatic
    line = replace(SECOND, version="3", time="2026-02-03T08:00:00+00:00").line()
    other = elsewhere(tmp_path, "ledger.jsonl", f"{FIRST.line()}\n{line}\n")
    pull_requests.main([])
    assert followed == []
    assert origin(run, "rev-parse", "main") == other
    assert len(branches(run)) == 1


def elsewhere(folder, path, content):
    """Somebody else's commit on main, which this clone has not seen; its hash, in a list."""
    run = runner(folder)
    run("git", "clone", "--quiet", "origin.git", "other")
    write_text(folder / "other" / path, content)
    run = runner(folder / "other")
    run("git", "add", "--all")
    run(
        "git",
        "-c",
        "user.name=Bob",
        "-c",
        "user.email=b@example.com",
        "commit",
        "--quiet",
        "-m",
        "Other",
    )
    run("git", "push", "--quiet", "origin", "main")
    return run("git", "rev-parse", "HEAD").stdout.split()


def test_a_push_that_is_refused_is_one_line_and_leaves_origin_as_it_was(retrained):
    before = origin(retrained, "for-each-ref")
    retrained("git", "remote", "set-url", "origin", "../nowhere.git")
    with pytest.raises(PipelineError, match=r"^git fetch: .*nowhere"):
        pull_requests.main([])
    assert origin(retrained, "for-each-ref") == before


def test_an_issue_has_what_the_guard_said(retrained, hub, monkeypatch):
    asked = []
    monkeypatch.setattr(github, "issue", lambda *told: asked.append(told))
    verdict = "did not retrain: the guard refuses the data: a.csv: row 91: torn"
    decided("refused", verdict)
    write_text(retrain.REFUSED, "a.csv: row 91: torn\nlabel_is_known: see `--review`\n")
    pull_requests.main([])
    retrain.REFUSED.unlink()
    decided("blocked", "did not retrain: poisoning")
    pull_requests.main([])
    (title, body), (other, _) = asked
    assert title == "The guard refuses the data"
    assert other == "New labels look tampered with"
    assert body.splitlines()[0] == verdict
    assert "\n```\na.csv: row 91: torn\nlabel_is_known: see `--review`\n```" in body
    assert branches(retrained) == []
