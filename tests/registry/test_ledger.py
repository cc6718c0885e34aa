"""The ledger says each move of the alias once, whatever branch wrote it; verify says where it is not so."""

import json
import shutil
from dataclasses import replace

import pytest

from pipeline.core.dvc_cache import cached_md5s
from pipeline.core.errors import PipelineError
from pipeline.registry import ledger, ledger_cli, versions
from pipeline.registry.ledger import LEDGER, TAG, Entry, read, write
from pipeline.registry.ledger_cli import branches, flaws, show
from pipeline.registry.versions import Version
from tests.harness.evaluated_project import Project
from tests.harness.small_project import ROOT, runner

FIRST = Entry(
    time="2026-01-05T08:00:00+00:00",
    verdict="first",
    version="1",
    previous=None,
    reason="it meets the criteria, and there is no champion",
    figures={"f1": {"value": 0.95, "low": 0.92, "high": 0.97, "n": 711}},
    actor="Ada",
    commit="a" * 40,
    data_hash="d1",
    model_hash="m1",
    files={"tokenizer": "t1", "network": "n1", "decision": "e1", "splits": "s1"},
    answers=[0.9, 0.1],
    key="k1",
)
SECOND = replace(
    FIRST,
    time="2026-02-02T08:00:00+00:00",
    verdict="promote",
    version="2",
    previous="1",
    model_hash="m2",
)
BACK = replace(
    FIRST, time="2026-02-03T09:00:00+00:00", verdict="rollback", previous="2", reason="loses ham"
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- the file


def test_no_ledger_has_no_entries():
    assert read() == []


def test_entries_are_read_as_they_were_written_a_line_each():
    for entry in (FIRST, SECOND, BACK):
        write(entry)
    assert read() == [FIRST, SECOND, BACK]
    assert [json.loads(line)["version"] for line in LEDGER.read_text().splitlines()] == [
        "1",
        "2",
        "1",
    ]


def test_what_it_says_already_is_not_written_again():
    write(FIRST)
    write(
        replace(FIRST, time="2026-01-06T08:00:00+00:00")
    )  # another registry, and the same champion
    write(SECOND)
    write(FIRST)
    assert read() == [FIRST, SECOND]


def test_rollback_to_a_version_that_was_champion_before_is_a_line():
    for entry in (FIRST, SECOND, BACK):
        write(entry)
    write(replace(SECOND, time="2026-02-04T09:00:00+00:00", verdict="forced"))
    assert [entry.verdict for entry in read()] == ["first", "promote", "rollback", "forced"]


def test_lines_of_two_branches_are_one_ledger_by_time(folder):
    """As Git's union driver leaves them: both sides, in any order, some twice."""
    LEDGER.write_text("".join(f"{entry.line()}\n" for entry in (SECOND, FIRST, SECOND, BACK)))
    assert read() == [FIRST, SECOND, BACK]


def test_two_branches_merge_without_a_conflict(folder):
    run = runner(folder)
    run("git", "init", "--quiet", "--initial-branch=main")
    run("git", "config", "user.name", "Ada")
    run("git", "config", "user.email", "ada@example.com")
    shutil.copyfile(ROOT / ".gitattributes", folder / ".gitattributes")
    write(FIRST)
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message", "First")
    other = replace(SECOND, version="3", actor="Bob", model_hash="m3")
    for branch, entry in (("one", SECOND), ("two", other)):
        run("git", "checkout", "--quiet", "-b", branch, "main")
        write(entry)
        run("git", "commit", "--quiet", "--all", "--message", branch)
    run("git", "merge", "--quiet", "one", "--message", "Merge")
    assert sorted(entry.version for entry in read()) == ["1", "2", "3"]


@pytest.mark.parametrize("marker", ["<<<<<<< HEAD", "=======", ">>>>>>> two"])
def test_unresolved_merge_says_what_to_do(marker):
    LEDGER.write_text(f"{FIRST.line()}\n{marker}\n")
    with pytest.raises(PipelineError) as refused:
        read()
    assert str(refused.value) == (
        "ledger.jsonl: line 2: an unresolved merge; keep the lines of both sides, and delete those of the "
        "three markers"
    )


@pytest.mark.parametrize(
    "line",
    [
        *("{", "[]", "{}", '{"version": "1"}', "\udcff"),
        FIRST.line().replace('"2026-01-05T08:00:00+00:00"', "null"),
        FIRST.line().replace('"version": "1"', '"version": "x"'),
        replace(FIRST, figures=[]).line(),
    ],
)
def test_line_that_is_none_is_named(line):
    LEDGER.write_text(f"{FIRST.line()}\n{line}\n", errors="surrogateescape")
    with pytest.raises(
        PipelineError, match=r"^ledger.jsonl: line 2: no entry; `git checkout ledger.jsonl` "
    ):
        read()


def test_blank_lines_and_odd_separators_in_a_reason_split_nothing():
    odd = replace(SECOND, reason="loses\u2028 ham")
    LEDGER.write_text(f"{FIRST.line()}\n\n{odd.line()}\n", encoding="utf-8")
    assert read() == [FIRST, odd]


def test_clock_that_runs_behind_puts_no_entry_before_the_last():
    write(replace(FIRST, time="2099-01-01T00:00:00+00:00"))
    assert ledger.now() == "2099-01-01T00:00:00+00:00"
    write(replace(SECOND, time=ledger.now()))
    assert [entry.version for entry in read()] == ["1", "2"]


def test_undefined_figure_is_shown_as_none():
    figures = {"roc_auc": {"value": None, "low": None, "n": 3}}
    assert "roc_auc" not in show([replace(FIRST, figures=figures)])


def test_table_has_a_row_for_each_entry_with_its_figure_and_reason():
    head, first, back = show([FIRST, BACK]).splitlines()
    assert tuple(head.split()) == ledger_cli.SHOWN
    assert "f1 0.950 [0.920, 0.970]" in first
    assert back.endswith("Ada    loses ham")
    assert back.startswith("2026-02-03T09:00:00+00:00  rollback  1        2         m1  ")


# ---- what it is held against


def version(entry, **tags):
    return Version(entry.version, {"model_hash": entry.model_hash, TAG: entry.line(), **tags})


AGREED = {
    "entries": [FIRST, SECOND],
    "versions": {"1": version(FIRST), "2": version(SECOND)},
    "held": {"champion": "2", "previous": "1"},
    "cached": {"t1", "n1", "e1", "s1"},
}


def test_what_agrees_has_no_flaw():
    assert list(flaws(**AGREED)) == []
    assert list(flaws([], {}, {}, set())) == []
    assert list(branches([FIRST, SECOND, BACK])) == []


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        (
            {"versions": {"2": version(SECOND)}},
            "version 1: not in the registry; in an empty one `",
        ),
        (
            {"versions": {"1": version(FIRST), "2": version(SECOND, model_hash="other")}},
            "version 2: the registry has another model of that number; two registries wrote this ledger",
        ),
        (
            {"cached": {"t1", "e1", "s1"}},
            "version 1: not in DVC's cache: network; `dvc fetch --",
        ),
        (
            {"held": {"champion": "1"}},
            "champion: version 1 in the registry, 2 here; `git pull`, or",
        ),
        ({"held": {}}, "champion: version none in the registry, 2 here"),
        (
            {"entries": [FIRST]},
            "version 2: took the alias 2026-02-02T08:00:00+00:00, and no line says so; `git pull`",
        ),
        (
            {"entries": [FIRST, replace(SECOND, reason="no reason")]},
            "version 2: its line was changed; the registry's tag judgement has what was written",
        ),
    ],
)
def test_each_disagreement_is_a_line_with_the_way_out(change, flaw):
    assert next(flaws(**AGREED | change)).startswith(flaw)


def test_two_branches_that_promoted_are_told():
    other = replace(SECOND, time="2026-02-05T08:00:00+00:00", version="3", model_hash="m3")
    assert list(branches([FIRST, SECOND, other])) == [
        "version 3 took over from version 1 when 2 was the champion: two branches promoted, and the later "
        "one holds; to undo it, `rollback --to 2`"
    ]


def test_version_without_a_judgement_is_no_entry():
    assert Entry.of(Version("1", {})) is None
    assert Entry.of(None) is None
    assert Entry.of(version(FIRST)) == FIRST


@pytest.mark.parametrize(("github", "name"), [("octocat", "octocat"), (None, "Ada")])
def test_actor_is_githubs_or_gits(github, name, folder, monkeypatch):
    run = runner(folder)
    run("git", "init", "--quiet")
    run("git", "config", "user.name", "Ada")
    monkeypatch.delenv("GITHUB_ACTOR", raising=False)
    if github:
        monkeypatch.setenv("GITHUB_ACTOR", github)
    assert ledger.actor() == name


# ---- commands on a real registry


@pytest.fixture
def project(store, tmp_path):
    """A champion, and a version before it."""
    project = Project(tmp_path, store)
    for threshold in (2.0, 0.0):
        project.decide(threshold)
        project.register()
    return project


def call(*arguments):
    ledger_cli.main(list(arguments))


@pytest.mark.slow
def test_rollback_brings_the_version_before_back_and_says_why(project):
    call("rollback", "--reason", "loses ham")
    assert project.aliases() == {"champion": "1", "previous": "2"}
    assert read()[-1] == replace(
        read()[0], time=read()[-1].time, verdict="rollback", previous="2", reason="loses ham"
    )
    assert versions.all_versions()["2"].tags["rolled_back"] == "loses ham"
    with pytest.raises(PipelineError) as refused:  # the command again, as after a lost connection
        call("rollback", "--reason", "loses ham")
    assert str(refused.value) == (
        "rollback: version 2 was rolled back itself (loses ham); name one with --to"
    )
    call("rollback", "--to", "2", "--reason", "it does not")
    assert project.aliases() == {"champion": "2", "previous": "1"}
    assert versions.all_versions()["2"].tags["rolled_back"] == ""
    assert versions.all_versions()["1"].tags["rolled_back"] == "it does not"


@pytest.mark.slow
def test_rollback_that_cannot_be_is_refused_and_moves_nothing(project):
    for arguments, line in (
        (
            ["--to", "7", "--reason", "x"],
            "rollback: --to: 7 was never the champion; choose from 1, 2",
        ),
        (["--to", "2", "--reason", "x"], "rollback: version 2 is the champion already"),
        (["--reason", " "], "rollback: --reason: say why; it stands in the ledger for ever"),
    ):
        with pytest.raises(PipelineError) as refused:
            call("rollback", *arguments)
        assert str(refused.value) == line
    decision = project.artifacts("1") / "decision.json"
    decision.write_text(decision.read_text().replace('"slope": 1.0', '"slope": 999.0'))
    with pytest.raises(
        PipelineError, match=r"^version 1: 0\.\d+ for 'WIN .*, where it said 0\.\d+: "
    ):
        call("rollback", "--reason", "because")
    (project.artifacts("1") / "network" / "saved_model.pb").unlink()
    with pytest.raises(
        PipelineError, match=r"^rollback: version 1: OSError: SavedModel .*; try another$"
    ):
        call("rollback", "--reason", "because")
    project.store.delete_registered_model_alias("spam-detector", "previous")
    ledger.LEDGER.write_text(read()[1].line() + "\n")  # else the next command would mend the alias
    project.store.set_model_version_tag(
        "spam-detector", "2", TAG, replace(read()[0], previous=None).line()
    )
    with pytest.raises(
        PipelineError, match="there is no version before this one; name one with --to"
    ):
        call("rollback", "--reason", "because")
    assert project.aliases() == {"champion": "2"}


@pytest.mark.slow
def test_verify_names_what_does_not_agree_and_then_agrees(project, monkeypatch, caplog):
    run = runner(project.folder)
    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    with pytest.raises(PipelineError, match=r"version 1: not in DVC's cache: decision, network, "):
        call("verify")
    for md5 in {md5 for entry in read() for md5 in entry.files.values()}:
        path = project.folder / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    caplog.set_level("INFO")
    call("verify")
    assert caplog.messages[-1] == "ledger: 2 entries agree with the registry and with DVC's cache"
    assert cached_md5s({"0" * 32}) == set()
    project.store.set_registered_model_alias("spam-detector", "champion", "1")
    with pytest.raises(PipelineError) as refused:
        call("verify")
    assert str(refused.value) == (
        "ledger.jsonl: champion: version 1 in the registry, 2 here; `git pull`, or `rollback --to` the one "
        "that shall serve"
    )


def test_show_prints_the_table(capsys):
    write(FIRST)
    call("show")
    assert capsys.readouterr().out == f"{show([FIRST])}\n"
