"""A person ends the champion's service; only a later promotion gives the alias again."""

from dataclasses import replace
from unittest import mock

import pytest

from pipeline.registry import begin_anew, ledger, ledger_cli, recovery, versions
from pipeline.registry.ledger import ENTRY_TAG, read_entries
from pipeline.registry.versions import alias_numbers, all_versions
from pipeline.tracking.mlflow_client import MODEL_NAME
from tests.harness.errors import error_of
from tests.harness.ledger_entries import END, FIRST, SECOND, merge_ledger, write_ledger
from tests.harness.small_project import runner

pytestmark = pytest.mark.slow  # with a registry of its own each

NOTHING = (
    "begin-anew: there is no champion, so nothing ends; `make repro` promotes the first model that "
    "meets its criteria"
)
NONE_SERVES = "no version is the champion: version 2 ended at "
THIRD = replace(FIRST, time="2026-02-05T08:00:00+00:00", version="3", model_hash="m3")


@pytest.fixture
def served(store, tmp_path, monkeypatch):
    """Versions 1 and 2 were promoted, 3 was not, none has files; the ledger is merged."""
    monkeypatch.setenv("GITHUB_ACTOR", "Ada")
    runner(tmp_path)("git", "init", "--quiet")
    store.create_registered_model(MODEL_NAME)
    for entry in (FIRST, SECOND, replace(THIRD, verdict="tie")):
        tags = {"model_hash": entry.model_hash, ENTRY_TAG: entry.json_line()}
        store.create_model_version(MODEL_NAME, "file:///nowhere", tags=tags)
    for alias, number in (("previous", "1"), ("champion", "2"), ("challenger", "3")):
        versions.set_alias(alias, number)
    write_ledger([FIRST, SECOND])
    merge_ledger(tmp_path)
    return tmp_path


def test_no_version_serves_and_the_history_stays(served, caplog):
    caplog.set_level("INFO", logger="pipeline")
    begin_anew.main([])
    assert caplog.messages == [
        "begin-anew: version 2 ends its service; the next `make repro` promotes the first model "
        "that meets its criteria; runs, versions and lines stay",
        "begin-anew: done: commit ledger.jsonl; a `make serve` that runs goes on until there is "
        "another champion; `python -m pipeline ledger rollback --to 2 --reason ...` takes version "
        "2 back into service",
    ]
    assert alias_numbers() == {}
    entries = read_entries()
    assert entries == [FIRST, SECOND, replace(END, time=entries[-1].time)]
    versions_left = all_versions()
    assert [*versions_left] == ["1", "2", "3"]
    cached = {*FIRST.files.values()}
    assert list(ledger_cli.contradictions(entries, versions_left, {}, cached)) == []
    assert list(ledger_cli.parallel_promotions([*entries, replace(THIRD, previous=None)])) == []
    assert error_of(versions.load_champion).endswith(": no champion yet; run `make repro`")
    assert error_of(begin_anew.main, []) == NOTHING
    assert read_entries() == entries


def test_nothing_ends_without_a_champion(store):
    assert error_of(begin_anew.main, []) == NOTHING
    write_ledger([FIRST])  # of a registry that is lost
    assert error_of(begin_anew.main, []).startswith("ledger.jsonl: version 1 is the champion, but ")


@pytest.mark.parametrize("after", ["remove_aliases", "write_text"])
@pytest.mark.parametrize("command", [ledger.finish_promotion, recovery.follow_ledger])
def test_killed_call_is_completed_by_the_next_command(served, after, command):
    module = versions if after == "remove_aliases" else ledger
    killed = mock.patch.object(module, after, side_effect=KeyboardInterrupt)
    with killed, pytest.raises(KeyboardInterrupt):
        begin_anew.main([])
    assert read_entries() == [FIRST, SECOND]
    command()
    assert alias_numbers() == {}
    assert [entry.verdict for entry in read_entries()] == ["first", "promote", "begin anew"]


def test_registry_is_not_led_back_by_the_merged_lines(served):
    begin_anew.main([])
    entries = read_entries()
    write_ledger([FIRST, SECOND])  # another clone, which has not pulled
    for _ in range(2):
        assert recovery.follow_ledger() == NONE_SERVES + entries[-1].time
        assert read_entries() == entries
    merge_ledger(served)
    assert recovery.follow_ledger() == NONE_SERVES + entries[-1].time
    assert alias_numbers() == {}
    ledger.finish_promotion()  # of register, for which no champion is lost
    assert read_entries() == entries


def test_clone_with_a_registry_of_its_own_follows_the_line(served):
    write_ledger([FIRST, SECOND, END])
    line = "champion: version 2 in the registry, none here; `git pull`, then `follow`"
    cached = {*FIRST.files.values()}
    assert list(
        ledger_cli.contradictions(read_entries(), all_versions(), alias_numbers(), cached)
    ) == [line]
    merge_ledger(served)
    assert recovery.follow_ledger() == NONE_SERVES + END.time
    assert alias_numbers() == {}


def test_later_champion_stays(served):
    write_ledger([FIRST, SECOND, END])
    merge_ledger(served)
    versions.set_tags("3", {ENTRY_TAG: THIRD.json_line()})
    versions.set_alias("champion", "3")
    done = recovery.follow_ledger()
    assert done == "version 3 is the champion; it was promoted after the last merged line"
    assert alias_numbers()["champion"] == "3"
    assert read_entries() == [FIRST, SECOND, END, THIRD]


def test_rollback_in_another_clone_is_followed_after_the_end(champion):
    runner(champion.folder)("git", "init", "--quiet")
    begin_anew.main([])
    (first, end) = read_entries()
    back = replace(first, time=end.time, verdict="rollback", reason="the demo was better")
    write_ledger([first, end, back])
    merge_ledger(champion.folder)
    assert recovery.follow_ledger() == "version 1 is the champion again"
    assert champion.aliases() == {"champion": "1"}


def test_first_model_that_meets_the_criteria_is_next(champion):
    champion.register_thresholds(3.0)
    assert champion.verdict().startswith("tie: ")
    begin_anew.main([])
    champion.register()
    assert champion.verdict() == "first: it meets the criteria, and there is no champion"
    assert champion.aliases() == {"champion": "2"}
    assert champion.entries() == [
        ("first", "1", None),
        ("begin anew", "1", "1"),
        ("first", "2", None),
    ]
    begin_anew.main([])
    champion.register()  # the same model
    assert champion.entries()[3:] == [("begin anew", "2", "2"), ("first", "2", None)]
    begin_anew.main([])
    ledger_cli.main(["rollback", "--to", "1", "--reason", "the demo was better"])
    assert champion.aliases() == {"champion": "1"}
    assert champion.entries()[5:] == [("begin anew", "2", "2"), ("rollback", "1", None)]
    assert versions.load_champion()[1] == "1"
