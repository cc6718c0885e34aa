"""`python -m pipeline ledger` shows the ledger, checks it and rolls back."""

from dataclasses import replace

import pytest

from pipeline.core.errors import PipelineError
from pipeline.registry import ledger, ledger_cli
from pipeline.registry.ledger import ENTRY_TAG, read_entries
from pipeline.registry.ledger_cli import contradictions, entries_table, parallel_promotions
from pipeline.registry.versions import Version, all_versions
from tests.harness.ledger_entries import BACK, FIRST, SECOND
from tests.harness.small_project import runner


def run_ledger(*arguments):
    ledger_cli.main(list(arguments))


# ---- show


def test_show_prints_a_row_for_each_entry(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for entry in (FIRST, SECOND, BACK):
        ledger.append_entry(entry)
    run_ledger("show")
    head, first, _, back = capsys.readouterr().out.splitlines()
    assert tuple(head.split()) == ledger_cli.TABLE_COLUMNS
    assert "f1 0.950 [0.920, 0.970]" in first
    assert back.startswith("2026-02-03T09:00:00+00:00  rollback  1        2         m1     f1 0.9")
    assert back.endswith("Ada    loses ham")


def test_undefined_figure_is_not_shown():
    figures = {"roc_auc": {"value": None, "low": None, "n": 3}}
    assert "roc_auc" not in entries_table([replace(FIRST, figures=figures)])


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        run_ledger("--help")
    assert ledger_cli.EXAMPLE in capsys.readouterr().out


# ---- verify


def version(entry, **tags):
    tags = {"model_hash": entry.model_hash, ENTRY_TAG: entry.json_line(), **tags}
    return Version(entry.version, tags)


AGREED = {
    "entries": [FIRST, SECOND],
    "versions": {"1": version(FIRST), "2": version(SECOND)},
    "aliases": {"champion": "2", "previous": "1"},
    "cached": {"t1", "n1", "e1", "s1"},
}


def test_agreement_has_no_contradiction():
    assert list(contradictions(**AGREED)) == []
    assert list(contradictions([], {}, {}, set())) == []
    assert list(parallel_promotions([FIRST, SECOND, BACK])) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"versions": {"2": version(SECOND)}},
            "version 1: not in the registry; `restore` rebuilds it in an empty registry",
        ),
        (
            {"versions": {"1": version(FIRST), "2": version(SECOND, model_hash="other")}},
            "version 2: another model in the registry; two registries wrote this ledger",
        ),
        (
            {"cached": {"t1", "e1", "s1"}},
            "version 1: not in DVC's cache: network; `dvc fetch --all-commits`",
        ),
        (
            {"aliases": {"champion": "1"}},
            "champion: version 1 in the registry, 2 here; `git pull`, or",
        ),
        ({"aliases": {}}, "champion: version none in the registry, 2 here"),
        (
            {"entries": [FIRST]},
            "version 2: became the champion 2026-02-02T08:00:00+00:00, but has no line; `git pull`",
        ),
        (
            {"entries": [FIRST, replace(SECOND, reason="no reason")]},
            "version 2: its line was changed; the registry's tag judgement has the original",
        ),
    ],
)
def test_each_contradiction_is_a_line_with_the_way_out(change, line):
    assert next(contradictions(**AGREED | change)).startswith(line)


def test_promotions_on_two_branches_are_reported():
    other = replace(SECOND, time="2026-02-05T08:00:00+00:00", version="3", model_hash="m3")
    assert list(parallel_promotions([FIRST, SECOND, other])) == [
        "version 3 replaced version 1 when 2 was the champion: two branches or registries "
        "promoted, and the later one serves; to undo it, `rollback --to 2`"
    ]


@pytest.mark.slow
def test_verify_compares_with_registry_and_cache(promoted, caplog):
    run = runner(promoted.folder)
    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    with pytest.raises(PipelineError, match=r"version 1: not in DVC's cache: decision, network, "):
        run_ledger("verify")
    for md5 in {md5 for entry in read_entries() for md5 in entry.files.values()}:
        path = promoted.folder / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    caplog.set_level("INFO")
    run_ledger("verify")
    assert caplog.messages[-1] == "ledger: 2 entries agree with the registry and with DVC's cache"
    promoted.store.set_registered_model_alias("spam-detector", "champion", "1")
    with pytest.raises(PipelineError, match=r"^ledger.jsonl: champion: version 1 in the registry"):
        run_ledger("verify")


# ---- rollback


@pytest.fixture
def promoted(champion):
    """Version 2 is the champion, and version 1 was."""
    champion.register_thresholds(0.0)
    return champion


@pytest.mark.slow
def test_rollback_restores_the_champion_before(promoted):
    run_ledger("rollback", "--reason", "loses ham")
    assert promoted.aliases() == {"champion": "1", "previous": "2"}
    first, *_, back = read_entries()
    assert back == replace(
        first, time=back.time, verdict="rollback", previous="2", reason="loses ham"
    )
    assert promoted.tags("2")["rolled_back"] == "loses ham"
    with pytest.raises(PipelineError) as refused:  # the same command again
        run_ledger("rollback", "--reason", "loses ham")
    assert str(refused.value) == (
        "rollback: version 2 was rolled back itself (loses ham); choose one with --to"
    )
    run_ledger("rollback", "--to", "2", "--reason", "it does not")
    assert promoted.aliases() == {"champion": "2", "previous": "1"}
    tags = {number: version.tags["rolled_back"] for number, version in all_versions().items()}
    assert tags == {"1": "it does not", "2": ""}


@pytest.mark.slow
def test_wrong_rollback_is_refused_in_one_line(promoted):
    lines = {
        ("--to", "7", "--reason", "x"): (
            "rollback: --to: 7 was never the champion; choose from 1, 2"
        ),
        ("--to", "2", "--reason", "x"): "rollback: version 2 is the champion already",
        ("--reason", " "): "rollback: --reason: empty; say why, as the ledger keeps it",
    }
    for arguments, line in lines.items():
        with pytest.raises(PipelineError) as refused:
            run_ledger("rollback", *arguments)
        assert str(refused.value) == line
    promoted.store.delete_registered_model_alias("spam-detector", "previous")
    ledger.LEDGER.write_text(ledger.ledger_text(read_entries()[1:]))
    only = replace(read_entries()[0], previous=None).json_line()
    promoted.store.set_model_version_tag("spam-detector", "2", ENTRY_TAG, only)
    with pytest.raises(PipelineError, match=r"^rollback: no earlier champion; choose a version"):
        run_ledger("rollback", "--reason", "because")
    assert promoted.aliases() == {"champion": "2"}


@pytest.mark.slow
def test_rollback_to_a_damaged_version_is_refused(promoted):
    decision = promoted.artifacts("1") / "decision.json"
    decision.write_text(decision.read_text().replace('"slope": 1.0', '"slope": 999.0'))
    with pytest.raises(PipelineError, match=r"^version 1: answers 0\.\d+ to 'WIN .*, but 0\.\d+ "):
        run_ledger("rollback", "--reason", "because")
    (promoted.artifacts("1") / "network" / "saved_model.pb").unlink()
    with pytest.raises(
        PipelineError, match=r"^rollback: version 1: OSError: SavedModel .*; choose"
    ):
        run_ledger("rollback", "--reason", "because")
    assert promoted.aliases()["champion"] == "2"
