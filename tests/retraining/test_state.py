"""The state tells what has happened since the champion and since the last run."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest import mock

import pandas as pd
import pyarrow as pa
import pytest

from pipeline.core.dvc_cache import NotCachedError
from pipeline.core.params import read_params, read_yaml
from pipeline.core.schemas import MESSAGES
from pipeline.core.tables import write_parquet
from pipeline.monitoring import drift, poisoning
from pipeline.registry import ledger, recovery, versions
from pipeline.registry.ledger import ENTRY_TAG
from pipeline.registry.restore import AnswersChangedError
from pipeline.registry.versions import RegistryDamagedError, Version
from pipeline.retraining import history, state, triggers
from tests.harness.ledger_entries import FIRST
from tests.harness.prediction_logs import write_log
from tests.harness.small_project import ROOT, commit_all, set_params

# ---- windows


@pytest.mark.parametrize(
    ("days_ago", "windows"),
    [
        ([0, 0, 6.9, 7, 13, 14, 30], [[14], [7, 13], [0, 0, 6.9]]),
        ([None, 0, 0, 8], [[], [8], [None, 0, 0]]),
        ([None, None], [[], [], [None, None]]),
        ([-30_000, 0, 8], [[], [8], [-30_000, 0]]),  # a wrong clock
    ],
)
def test_windows_have_equal_length_and_the_newest_is_last(days_ago, windows):
    """A message is known by how many days before the newest it came; None: it has no date."""
    newest = pd.Timestamp("2026-03-02T12:00", tz="UTC")
    messages = pd.DataFrame({"received_at": newest - pd.to_timedelta(days_ago, unit="D")})
    messages["days_ago"] = pd.Series(days_ago, dtype="object")
    recent = state.recent_windows(messages, days=7, count=3)
    assert [window["days_ago"].tolist() for window in recent] == windows


# ---- poisoning


@pytest.mark.parametrize(("needed", "checked"), [(4, 9), (3, 3)])
def test_too_few_untried_labels_are_checked_with_all_new(needed, checked, monkeypatch, tmp_path):
    sizes = []
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(poisoning, "has_enough_labels", lambda messages, _: len(messages) >= needed)
    monkeypatch.setattr(poisoning, "dispute_by_reference", lambda _, new: sizes.append(len(new)))
    monkeypatch.setattr(poisoning, "detect_poisoning", lambda *_: [])
    tables = [pd.DataFrame(index=range(rows)) for rows in (5, 9, 3)]
    state.poisoning_alarms(*tables, tmp_path)
    assert sizes == [checked]


# ---- drift


def test_served_messages_are_the_newest_window(monkeypatch, tmp_path):
    """A window with fewer messages than drift.fewest_rows is skipped."""
    windows = []
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(
        drift, "detect_drift", lambda _, new, *__: windows.append(list(new["text"])) or []
    )
    today = pd.Timestamp("2026-03-02T12:00", tz="UTC")
    new, served = (
        pd.DataFrame({"text": [text] * 100, "received_at": today}) for text in ("new", "served")
    )
    params = read_params(triggers.Params, "retrain")
    for rows in (100, 99):
        state.drifted_windows(new, new, served[:rows], params, tmp_path)
    assert windows == [["new"] * 100, ["served"] * 100, ["new"] * 100]


# ---- the whole state


@pytest.fixture
def champion(repository, tmp_path, monkeypatch):
    """The champion of 5 January has seen a and b; today is 4 March, and a to e are there."""
    entry = replace(FIRST, commit=repository("git", "rev-parse", "HEAD").stdout.strip())
    version = Version("1", {ENTRY_TAG: entry.json_line()})
    last_splits = history.locked_md5(read_yaml(tmp_path / "dvc.lock"), history.SPLITS_FILE)
    seen = {entry.files["splits"]: [*"ab"], last_splits: [*"abcd"]}
    monkeypatch.setattr(history, "seen_ids", lambda md5: pd.Series(seen[md5]))
    monkeypatch.setattr(versions, "find_champion", lambda: version)
    monkeypatch.setattr(versions, "check_version", lambda *_: None)
    monkeypatch.setattr(
        state, "drifted_windows", lambda _, new, served, *__: [ids(new), *served["text"]]
    )
    monkeypatch.setattr(state, "poisoning_alarms", lambda _, __, untried, ___: ids(untried))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1772604000")  # 2026-03-04T06:00
    columns = {"text": "", "label": "ham", "source": "s", "row": 1}
    columns |= dict.fromkeys(["received_at", "kind", "language"])
    messages = pd.DataFrame({"message_id": [*"abcde"]}).assign(**columns)
    table = pa.Table.from_pandas(messages, MESSAGES, preserve_index=False)
    write_parquet(tmp_path / history.MESSAGES_FILE, table.to_batches(), MESSAGES)
    return entry


def ids(messages):
    return "".join(messages["message_id"])


def collect():
    params = read_params(triggers.Params, "retrain")
    return state.collect_state("", False, params, "", history.Path("."))


def add_run(repository, date, source):
    commit_all(repository, "Tie", f"Retrained-at: 2026-{date}T06:00:00Z {source}")


def test_without_a_run_everything_is_new_since_the_champion(champion, tmp_path):
    set_params(tmp_path, {"train": {"units": 7}})
    now = collect()
    assert (now.champion, now.new_rows, now.changed) == ("1", 3, ["train.units"])
    assert (now.drifted, now.poisoning_alarms) == (["cde"], "cde")
    assert (now.hours_since_run, now.runs_this_week) == (None, 0)
    assert now.days_since_training == pytest.approx(57.9, abs=0.1)


def test_log_of_the_last_window_tells_what_is_served(champion, tmp_path):
    """The champion is version 1, and the window has 7 days."""
    folder = tmp_path / "data" / "predictions"
    now = datetime(2026, 3, 4, 6, tzinfo=UTC)
    rows = [
        {"text": "new", "model_version": "1", "probability": 0.75, "label": "spam"},
        {"text": "older", "model_version": "1", "scored_at": now - timedelta(days=8)},
        {"text": "other", "model_version": "2"},
    ]
    assert collect().expected.recall.value is None
    write_log(folder, rows, now)
    served = collect()
    assert served.drifted == ["cde", "new", "other"]
    assert (served.expected.recall.value, served.expected.ham_lost.value) == (1, 1)


def test_after_a_tie_only_what_it_has_not_seen_is_new(champion, tmp_path, repository):
    for date in ("02-24", "02-26"):  # the first is more than a week ago
        add_run(repository, date, champion.commit)
    set_params(tmp_path, {"train": {"units": 7}})
    add_run(repository, "03-02", commit_all(repository, "Fewer units"))
    now = collect()
    assert (now.new_rows, now.changed, now.same_as_last_run) == (1, [], True)
    assert (now.hours_since_run, now.days_since_training, now.runs_this_week) == (48, 2, 2)
    assert (now.drifted, now.poisoning_alarms) == (["cde"], "e")
    set_params(tmp_path, {"train": {"units": 9, "seed": 2}})
    assert collect().changed == ["train.seed", "train.units"]
    repository("git", "checkout", "--quiet", champion.commit, "--", "params.yaml")
    assert collect().changed == []  # other than the last run's, but the champion's own


def test_clock_that_was_ahead_stops_no_run(champion, monkeypatch):
    """A time in the future is that of the commit, which itself is later here than the clock."""
    ahead = replace(champion, time="2026-12-31T06:00:00+00:00")
    version = Version("1", {ENTRY_TAG: ahead.json_line()})
    monkeypatch.setattr(versions, "find_champion", lambda: version)
    run = history.PastRun(history.past_time(datetime.now(UTC), "0" * 40), "HEAD", champion.commit)
    monkeypatch.setattr(history, "past_runs", lambda: [run])
    now = collect()
    assert min(now.hours_since_run, now.days_since_training) > 365
    assert now.runs_this_week == 0


def test_champion_of_the_ledger_that_the_registry_lacks_is_an_error(champion, monkeypatch):
    monkeypatch.setattr(versions, "find_champion", lambda: None)
    assert collect().champion_error == ""
    monkeypatch.setattr(ledger, "merged_entries", lambda: [FIRST])
    monkeypatch.setattr(versions, "all_versions", dict)
    problem = "ledger.jsonl names a champion, and the registry has none"
    assert (collect().champion, collect().champion_error) == (None, problem)
    begun = Version("1", {ENTRY_TAG: replace(FIRST, verdict="begin anew").json_line()})
    monkeypatch.setattr(versions, "all_versions", lambda: {"1": begun})  # its line is not merged
    assert collect().champion_error == ""


def test_champion_that_cannot_be_loaded_is_an_error(champion, monkeypatch):
    lost = mock.Mock(side_effect=RegistryDamagedError("version 1: MLflow has lost its files"))
    monkeypatch.setattr(versions, "check_version", lost)
    now = collect()
    assert (now.champion, now.champion_error) == ("1", "version 1: MLflow has lost its files")
    lost.assert_called_once_with("1", champion.files)


def test_champion_whose_splits_are_lost_is_an_error(champion, monkeypatch):
    lost = mock.Mock(side_effect=NotCachedError("splits.parquet: not in DVC's cache"))
    monkeypatch.setattr(history, "seen_ids", lost)
    now = collect()
    assert (now.champion, now.champion_error) == ("1", "splits.parquet: not in DVC's cache")


@pytest.mark.parametrize("kind", [NotCachedError, AnswersChangedError, RegistryDamagedError])
def test_champion_that_cannot_be_rebuilt_is_an_error(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recovery, "follow_ledger", mock.Mock(side_effect=kind("version 1: lost")))
    assert state.try_follow_ledger() == "version 1: lost"
