"""Ledger, registry and files agree through a bad year: the short form of benchmarks/registry.py."""

from collections import Counter
from dataclasses import replace

import pytest

from tests.harness.year_of_retrainings import (
    BY_HAND,
    CRITERIA,
    FATES,
    FEWEST,
    KINDS,
    TRAINED,
    Retraining,
    Standing,
    Year,
    flaws,
    planned,
    played,
    rows_at,
    table,
)


def line(version, previous, verdict="promote", precision=0.9):
    figures = {"average_precision": {"value": precision}, "ham_blocked_percent": {"value": 0.5}}
    model = {"version": version, "model_hash": f"hash of {version}"}
    return model | {"previous": previous, "verdict": verdict, "figures": figures}


FIRST, SECOND, THIRD = line("1", None, "first"), line("2", "1"), line("4", "2")
HASHES = {version: f"hash of {version}" for version in ("1", "2", "3", "4")}
BEFORE = Standing({"champion": "2", "previous": "1"}, HASHES, [FIRST, SECOND])
AFTER = Standing({"champion": "4", "previous": "2"}, HASHES, [FIRST, SECOND, THIRD])


def test_what_agrees_has_no_flaw():
    nothing = Standing({}, {}, [])
    assert list(flaws(nothing, nothing)) == []
    assert list(flaws(nothing, Standing({"champion": "1"}, HASHES, [FIRST]))) == []
    assert list(flaws(BEFORE, BEFORE)) == []
    assert list(flaws(BEFORE, AFTER)) == []


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"lines": [FIRST, SECOND]}, "0 lines for 1 moves of the alias"),
        ({"lines": [FIRST, SECOND, THIRD, line("3", "4")]}, "2 lines for 1 moves of the alias"),
        ({"lines": [FIRST, line("2", "1", "rollback"), THIRD]}, "lines of the ledger have changed"),
        ({"lines": [FIRST, SECOND, line("4", "1")]}, "version 4 says that it followed 1"),
        (
            {"aliases": {"champion": "3", "previous": "2"}},
            "aliases are {'champion': '3', 'previous': '2'}",
        ),
        ({"aliases": {"champion": "4"}}, "aliases are {'champion': '4'}, and the last line says"),
        ({"versions": HASHES | {"1": "another"}}, "version 1 is not the model of its line"),
        ({"versions": HASHES | {"5": "hash of 3"}}, "a model has two versions"),
        (
            {
                "lines": [
                    FIRST,
                    SECOND,
                    line("4", "2", precision=CRITERIA["average_precision"]["min"] - 0.01),
                ]
            },
            "version 4 is the champion with average_precision 0.74",
        ),
    ],
)
def test_what_does_not_agree_is_seen(change, flaw):
    assert next(flaws(BEFORE, replace(AFTER, **change))).startswith(flaw)


def test_person_may_want_a_champion_below_the_criteria():
    forced = line("4", "2", "forced", precision=0.1)
    assert list(flaws(BEFORE, replace(AFTER, lines=[FIRST, SECOND, forced]))) == []


@pytest.mark.parametrize("number", [10, 50, 73])
def test_year_has_every_kind_in_its_share_and_every_fate(number):
    plan = planned(number)
    assert len(plan) == number
    counts = Counter(one.kind for one in plan)
    for kind, weight in KINDS.items():
        assert abs(counts[kind] - number * weight / sum(KINDS.values())) < 1
    assert plan[0].kind == "better: more data"
    assert (plan[0].fate, {one.fate for one in plan if one.kind in BY_HAND}) == (
        "undisturbed",
        {"undisturbed"},
    )
    assert number < 50 or {one.fate for one in plan} == set(FATES)
    assert sum(one.regretted for one in plan) == 4
    parts = [one.part for one in plan if one.fate.startswith("killed")]
    assert len(set(parts)) == len(parts)
    assert 0 < min(parts) < 0.3 < 0.7 < max(parts) < 1


def test_kinds_have_no_misspelt_settings():
    assert {*TRAINED, *BY_HAND} <= set(KINDS)


def test_messages_grow_with_each_better_challenger_to_all_of_them():
    plan = planned(50)
    rows = [rows_at(plan, turn, 4862) for turn in range(50)]
    assert (rows[0], rows[-1], rows) == (FEWEST, 4862, sorted(rows))
    assert all(
        (rows[i] > rows[i - 1]) == (plan[i].kind == "better: more data") for i in range(1, 50)
    )


# ---- a short year

SHORT = [
    Retraining("better: more data", thorough=True),
    Retraining("broken: tampered with, forced"),
    Retraining("worse: fewer epochs", "no server"),
    Retraining("better: more data", "killed at an alias", 0.8, regretted=True),
    Retraining("broken: weights are NaN"),
]


@pytest.mark.slow
def test_ledger_registry_and_files_agree_through_a_short_year(
    sms_places, mlflow_server, proxy, tmp_path, monkeypatch
):
    """A first model, a stranger's hand in the store, an outage, a kill between two aliases, a rollback."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    mlflow_server.restore("empty")
    year = Year(tmp_path / "project", mlflow_server, proxy)
    assert list(played(year, SHORT)) == []
    said = {kind: dict(verdicts) for kind, verdicts in year.verdicts.items()}
    assert said["better: more data"] == {"first": 1, "promote": 1}
    assert said["broken: tampered with, forced"] == {"refused": 1}
    assert said["a person rolls back"] == {"rollback": 1}
    assert dict(year.survived) == {"undisturbed": 1, "no server": 1, "killed": 1}
    assert [entry["verdict"] for entry in year.standing().lines] == ["first", "promote", "rollback"]
    assert table(year).endswith(
        "3 lines in the ledger, 2 versions restored from them, of which 1 is the champion."
    )
