"""decide sees what has happened since the champion, and run leaves a proposal."""

import subprocess
from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.files import write_json
from pipeline.core.params import read_params, read_yaml
from pipeline.core.schemas import MESSAGES
from pipeline.core.tables import write_parquet
from pipeline.monitoring import poisoning
from pipeline.registry import ledger, versions
from pipeline.registry.ledger import TAG
from pipeline.registry.versions import Version
from pipeline.retraining import history, retrain, triggers
from pipeline.retraining import state as state_
from pipeline.retraining.state import collect_state, poisoning_alarms, recent_windows
from tests.harness.small_project import ROOT, runner, set_params
from tests.registry.test_ledger import FIRST

DAY = pd.Timedelta(days=1)
NOON = pd.Timestamp("2026-03-02T12:00", tz="UTC")


def received(*days):
    """Messages that came so many days before the newest; None has no date."""
    dates = [pd.NaT if day is None else NOON - day * DAY for day in days]
    return pd.DataFrame(
        {"text": [str(day) for day in days], "received_at": pd.to_datetime(dates, utc=True)}
    )


def texts(windows):
    return [window["text"].tolist() for window in windows]


def test_windows_are_spans_of_equal_length_the_newest_last():
    new = received(0, 0, 6.9, 7, 13, 14, 30)
    assert texts(recent_windows(new, days=7, most=3)) == [["14"], ["7", "13"], ["0", "0", "6.9"]]


def test_messages_without_a_date_are_of_the_newest_window():
    assert texts(recent_windows(received(None, 0, 0, 8), days=7, most=2)) == [
        ["8"],
        ["None", "0", "0"],
    ]
    assert texts(recent_windows(received(None, None), days=7, most=2)) == [[], ["None", "None"]]


def test_a_message_of_the_future_moves_no_window():
    new = received(-30_000, 0, 8)
    assert texts(recent_windows(new, days=7, most=2)) == [["8"], ["-30000", "0"]]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Params, stages, code and a lock, committed; returns what runs a command there."""
    monkeypatch.chdir(tmp_path)
    run = runner(tmp_path)
    for name in ("params.yaml", "dvc.yaml", "dvc.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "pipeline").mkdir()
    for name in ("train", "drift", "register"):
        (tmp_path / f"pipeline/{name}.py").write_text("first\n")
    run("git", "init", "--quiet", "--initial-branch=main")
    run("git", "config", "user.name", "Ada")
    run("git", "config", "user.email", "ada@example.com")
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message", "First")
    return run


def test_code_and_params_that_a_model_depends_on_have_changed(repository, tmp_path):
    assert history.changed("HEAD") == []
    (tmp_path / "pipeline/train.py").write_text("second\n")
    set_params(
        tmp_path,
        {"train": {"units": 7}, "vectorize": {"split": {"train": 0.6, "val": 0.2, "test": 0.2}}},
    )
    assert history.changed("HEAD") == [
        "pipeline/train.py",
        "train.units",
        "vectorize.split.test",
        "vectorize.split.train",
        "vectorize.split.val",
    ]


def test_code_and_params_of_other_things_are_no_reason(repository, tmp_path):
    for name in ("drift", "register"):
        (tmp_path / f"pipeline/{name}.py").write_text("second\n")
    set_params(
        tmp_path,
        {"register": {"latency_budget": 7}, "drift": {"alpha": 0.5}, "retrain": {"windows": 9}},
    )
    assert history.changed("HEAD") == []


@pytest.mark.parametrize("commit", ["", "0" * 40])
def test_a_commit_that_is_not_here_is_no_reason_and_is_said(repository, commit, caplog):
    assert history.changed(commit) == []
    assert "is not in this clone: no word about changes" in caplog.text


def test_runs_are_known_by_their_commits_on_any_branch(repository, tmp_path):
    assert history.past_runs() == []
    commit = (
        "git",
        "commit",
        "--quiet",
        "--allow-empty",
        "--message",
        "Retrain: tie: f1 +0.0",
        "--message",
    )
    for day, branch in ((3, "retrain/a"), (1, "retrain/b")):
        repository("git", "switch", "--quiet", "--create", branch, "main")
        repository(*commit, f"Retrained-at: 2026-03-0{day}T06:00:00Z {day:040}")
    repository("git", "switch", "--quiet", "main")
    repository(
        "git", "merge", "--quiet", "--no-ff", "retrain/a", "--message", "Retrain: tie: f1 +0.0"
    )
    repository(*commit, f"Retrained-at: 2026-03-01T06:00:00Z {1:040}")  # the other, squashed
    for by_hand in ("yesterday", "2026-03-01T06:00:00Z"):
        repository(*commit, f"Retrained-at: {by_hand}")
    found = [(one.time, one.source) for one in history.past_runs()]
    assert found == [(datetime(2026, 3, day, 6, tzinfo=UTC), f"{day:040}") for day in (1, 3)]


def test_the_run_of_now_is_told_as_it_is_read(repository, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1772431200")
    head = repository("git", "rev-parse", "HEAD").stdout.strip()
    repository(
        "git",
        "commit",
        "--quiet",
        "--allow-empty",
        "--message",
        "Retrain",
        "--message",
        history.trailer(),
    )
    (run,) = history.past_runs()
    assert (run.time, run.source) == (datetime(2026, 3, 2, 6, tzinfo=UTC), head)


def a_run(commit="HEAD", source="HEAD"):
    return history.Run(datetime(2026, 3, 1, tzinfo=UTC), commit, source)


def test_a_run_had_the_same_if_data_code_and_params_are_what_they_were(repository, tmp_path):
    assert a_run().same
    set_params(tmp_path, {"train": {"units": 7}})
    assert not a_run().same
    repository("git", "checkout", "--quiet", "params.yaml")
    assert a_run().same
    lock = tmp_path / "dvc.lock"
    data = history._md5(read_yaml(lock), history.VALIDATED)
    lock.write_text(lock.read_text().replace(data, "0" * 32))
    assert not a_run().same
    assert not a_run("0" * 40).same


def test_code_that_came_to_main_before_a_proposal_was_squashed_is_new_to_its_run(
    repository, tmp_path
):
    before = repository("git", "rev-parse", "HEAD").stdout.strip()
    (tmp_path / "pipeline/train.py").write_text("second\n")
    repository("git", "commit", "--quiet", "--all", "--message", "Squashed on top of other code")
    assert not a_run(source=before).same
    assert a_run(source=before).changed == ["pipeline/train.py"]


def test_a_run_whose_files_are_nowhere_knew_nobody(repository):
    repository("dvc", "init", "--quiet")
    assert a_run().known_ids().tolist() == []
    assert a_run("0" * 40).known_ids().tolist() == []


@pytest.mark.parametrize(
    ("line", "so"),
    [
        ("data/inbox/a.csv: row 91: 1 columns, not 2; mend the row", True),
        ("data/ingested/messages.parquet: label_is_known: 4 of 94 rows (4.3 %) break it", True),
        (".downloads/a1: '../data.csv': leads out of the archive", True),
        ("params.yaml: ingest.sources: unknown 'smss'; choose from files, feedback, sms", False),
        (
            "data/sources.lock.json: missing; `git checkout data/sources.lock.json` brings it back",
            False,
        ),
        (
            "data/ingested/messages.parquet: No space left on device; free space, then run it again",
            False,
        ),
        ("data/inbox/a.csv: Permission denied; give permission, then run it again", False),
    ],
)
def test_errors_about_the_messages_are_the_guards_and_others_are_not(line, so):
    assert retrain.of_data(line) is so


def test_where_it_is_not_the_data_nothing_is_decided(monkeypatch):
    monkeypatch.setattr(retrain.subprocess, "run", lambda *_: subprocess.CompletedProcess([], 0))
    for said in (["data/inbox/a.csv: row 91: torn"], []):
        monkeypatch.setattr(retrain, "repro", lambda _, said=said: said)
        assert retrain.prepare() == said
    monkeypatch.setattr(retrain, "repro", lambda _: ["params.yaml: ingest: source: unknown key"])
    with pytest.raises(
        PipelineError, match=r"^params.yaml: ingest: source: unknown key; nothing was decided$"
    ):
        retrain.prepare()


def test_what_is_not_at_origin_is_not_retrained(repository, tmp_path):
    repository("git", "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    repository("git", "remote", "add", "origin", "origin.git")
    with pytest.raises(
        PipelineError, match=r"^retrain: origin's main lacks commits that are here; push them, "
    ):
        retrain.run(dry=False)
    repository("git", "push", "--quiet", "origin", "main")
    repository("git", "switch", "--quiet", "--detach")
    repository("git", "remote", "set-head", "origin", "main")
    assert history.default_branch() == "main"
    (tmp_path / "dvc.lock").write_text("what a retraining makes")
    history.see_that_it_is_published("main")
    set_params(tmp_path, {"train": {"seed": 7}})
    with pytest.raises(
        PipelineError, match=r"^retrain: params.yaml: not as in the last commit; commit it, and"
    ):
        retrain.run(dry=False)


@pytest.mark.parametrize(("few", "asked"), [(True, 9), (False, 3)])
def test_new_labels_in_small_portions_are_asked_about_together(few, asked, monkeypatch, tmp_path):
    found = []
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(poisoning, "enough", lambda messages, _: not few or len(messages) > 3)
    monkeypatch.setattr(poisoning, "judge_by_reference", lambda known, new: found.append(len(new)))
    monkeypatch.setattr(poisoning, "ask", lambda *_: [])
    poisoning_alarms(*(pd.DataFrame(index=range(rows)) for rows in (5, 9, 3)), tmp_path)
    assert found == [asked]


# ---- how things stand


@pytest.fixture
def standing(repository, tmp_path, monkeypatch):
    """The champion of 5 January knows a and b; a run of 2 March, a tie, knew c and d too; e is new.

    Returns what tells how things stand on 4 March.
    """
    champion = replace(FIRST, commit=repository("git", "rev-parse", "HEAD").stdout.strip())
    of_run = history._md5(read_yaml(tmp_path / "dvc.lock"), history.SPLITS)
    known = {champion.files["splits"]: ["a", "b"], of_run: ["a", "b", "c", "d"]}
    monkeypatch.setattr(history, "known_ids", lambda md5: pd.Series(known[md5]))
    monkeypatch.setattr(
        versions, "all_versions", lambda: {"1": Version("1", {TAG: champion.line()})}
    )
    monkeypatch.setattr(versions, "champion_number", lambda: "1")
    monkeypatch.setattr(
        state_, "drifted_windows", lambda known, new, *_: ["".join(new["message_id"])]
    )
    monkeypatch.setattr(
        state_, "poisoning_alarms", lambda known, new, untried, _: "".join(untried["message_id"])
    )
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1772604000")  # 2026-03-04T06:00
    messages = pd.DataFrame(
        {"message_id": [*"abcde"], "text": "", "label": "ham", "source": "s", "row": 1}
    )
    table = pa.Table.from_pandas(messages.assign(received_at=None), MESSAGES, preserve_index=False)
    write_parquet(tmp_path / history.VALIDATED, table.to_batches(), MESSAGES)
    params = read_params(triggers.Params, "retrain")

    def ran(date, source):
        told = f"{history.MARK}: 2026-{date}T06:00:00Z {source}"
        repository(
            "git",
            "commit",
            "--quiet",
            "--all",
            "--allow-empty",
            "--message",
            "Tie",
            "--message",
            told,
        )

    def state():
        return collect_state("", False, params, "", tmp_path)

    state.ran, state.head = ran, champion.commit
    return state


def test_without_a_run_all_is_new_since_the_champion(standing, tmp_path):
    set_params(tmp_path, {"train": {"units": 7}})
    found = standing()
    assert (found.champion, found.new_rows, found.changed, found.hours) == (
        "1",
        3,
        ["train.units"],
        None,
    )
    assert found.days == pytest.approx(57.9, abs=0.1)
    assert (found.drifted, found.poisoned, found.runs) == (["cde"], "cde", 0)


def test_after_a_tie_only_what_it_did_not_know_is_new(standing, tmp_path, repository):
    set_params(tmp_path, {"train": {"units": 7}})
    repository("git", "commit", "--quiet", "--all", "--message", "Fewer")
    standing.ran("03-02", repository("git", "rev-parse", "HEAD").stdout.strip())
    found = standing()
    assert (found.new_rows, found.changed, found.hours, found.days) == (1, [], 48, 2)
    assert (found.drifted, found.poisoned, found.same) == (["cde"], "e", True)
    set_params(tmp_path, {"train": {"units": 9, "seed": 2}})
    assert standing().changed == ["train.seed", "train.units"]
    repository("git", "checkout", "--quiet", standing.head, "--", "params.yaml")
    assert standing().changed == []  # others than the run's, and the champion's own


def test_runs_of_more_than_a_week_ago_do_not_count(standing):
    for date in ("02-24", "02-26", "03-01"):
        standing.ran(date, standing.head)
    assert standing().runs == 2


def test_a_ledger_that_names_a_champion_where_the_registry_has_none_is_one_that_is_gone(
    standing, monkeypatch
):
    monkeypatch.setattr(versions, "champion_number", lambda: None)
    assert standing().gone == ""
    monkeypatch.setattr(ledger, "merged", lambda: [FIRST])
    assert standing().gone == "ledger.jsonl names one, and the registry has none"


def test_what_dvc_says_against_the_data_is_told_and_all_else_is_an_error(repository, tmp_path):
    repository("dvc", "init", "--quiet")

    def validate(command):
        write_json(
            tmp_path / "dvc.yaml", {"stages": {"validate": {"cmd": command}}}
        )  # JSON is YAML

    validate("echo 'error: row 91 is torn' >&2; exit 1")
    assert retrain.repro("validate") == ["row 91 is torn"]
    validate("echo 'error: none' >&2")
    assert retrain.repro("validate") == []
    validate("exit 1")
    with pytest.raises(PipelineError, match=r"^retrain: `dvc repro` failed, as it says above$"):
        retrain.repro("validate")


def test_exit_codes_can_be_told_apart_and_help_names_them():
    assert len(set(retrain.ACTIONS.values()) | {1, 2}) == len(retrain.ACTIONS) + 2
    command = ["python", "-m", "pipeline", "retrain", "decide", "--help"]
    said = " ".join(
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.split()
    )
    assert "0 retrain, 3 wait, 4 blocked, 5 refused, 1 an error" in said
