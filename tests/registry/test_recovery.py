"""The registry is rebuilt from the ledger, answers as before, and follows merged lines."""

import os
from dataclasses import replace
from unittest import mock

import pytest

from pipeline.registry import ledger, ledger_cli, recovery, restore, versions
from pipeline.registry.ledger import ENTRY_TAG, LEDGER, LedgerEntry, read_entries
from pipeline.registry.registration import PROPOSE_VARIABLE
from pipeline.retraining import state
from tests.harness.errors import error_of
from tests.harness.ledger_entries import FIRST, merge_ledger, write_ledger
from tests.harness.small_project import runner

NOWHERE = "0" * 32  # an MD5 that DVC does not know


def years_later(entry):
    return f"{int(entry.time[:4]) + 2}{entry.time[4:]}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"files": dict.fromkeys(restore.FILE_NAMES, NOWHERE)}, f"tokenizer.json {NOWHERE}: nei"),
        ({"answers": [0.5, 0.123456]}, "version 3: answers 0."),
        ({"model_hash": "0123456789"}, "ledger.jsonl: version 3: its files are not of model 01234"),
    ],
)
def test_follow_restores_the_champion_alone_if_it_must(changes, problem, lost, caplog):
    first, second, back = read_entries()
    write_ledger([first, replace(second, **changes), back])
    merge_ledger(lost.folder)
    caplog.set_level("INFO", logger="pipeline")
    ledger_cli.main(["follow"])
    done = "ledger: version 1 is restored as the champion of an empty registry"
    assert caplog.messages[-1] == done
    assert lost.aliases() == {"champion": "1"}
    assert f"warning: version 3 is not restored: {problem}" in caplog.text


@pytest.mark.slow
def test_champion_without_files_is_reported_each_time(lost):
    first, second, back = read_entries()
    files = dict.fromkeys(back.files, NOWHERE)
    write_ledger([first, second, replace(back, files=files, version="4", model_hash="4")])
    merge_ledger(lost.folder)
    for _ in range(2):
        line = error_of(recovery.follow_ledger)
        assert line.startswith(f"tokenizer.json {NOWHERE}: neither in DVC's cache nor ")
        assert lost.aliases() == {}
    assert lost.versions() == ["3"]  # the champion before it


def test_nothing_is_followed_without_a_ledger(store):
    assert recovery.follow_ledger() == "no promotion yet"


# ---- the alias and the lines


@pytest.fixture
def missed(champion):
    """Version 1 is the champion, and version 2 missed the criteria; the ledger is merged."""
    runner(champion.folder)("git", "init", "--quiet")
    champion.set_criteria(f1={"min": 0.95})
    champion.register_thresholds(0.0)
    merge_ledger(champion.folder)
    return champion


@pytest.mark.slow
def test_alias_moved_by_hand_is_refused_and_given_back(missed):
    versions.set_alias("champion", "2")
    problem = "version 2 has the alias champion, but its own record says `criteria missed: f1 0.9 "
    for call in (versions.load_champion, missed.register, lambda: recovery.rollback("1", "bad")):
        assert error_of(call).startswith(problem)
    assert recovery.follow_ledger() == "version 1 is the champion again"
    assert missed.aliases() == {"champion": "1", "challenger": "2"}
    missed.store.delete_model_version_tag("spam-detector", "1", ENTRY_TAG)
    problem = "version 1 has the alias champion, but it has no record of a promotion "
    assert error_of(versions.load_champion).startswith(problem)
    assert recovery.follow_ledger() == "version 1 is the champion again"
    missed.store.delete_registered_model_alias("spam-detector", "champion")
    assert recovery.follow_ledger() == "version 1 is the champion again"
    versions.load_champion()


@pytest.mark.slow
def test_line_against_the_record_is_followed_by_force_only(missed):
    record = LedgerEntry.from_version(versions.all_versions()["2"])
    write_ledger([*read_entries(), replace(record, verdict="promote", reason="it is better")])
    merge_ledger(missed.folder)
    way_out = "; revert the line, or run `python -m pipeline ledger follow --force`"
    assert error_of(recovery.follow_ledger) == (
        "ledger.jsonl: the last line promotes version 2, but its own record says `criteria "
        f"missed: f1 0.9 is below 0.95`{way_out}"
    )
    assert state.try_follow_ledger().endswith(way_out)
    versions.set_tags("2", {ENTRY_TAG: replace(record, verdict="promote").json_line()})
    line = error_of(recovery.follow_ledger)
    assert line.startswith("ledger.jsonl: version 2: its line was changed; ")
    assert missed.aliases() == {"champion": "1", "challenger": "2"}
    ledger_cli.main(["follow", "--force"])
    assert missed.aliases() == {"champion": "2", "previous": "1"}
    assert versions.load_champion()[1] == "2"


# ---- proposals

PROPOSING = mock.patch.dict(os.environ, {PROPOSE_VARIABLE: "1"})


@pytest.fixture
def proposed(champion):
    """Version 1 is the champion; version 2 won and waits until its line is merged."""
    runner(champion.folder)("git", "init", "--quiet")
    with PROPOSING:
        champion.register_thresholds(0.0)
    return champion


@pytest.mark.slow
def test_proposed_version_serves_from_its_merge_to_its_rollback(proposed):
    aliases = {"champion": "1", "challenger": "2"}
    assert proposed.aliases() == aliases
    assert proposed.entries() == [("first", "1", None)]
    merge_ledger(proposed.folder)
    ledger.append_entry(ledger.proposed_entry())  # here, but not merged
    assert recovery.follow_ledger() == "version 1 is the champion"
    assert proposed.aliases() == aliases
    merge_ledger(proposed.folder)
    assert recovery.follow_ledger() == "version 2 is the champion now, as its line is merged"
    assert proposed.aliases() == {"champion": "2", "previous": "1"}
    assert recovery.follow_ledger() == "version 2 is the champion"
    merged = LEDGER.read_text()
    with mock.patch.object(ledger, "next_entry_time", return_value=read_entries()[-1].time):
        recovery.rollback(None, "loses ham")  # in the same second
    LEDGER.write_text(merged)  # another clone, which has not pulled
    done = recovery.follow_ledger()
    assert done == "version 1 is the champion; it was promoted after the last merged line"
    assert proposed.aliases()["champion"] == "1"
    assert [verdict for verdict, *_ in proposed.entries()] == ["first", "promote", "rollback"]


@pytest.mark.slow
def test_repeated_proposal_keeps_its_entry(proposed):
    before = ledger.proposed_entry()
    with PROPOSING:
        proposed.register()
    assert ledger.proposed_entry() == before
    ledger.append_entry(before)
    proposed.register()  # by a person, on the branch
    assert read_entries()[1:] == [before]
    assert proposed.aliases() == {"champion": "2", "previous": "1"}


@pytest.mark.slow
def test_later_of_two_merged_proposals_serves(proposed):
    (first,) = read_entries()
    second = ledger.proposed_entry()
    with PROPOSING:
        proposed.register_thresholds(-1.0)
    third = replace(ledger.proposed_entry(), time=years_later(second))
    versions.set_tags("3", {ENTRY_TAG: third.json_line()})
    for order in ([second, third], [third, second]):
        versions.set_alias("champion", "1")
        for merged in (order[:1], order):
            write_ledger([first, *merged])
            merge_ledger(proposed.folder)
            recovery.follow_ledger()
        assert proposed.aliases()["champion"] == third.version == "3"


@pytest.mark.slow
def test_overtaken_proposal_is_decided_on_anew(proposed):
    """Another version was promoted and rolled back since."""
    (first,) = read_entries()
    before = ledger.proposed_entry()
    back = replace(first, verdict="rollback", previous=None, time=years_later(before))
    versions.set_tags("1", {ENTRY_TAG: back.json_line()})
    write_ledger([first, back])
    with PROPOSING:
        proposed.register()
    assert ledger.proposed_entry() == replace(before, time=back.time)


@pytest.mark.slow
def test_line_of_another_registry_promotes_nothing(proposed, caplog):
    last = replace(ledger.proposed_entry(), previous="7")
    versions.set_tags("2", {ENTRY_TAG: last.json_line()})
    write_ledger([replace(FIRST, version="7"), last])
    merge_ledger(proposed.folder)
    assert recovery.follow_ledger() == "version 1 stays the champion"
    assert caplog.messages[-1] == (
        "warning: version 2 was decided on against version 7, which is not the champion; retrain"
    )
