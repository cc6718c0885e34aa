"""A winner is proposed on a branch of one commit, or merged where the owner chose that."""

import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.core.files import write_text
from pipeline.core.reports import Figure, write_report
from pipeline.monitoring.predictions import PREDICTIONS_FOLDER
from pipeline.registry import ledger, recovery
from pipeline.registry.ledger import ENTRY_TAG
from pipeline.retraining import proposal_text, pull_requests, retrain
from pipeline.tracking.mlflow_client import MODEL_NAME
from tests.harness.errors import error_of
from tests.harness.ledger_entries import BACK, FIRST, SECOND
from tests.harness.prediction_logs import NOON, write_log
from tests.harness.small_project import ROOT, commit_all, runner, set_params

SHORT = "promote: f1 +0.0200 [+0.0050, +0.0350] against the champion's 0.9500"
VERDICT = f"{SHORT} on 711 messages that neither has seen"
WINNER = replace(SECOND, reason=VERDICT.removeprefix("promote: "))
LATER = replace(SECOND, version="7", time="2026-02-03T08:00:00+00:00")  # wins in the meantime
ROC = Path("reports/plots/roc.csv")
IMAGES = ["calibration", "precision_recall", "roc"]


@pytest.fixture
def retrained(repository, hub, monkeypatch):
    """What runs a command in a clone in which a retraining has just ended with a winner."""
    shutil.copytree(ROOT / ROC.parent, ROC.parent)
    ledger.LEDGER.write_text(ledger.ledger_text([FIRST]))
    shutil.copyfile(ROOT / ".gitattributes", ".gitattributes")
    commit_all(repository, "The first model")
    repository("git", "push", "--quiet", "origin", "main")
    monkeypatch.delenv("GITHUB_REF_NAME", raising=False)
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    monkeypatch.setenv("GITHUB_REPOSITORY", "ada/spam")
    monkeypatch.setenv("GITHUB_RUN_ID", "5")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1772431200")  # 2026-03-02
    no_difference = subprocess.CompletedProcess([], 0, stdout="")
    monkeypatch.setattr(proposal_text, "run_dvc", lambda *_: no_difference)  # seconds each
    write_text(ROC, ROC.read_text() + "1.0,1.0,0.0\n")
    write_text(Path("notes.txt"), "a person's own")
    set_verdict(VERDICT)
    set_decision("retrain", "retraining: requested: https://ada:secret@data.example")
    set_winner(monkeypatch, WINNER)
    return repository


def set_verdict(verdict):
    """Writes the report of register."""
    write_report(retrain.REGISTER_REPORT, 711, {"f1": Figure(0.97)}, verdict)


def set_decision(
    action, sentence="no retraining: nothing has changed since the last run", **values
):
    """Writes the report of `decide`."""
    values |= {"exit_code": retrain.ACTIONS[action].exit_code}
    figures = {name: Figure(value) for name, value in values.items()}
    write_report(retrain.REPORT, 300, figures, sentence)


def set_winner(monkeypatch, winner):
    """Sets the entry of the registry's challenger."""
    monkeypatch.setattr(ledger, "proposed_entry", lambda: winner)


def propose_next_day():
    """There is no reason to retrain then."""
    set_decision("wait")
    pull_requests.main([])


def commit_and_push(run, path):
    run("git", "add", path)
    run("git", "commit", "--quiet", "--message", path, "--", path)
    run("git", "push", "--quiet", "origin", "main")


def origin(run, *command):
    return run("git", "--git-dir", ".git/origin", *command).stdout.split()


def branches(run):
    return [name for name in origin(run, "branch", "--format=%(refname:short)") if name != "main"]


# ---- the commit


def test_winner_is_one_commit_on_its_own_branch(retrained, hub, monkeypatch):
    monkeypatch.delenv("GH_TOKEN")
    (main,) = origin(retrained, "rev-parse", "main")
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
        *(f"reports/retrain/{name}.png" for name in IMAGES),
    ]
    text = retrained("git", "log", "-1", "--format=%B", f"origin/{branch}").stdout.strip()
    assert text.startswith(f"Retrain: {SHORT}\n\n**{VERDICT}**\n\n")
    assert "\n\nretraining: requested: https://***@data.example\n\nMerge this" in text
    assert text.endswith(f"\n\nRetrained-at: 2026-03-02T06:00:00Z {main}")
    assert hub.entries("pr") == []


def test_manifest_is_committed_and_messages_are_not(retrained):
    manifest = "data/inbox.lock.json"
    for path in (manifest, "data/inbox/a.csv", "data/collected/a"):
        write_text(Path(path), "{}")
    pull_requests.main([])
    (branch,) = branches(retrained)
    committed = origin(retrained, "diff", "--name-only", "main", branch, "--", "data", "notes.txt")
    assert committed == [manifest]


def test_unpublished_commits_are_not_proposed(retrained):
    commit_all(retrained, "Not ready")
    assert "origin's main lacks commits of this clone; " in error_of(pull_requests.main, [])
    assert branches(retrained) == []


# ---- pull requests


def test_pull_request_has_the_text_and_images_of_its_commit(retrained, hub):
    pull_requests.main([])
    (request,) = hub.open("pr")
    assert (request["base"], request["label"]) == ("main", "retrain")
    assert request["title"] == f"Retrain: {SHORT}"
    (commit,) = origin(retrained, "rev-parse", request["headRefName"])
    folder = f"https://github.com/ada/spam/raw/{commit}/reports/retrain"
    assert request["body"].split("\n\n") == [
        f"**{VERDICT}**",
        "retraining: requested: https://***@data.example",
        "Merge this to make version 2 the champion, or close it.",
        *(f"![{name}]({folder}/{name}.png)" for name in IMAGES),
    ]


def test_pull_request_links_to_the_decision_report_of_its_commit(retrained, hub):
    write_text(Path("reports/report.html"), "<p>Yes.</p>")
    pull_requests.main([])
    (request,) = hub.open("pr")
    (commit,) = origin(retrained, "rev-parse", request["headRefName"])
    page = f"https://github.com/ada/spam/raw/{commit}/reports/report.html"
    assert f"\n\n[Decision report]({page}): save it and open it in a browser." in request["body"]


def test_loser_is_a_branch_without_a_pull_request(retrained, hub):
    set_verdict(VERDICT.replace("promote", "tie"))
    pull_requests.main([])
    assert hub.entries("pr") == []
    text = retrained("git", "log", "--remotes", "--format=%B").stdout
    assert "\n\nThe champion stays. There is nothing to merge.\n\n" in text


def test_winner_over_an_unmerged_champion_gets_no_pull_request(retrained, hub, monkeypatch, caplog):
    set_winner(monkeypatch, replace(WINNER, previous="9"))
    pull_requests.main([])
    assert hub.entries("pr") == []
    assert caplog.messages == ["warning: no pull request: the champion of main is another one"]


def test_failed_pull_request_is_opened_by_the_next_run(retrained, hub, monkeypatch, caplog):
    caplog.set_level("INFO", logger="pipeline")
    with monkeypatch.context() as broken:
        broken.setenv("GH_FAILS", "HTTP 502")
        assert error_of(pull_requests.main, []).startswith("gh pr list: HTTP 502; ")
    refs = origin(retrained, "for-each-ref")
    pull_requests.main([])
    assert caplog.messages[-1] == "propose: origin already has this retraining"
    propose_next_day()
    assert origin(retrained, "for-each-ref") == refs
    assert [request["headRefName"] for request in hub.entries("pr")] == branches(retrained)


def test_newer_proposal_closes_the_older_unless_it_is_closed(retrained, hub, monkeypatch):
    pull_requests.main([])
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2030-01-01T00:00:00Z")
    verdict = VERDICT.replace("0.0200", "0.0100")
    set_verdict(verdict)
    set_winner(monkeypatch, replace(WINNER, version="3", reason=verdict.partition(": ")[2]))
    pull_requests.main([])
    older, newer = hub.entries("pr")
    assert {older["headRefName"], newer["headRefName"]} == set(branches(retrained))
    assert (older["state"], newer["state"]) == ("CLOSED", "OPEN")
    assert older["comment"] == f"{newer['headRefName']} is newer."
    hub.set_state(1, "OPEN")  # a person prefers the older one
    hub.set_state(2, "CLOSED")
    propose_next_day()
    assert [request["state"] for request in hub.entries("pr")] == ["OPEN", "CLOSED"]


@pytest.mark.parametrize(
    "line",
    [WINNER, LATER, BACK, replace(FIRST, time=BACK.time, verdict="begin anew", previous="1")],
    ids=["itself", "another", "rollback", "begin anew"],
)
def test_proposal_against_a_past_champion_is_closed(retrained, hub, line):
    pull_requests.main([])
    ledger.LEDGER.write_text(ledger.ledger_text([FIRST, line]))
    commit_and_push(retrained, "ledger.jsonl")
    propose_next_day()
    (request,) = hub.entries("pr")
    assert request["state"] == "CLOSED"
    assert request["comment"] == "Another model became the champion."


def test_winner_without_a_champion_succeeds_a_line_that_begins_anew():
    winner = replace(WINNER, previous=None)
    end = replace(FIRST, verdict="begin anew", previous="1")
    assert pull_requests.succeeds_champion(winner, [FIRST, end])
    assert not pull_requests.succeeds_champion(WINNER, [FIRST, end])
    assert not pull_requests.succeeds_champion(winner, [FIRST, replace(end, time=LATER.time)])


# ---- auto_merge


@pytest.fixture
def followed(retrained, monkeypatch):
    """`auto_merge` is on; a list of main at origin, each time that the registry follows it."""
    set_params(Path("."), {"retrain": {"auto_merge": True}})
    commit_and_push(retrained, "params.yaml")
    followed = []
    monkeypatch.setattr(
        recovery, "follow_ledger", lambda: followed.append(*origin(retrained, "rev-parse", "main"))
    )
    return followed


def push_another(run, path, content):
    """Pushes a commit to main that HEAD does not contain; returns it."""
    run("git", "worktree", "add", "--quiet", "--detach", "other")
    write_text(Path("other") / path, content)
    commit = commit_all(runner(Path("other")), "Other")
    run("git", "push", "--quiet", "origin", f"{commit}:main")
    return commit


def test_auto_merge_is_on_top_of_others_and_the_registry_follows(retrained, followed):
    other = push_another(retrained, "notes.md", "Somebody's own\n")
    pull_requests.main([])
    assert origin(retrained, "rev-parse", "main~1") == [other]
    assert origin(retrained, "log", "-1", "--format=%s", "main")[0] == "Retrain:"
    pull_requests.main([])  # again, as after a kill
    assert followed == origin(retrained, "rev-parse", "main") * 2
    assert branches(retrained) == []


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("reports/register.json", "{}\n"),
        ("ledger.jsonl", ledger.ledger_text([FIRST, LATER])),
    ],
    ids=["a conflict", "another champion"],
)
def test_auto_merge_that_cannot_be_joined_becomes_a_branch(retrained, followed, path, content):
    other = push_another(retrained, path, content)
    pull_requests.main([])
    assert followed == []
    assert origin(retrained, "rev-parse", "main") == [other]
    assert len(branches(retrained)) == 1


# ---- a trial in the shadow


@pytest.fixture
def in_trial(retrained, store, caplog):
    """Winners need a trial of a day and two messages; the registry has the winner's version.

    Returns: logs the labels that winner and champion give a message, each at its time.
    """
    caplog.set_level("INFO", logger="pipeline")
    shadow = {"days": 1, "messages": 2, "disagreement": 0.1, "ham_lost_margin": 0.1}
    set_params(Path("."), {"retrain": {"shadow": shadow}})
    commit_and_push(retrained, "params.yaml")
    store.create_registered_model(MODEL_NAME)
    for entry in (FIRST, WINNER):
        tags = {ENTRY_TAG: entry.json_line()}
        store.create_model_version(MODEL_NAME, "file:///nowhere", tags=tags)

    def log_labels(own, theirs):
        for day, pair in enumerate(zip(own, theirs, strict=True)):
            rows = [
                {"text": f"day {day}", "model_version": version, "label": label}
                for version, label in zip("21", pair, strict=True)
            ]
            write_log(PREDICTIONS_FOLDER, rows, NOON + timedelta(days=day))

    return log_labels


@pytest.mark.slow
def test_winner_without_a_trial_is_a_branch_only(retrained, in_trial, hub, caplog):
    pull_requests.main([])
    assert len(branches(retrained)) == 1
    assert hub.entries("pr") == []
    line = "propose: version 2 in the shadow: waits: data/predictions: no log of predictions; "
    assert caplog.messages[-1].startswith(line)


@pytest.mark.slow
def test_winner_of_its_trial_is_proposed_the_next_day(retrained, in_trial, hub):
    pull_requests.main([])
    in_trial(["ham", "ham"], ["ham", "ham"])
    propose_next_day()
    (request,) = hub.open("pr")
    assert [request["headRefName"]] == branches(retrained)
    line = "It won in the shadow of the champion: 2 messages in 1.0 days: different labels for 0.0%"
    assert f"\n\n{line} (limit 10.0%); " in request["body"]


@pytest.mark.slow
def test_loser_of_its_trial_is_not_proposed(retrained, in_trial, hub, caplog):
    pull_requests.main([])
    in_trial(["spam", "ham"], ["ham", "ham"])
    propose_next_day()
    assert hub.entries("pr") == []
    line = "propose: version 2 in the shadow: lost: 2 messages in 1.0 days: different labels for 50"
    assert caplog.messages[-1].startswith(line)


@pytest.mark.slow
def test_winner_of_its_trial_is_merged_with_auto_merge(retrained, in_trial, followed):
    pull_requests.main([])
    assert followed == []
    in_trial(["ham", "ham"], ["ham", "ham"])
    propose_next_day()
    assert followed == origin(retrained, "rev-parse", "main")
    assert ledger.entries_at("origin/main") == [FIRST, WINNER]


@pytest.mark.slow
def test_first_champion_is_merged_without_a_trial(retrained, in_trial, followed, monkeypatch):
    ledger.LEDGER.write_text("")
    commit_and_push(retrained, "ledger.jsonl")
    set_verdict(FIRST.verdict_text)
    set_winner(monkeypatch, FIRST)
    pull_requests.main([])
    assert followed == origin(retrained, "rev-parse", "main")


@pytest.mark.slow
def test_winner_of_its_trial_is_named_where_gh_is_missing(retrained, in_trial, monkeypatch, caplog):
    monkeypatch.delenv("GH_TOKEN")
    pull_requests.main([])
    in_trial(["ham", "ham"], ["ham", "ham"])
    propose_next_day()
    (branch,) = branches(retrained)
    line = f"`gh` or GH_TOKEN is missing: open the pull request of {branch} yourself"
    assert caplog.messages[-1] == f"propose: {line}"


def test_open_pull_request_needs_no_trial(retrained, hub, request):
    pull_requests.main([])
    request.getfixturevalue("in_trial")  # a person sets the param later
    propose_next_day()
    (proposal,) = hub.entries("pr")
    assert proposal["state"] == "OPEN"


# ---- issues


def test_issue_tells_what_stopped_it(retrained, hub):
    set_decision("blocked", "no retraining: alarm")
    pull_requests.main([])
    set_decision("refused", "no retraining: torn")
    write_text(retrain.REFUSED_FILE, "a.csv: torn\n")
    pull_requests.main([])
    retrain.REFUSED_FILE.unlink()
    set_decision("blocked", "no retraining: lost", gone=1)
    pull_requests.main([])
    blocked, refused, lost = hub.open("issue")
    url = "https://github.com/ada/spam/actions/runs/5"
    assert blocked["title"] == "New labels look tampered with"
    assert blocked["body"] == f"no retraining: alarm\n\n{url}"
    assert refused["title"] == "Validation refuses the new data"
    assert refused["body"] == f"no retraining: torn\n\n```\na.csv: torn\n```\n\n{url}"
    assert lost["title"] == "The champion cannot be loaded"
    assert branches(retrained) == []


def test_report_without_a_decision_is_one_line(retrained):
    for figures in ({}, {"exit_code": Figure(9)}):
        write_report(retrain.REPORT, 300, figures, "retraining")
        line = "reports/retrain.json: no decision; run `python -m pipeline retrain decide`"
        assert error_of(pull_requests.main, []) == line
