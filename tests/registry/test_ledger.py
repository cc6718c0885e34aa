"""The ledger keeps each decision once, whatever branch wrote it."""

import shutil
from dataclasses import replace

import pytest

from pipeline.registry import ledger
from pipeline.registry.ledger import ENTRY_TAG, LEDGER, LedgerEntry, append_entry, read_entries
from pipeline.registry.versions import Version
from tests.harness.errors import error_of
from tests.harness.ledger_entries import BACK, FIRST, SECOND
from tests.harness.small_project import ROOT, commit_all, init_repository


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def repository(folder):
    """A Git repository of Ada's, in the working directory."""
    return init_repository(folder)


def test_entries_are_read_as_they_were_written():
    """Also the return of an earlier champion, after a rollback or by force."""
    assert read_entries() == []
    forced = replace(SECOND, time="2026-02-04T09:00:00+00:00", verdict="forced")
    for entry in (FIRST, SECOND, BACK, forced):
        append_entry(entry)
    assert read_entries() == [FIRST, SECOND, BACK, forced]
    assert len(LEDGER.read_text().splitlines()) == 4


def test_known_entries_are_not_added_again():
    append_entry(FIRST)
    append_entry(replace(FIRST, time="2026-01-06T08:00:00+00:00"))  # as by another registry
    append_entry(SECOND)
    append_entry(FIRST)
    assert read_entries() == [FIRST, SECOND]


def test_lines_of_two_branches_are_sorted_by_time():
    """Git's union driver leaves both sides, in any order, some twice."""
    odd = replace(SECOND, reason="loses\u2028 ham")  # a separator, but not of lines
    text = ledger.ledger_text([odd, FIRST]) + "\n" + ledger.ledger_text([odd, BACK])
    LEDGER.write_text(text, encoding="utf-8")
    assert read_entries() == [FIRST, odd, BACK]


def test_two_branches_merge_without_a_conflict(repository, folder):
    shutil.copyfile(ROOT / ".gitattributes", folder / ".gitattributes")
    append_entry(FIRST)
    commit_all(repository, "First")
    other = replace(SECOND, version="3", actor="Bob", model_hash="m3")
    for branch, entry in (("one", SECOND), ("two", other)):
        repository("git", "checkout", "--quiet", "-b", branch, "main")
        append_entry(entry)
        repository("git", "commit", "--quiet", "--all", "--message", branch)
    repository("git", "merge", "--quiet", "one", "--message", "Merge")
    assert sorted(entry.version for entry in read_entries()) == ["1", "2", "3"]
    assert ledger.entries_at("one") == [FIRST, SECOND]
    assert ledger.entries_at("no-such-branch") == []


UNRESOLVED = "an unresolved merge; keep the lines of both sides and delete the three markers"
DAMAGED = (
    "not a ledger entry; `git checkout ledger.jsonl` restores the last good file, and the registry "
    "holds the newest entry"
)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        *((line, UNRESOLVED) for line in ("<<<<<<< HEAD", "=======", ">>>>>>> two")),
        *((line, DAMAGED) for line in ("{", "[]", '{"version": "1"}', "\udcff")),
        (FIRST.json_line().replace('"2026-01-05T08:00:00+00:00"', "null"), DAMAGED),
        (replace(FIRST, version="x").json_line(), DAMAGED),
        (replace(FIRST, time="yesterday").json_line(), DAMAGED),
        (replace(FIRST, time="0001-01-01T00:00:00+01:00").json_line(), DAMAGED),
        (replace(FIRST, commit="--output=x").json_line(), DAMAGED),
        ('{"time":' * 9999, DAMAGED),
    ],
)
def test_damaged_line_is_named(line, problem):
    LEDGER.write_text(f"{FIRST.json_line()}\n{line}\n", errors="surrogateescape")
    assert error_of(read_entries) == f"ledger.jsonl: line 2: {problem}"


def test_time_of_an_entry_is_now_but_never_before_the_last_one(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert ledger.next_entry_time() == "1970-01-02T00:00:00+00:00"
    append_entry(FIRST)
    assert ledger.next_entry_time() == FIRST.time


@pytest.mark.parametrize("epoch", ["yesterday", "1.5", "9" * 18, "9" * 30])
def test_epoch_that_is_no_time_is_refused(epoch, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    problem = f"{epoch!r} is not a time in seconds since 1970; correct or unset it"
    assert error_of(ledger.utc_now) == f"SOURCE_DATE_EPOCH: {problem}"


def test_entry_that_could_not_be_read_back_is_not_written():
    with pytest.raises(ValueError, match="Out of range float"):
        replace(FIRST, answers=[float("nan")]).json_line()


def test_entry_of_a_version_is_in_its_tag():
    assert LedgerEntry.from_version(None) is None
    assert LedgerEntry.from_version(Version("1", {})) is None
    tagged = Version("1", {"judgement": FIRST.json_line()})
    assert LedgerEntry.from_version(tagged) == FIRST
    line = error_of(LedgerEntry.from_version, Version("1", {"judgement": "{"}))
    assert line.startswith("version 1: its tag judgement: not a ledger entry; ")


@pytest.mark.parametrize(
    "change",
    [
        {"time": "2030-01-05T08:00:00+00:00"},
        {"verdict": "forced"},
        {"files": FIRST.files | {"decision": "e2"}},
    ],
)
def test_changed_line_of_the_champion_is_refused(change):
    version = Version("1", {ENTRY_TAG: FIRST.json_line()})
    line = (
        "ledger.jsonl: version 1: its line was changed; the registry's tag judgement has the "
        "original, and `git log -p ledger.jsonl` shows the change"
    )
    changed = replace(FIRST, **change)
    assert error_of(ledger.check_champion, version, [changed, SECOND]) == line
    copied = Version("2", version.tags)
    assert error_of(ledger.check_champion, copied, []).startswith(
        "version 2 has the alias champion"
    )
    for entries in ([FIRST, changed], [], [SECOND], [replace(changed, version="3")]):
        assert ledger.check_champion(version, entries) == FIRST


def test_champion_without_a_line_is_warned_about(caplog):
    append_entry(SECOND)
    version = Version("1", {ENTRY_TAG: FIRST.json_line()})
    assert ledger.champion_files(version) == FIRST.files
    assert caplog.messages == [
        f"warning: ledger.jsonl: version 1: became the champion {FIRST.time}, but has no line; "
        "`git pull`"
    ]
    append_entry(replace(BACK, files=FIRST.files | {"splits": "s2"}))
    assert ledger.champion_files(version)["splits"] == "s2"


def test_decision_of_another_registry_keeps_its_line():
    append_entry(FIRST)
    later = replace(FIRST, time="2026-03-03T08:00:00+00:00")
    assert ledger.as_in_ledger(later) == FIRST
    for other in (replace(later, verdict="forced"), replace(later, model_hash="m2")):
        assert ledger.as_in_ledger(other) == other


def test_merged_line_that_was_changed_is_told(repository):
    append_entry(FIRST)
    commit_all(repository, "First")
    assert list(ledger.changed_lines([FIRST, SECOND])) == []
    assert list(ledger.changed_lines([replace(FIRST, actor="Eve")])) == [
        f"version 1: its line of {FIRST.time} was changed or removed since it was merged; "
        "`git pull`, or `git checkout ledger.jsonl`"
    ]


@pytest.mark.parametrize(("github", "name"), [("octocat", "octocat"), (None, "Ada")])
def test_actor_is_githubs_or_gits(github, name, repository, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTOR", raising=False)
    if github:
        monkeypatch.setenv("GITHUB_ACTOR", github)
    assert ledger.current_actor() == name
