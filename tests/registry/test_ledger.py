"""The ledger keeps each decision once, whatever branch wrote it."""

import json
import shutil
from dataclasses import replace

import pytest

from pipeline.core.errors import PipelineError
from pipeline.registry import ledger
from pipeline.registry.ledger import LEDGER, LedgerEntry, append_entry, read_entries
from pipeline.registry.versions import Version
from tests.harness.ledger_entries import BACK, FIRST, SECOND
from tests.harness.small_project import ROOT, runner


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def repository(folder):
    """A Git repository of Ada's, in the working directory."""
    run = runner(folder)
    run("git", "init", "--quiet", "--initial-branch=main")
    run("git", "config", "user.name", "Ada")
    run("git", "config", "user.email", "ada@example.com")
    return run


def test_entries_are_read_as_they_were_written():
    assert read_entries() == []
    for entry in (FIRST, SECOND, BACK):
        append_entry(entry)
    assert read_entries() == [FIRST, SECOND, BACK]
    lines = [json.loads(line) for line in LEDGER.read_text().splitlines()]
    assert [line["version"] for line in lines] == ["1", "2", "1"]


def test_known_entries_are_not_added_again():
    append_entry(FIRST)
    append_entry(replace(FIRST, time="2026-01-06T08:00:00+00:00"))  # as by another registry
    append_entry(SECOND)
    append_entry(FIRST)
    assert read_entries() == [FIRST, SECOND]


def test_return_of_an_earlier_champion_is_an_entry():
    forced = replace(SECOND, time="2026-02-04T09:00:00+00:00", verdict="forced")
    for entry in (FIRST, SECOND, BACK, forced):
        append_entry(entry)
    verdicts = [entry.verdict for entry in read_entries()]
    assert verdicts == ["first", "promote", "rollback", "forced"]


def test_lines_of_two_branches_are_sorted_by_time():
    """Git's union driver leaves both sides, in any order, some twice."""
    LEDGER.write_text(ledger.ledger_text([SECOND, FIRST, SECOND, BACK]))
    assert read_entries() == [FIRST, SECOND, BACK]


def test_two_branches_merge_without_a_conflict(repository, folder):
    shutil.copyfile(ROOT / ".gitattributes", folder / ".gitattributes")
    append_entry(FIRST)
    repository("git", "add", "--all")
    repository("git", "commit", "--quiet", "--message", "First")
    other = replace(SECOND, version="3", actor="Bob", model_hash="m3")
    for branch, entry in (("one", SECOND), ("two", other)):
        repository("git", "checkout", "--quiet", "-b", branch, "main")
        append_entry(entry)
        repository("git", "commit", "--quiet", "--all", "--message", branch)
    repository("git", "merge", "--quiet", "one", "--message", "Merge")
    assert sorted(entry.version for entry in read_entries()) == ["1", "2", "3"]
    assert ledger.entries_at("one") == [FIRST, SECOND]
    assert ledger.entries_at("no-such-branch") == []


@pytest.mark.parametrize("marker", ["<<<<<<< HEAD", "=======", ">>>>>>> two"])
def test_unresolved_merge_is_one_line(marker):
    LEDGER.write_text(f"{FIRST.json_line()}\n{marker}\n")
    with pytest.raises(PipelineError) as refused:
        read_entries()
    assert str(refused.value) == (
        "ledger.jsonl: line 2: an unresolved merge; keep the lines of both sides and delete the "
        "three markers"
    )


@pytest.mark.parametrize(
    "line",
    [
        *("{", "[]", "{}", '{"version": "1"}', "\udcff"),
        FIRST.json_line().replace('"2026-01-05T08:00:00+00:00"', "null"),
        FIRST.json_line().replace('"version": "1"', '"version": "x"'),
        replace(FIRST, figures=[]).json_line(),
    ],
)
def test_damaged_line_is_named(line):
    LEDGER.write_text(f"{FIRST.json_line()}\n{line}\n", errors="surrogateescape")
    with pytest.raises(PipelineError) as refused:
        read_entries()
    assert str(refused.value) == (
        "ledger.jsonl: line 2: not a ledger entry; `git checkout ledger.jsonl` restores the last "
        "good file, and the registry holds the newest entry"
    )


def test_separators_in_a_reason_split_no_line():
    odd = replace(SECOND, reason="loses\u2028 ham")
    LEDGER.write_text(f"{FIRST.json_line()}\n\n{odd.json_line()}\n", encoding="utf-8")
    assert read_entries() == [FIRST, odd]


def test_new_entry_is_never_before_the_last_one():
    append_entry(replace(FIRST, time="2099-01-01T00:00:00+00:00"))
    assert ledger.next_entry_time() == "2099-01-01T00:00:00+00:00"
    append_entry(replace(SECOND, time=ledger.next_entry_time()))
    assert [entry.version for entry in read_entries()] == ["1", "2"]


def test_source_date_epoch_replaces_the_clock(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert ledger.next_entry_time() == "1970-01-02T00:00:00+00:00"


def test_entry_of_a_version_is_in_its_tag():
    assert LedgerEntry.from_version(None) is None
    assert LedgerEntry.from_version(Version("1", {})) is None
    tagged = Version("1", {"judgement": FIRST.json_line()})
    assert LedgerEntry.from_version(tagged) == FIRST
    with pytest.raises(PipelineError, match=r"^version 1: its tag judgement: not a ledger entry; "):
        LedgerEntry.from_version(Version("1", {"judgement": "{"}))


@pytest.mark.parametrize(("github", "name"), [("octocat", "octocat"), (None, "Ada")])
def test_actor_is_githubs_or_gits(github, name, repository, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTOR", raising=False)
    if github:
        monkeypatch.setenv("GITHUB_ACTOR", github)
    assert ledger.current_actor() == name
