"""`python -m pipeline ledger` shows the ledger, checks it and rolls back."""

import re
from dataclasses import replace

import pytest

from pipeline.registry import ledger, ledger_cli
from pipeline.registry.ledger import ENTRY_TAG, read_entries
from pipeline.registry.ledger_cli import contradictions, parallel_promotions
from pipeline.registry.package_hash import PACKAGE_TAG, hash_package
from pipeline.registry.versions import Version, all_versions, set_tags
from tests.harness.errors import error_of
from tests.harness.ledger_entries import BACK, FIRST, SECOND


def run_ledger(*arguments):
    ledger_cli.main(list(arguments))


# ---- show


def test_show_prints_a_row_for_each_entry(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    undefined = {"roc_auc": {"value": None, "low": None, "n": 3}}
    reason = "loses\nham \x1b[2J, see https://h/x?token=secret"
    for entry in (FIRST, replace(SECOND, figures=undefined), replace(BACK, reason=reason)):
        ledger.append_entry(entry)
    run_ledger("show")
    head, first, second, back = capsys.readouterr().out.splitlines()
    assert tuple(head.split()) == ledger_cli.TABLE_COLUMNS
    assert "f1 0.950 [0.920, 0.970]" in first
    assert "roc_auc" not in second
    assert back.startswith("2026-02-03T09:00:00+00:00  rollback  1        2         m1     f1 0.9")
    assert back.endswith(r"Ada    loses\nham \x1b[2J, see https://h/x?token=***")


# ---- verify


def version(entry):
    tags = {"model_hash": entry.model_hash, ENTRY_TAG: entry.json_line()}
    return Version(entry.version, tags)


OTHER = replace(SECOND, model_hash="other")
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
            "version 1: not in the registry; `restore` rebuilds",
        ),
        ({"entries": [FIRST, OTHER]}, "version 2: another model in the registry; two registries"),
        ({"cached": {"t1", "e1", "s1"}}, "version 1: not in DVC's cache: network; `dvc fetch "),
        ({"aliases": {}}, "champion: version none in the registry, 2 here; `git pull`, or"),
        ({"entries": [FIRST]}, f"version 2: became the champion {SECOND.time}, but has no line"),
        (
            {"entries": [FIRST, replace(SECOND, reason="no reason")]},
            "version 2: its line was changed; the registry's tag judgement has the original",
        ),
        (
            {"versions": AGREED["versions"] | {"2": version(replace(SECOND, verdict="tie"))}},
            "champion: version 2 in the registry, but its own record says `tie: it meets the ",
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
    line = "rollback: version 2 was rolled back itself (loses ham); choose one with --to"
    assert error_of(run_ledger, "rollback", "--reason", "loses ham") == line  # again
    run_ledger("rollback", "--to", "2", "--reason", "it does not")
    assert promoted.aliases() == {"champion": "2", "previous": "1"}
    tags = {number: version.tags["rolled_back"] for number, version in all_versions().items()}
    assert tags == {"1": "it does not", "2": ""}


@pytest.mark.slow
def test_wrong_rollback_is_refused_in_one_line(champion):
    line = "rollback: no earlier champion; choose a version with --to"
    assert error_of(run_ledger, "rollback", "--reason", "because") == line
    champion.register_thresholds(0.0)
    lines = {
        (
            "--to",
            "7",
            "--reason",
            "x",
        ): "rollback: --to: 7 was never the champion; choose from 1, 2",
        ("--to", "2", "--reason", "x"): "rollback: version 2 is the champion already",
        ("--reason", " "): "rollback: --reason: empty; say why, as the ledger keeps it",
    }
    for arguments, line in lines.items():
        assert error_of(run_ledger, "rollback", *arguments) == line
    assert champion.aliases() == {"champion": "2", "previous": "1"}


@pytest.mark.slow
def test_rollback_to_a_damaged_version_is_refused(promoted):
    folder = promoted.artifacts("1")
    (folder / "network" / "saved_model.pb").unlink()
    line = error_of(run_ledger, "rollback", "--reason", "because")
    assert line.startswith("version 1: its files are not those that were registered; ")
    set_tags("1", {PACKAGE_TAG: hash_package(folder.parent)})
    line = error_of(run_ledger, "rollback", "--reason", "because")
    assert re.fullmatch("rollback: version 1: OSError: .*; choose another with --to", line)
    assert promoted.aliases()["champion"] == "2"


@pytest.mark.slow
def test_rollback_to_a_version_that_answers_differently_is_refused(promoted, caplog):
    first, second = read_entries()
    ledger.LEDGER.write_text(ledger.ledger_text([replace(first, answers=[0.5, 0.5]), second]))
    line = error_of(run_ledger, "rollback", "--reason", "because")
    assert line.startswith("version 1: answers 0.")
    assert promoted.aliases()["champion"] == "2"
    ledger.LEDGER.write_text(ledger.ledger_text([first, second]))
    caplog.set_level("INFO", logger="pipeline")
    run_ledger("rollback", "--reason", "because")
    assert caplog.messages[-1] == (
        "ledger: version 1 is the champion again; a `make serve` that runs follows within seconds"
    )
