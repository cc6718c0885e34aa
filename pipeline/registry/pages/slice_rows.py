"""The figures of parts of the test set and of attacks, as rows of a table."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.evaluation.slices import GROUPINGS, LEAST_ROWS
from pipeline.registry.pages.wording import FigureFields

CAUGHT, LOST = "spam_caught_percent", "ham_blocked_percent"
EXTREMES = 3  # parts that a sentence names
FORM = "form"  # the group of the slices that are in no group of GROUPINGS
UNKNOWN: FigureFields = {"value": None}


class SliceRow(NamedTuple):
    """A part of the test set."""

    title: str  # such as `language fr`
    name: str  # without its group
    rows: int
    caught: FigureFields  # per cent of spam
    lost: FigureFields  # per cent of ham


class AttackRow(NamedTuple):
    """An attack; per cent of spam that is caught, and of ham that is lost, when edited."""

    name: str
    caught: float | None
    baseline_caught: float | None
    lost: float | None


def slice_rows(figures: Mapping[str, Any]) -> dict[str, list[SliceRow]]:
    """The rows by group: source, kind, language, script and form; small parts are left out."""
    groups: dict[str, list[SliceRow]] = {name: [] for name in (*GROUPINGS, FORM)}
    for key, caught in figures.items():
        if not (key.startswith("slices.") and key.endswith(f".{CAUGHT}")):
            continue
        part = key.removeprefix("slices.").removesuffix(f".{CAUGHT}")
        group, _, name = part.partition("_")
        if group not in GROUPINGS:
            group, name = FORM, part
        lost = figures.get(f"slices.{part}.{LOST}", UNKNOWN)
        words = name.replace("_", " ")
        title = words if group == FORM else f"{group} {words}"
        if caught["n"] >= LEAST_ROWS or group == "source":
            groups[group].append(SliceRow(title, words, caught["n"], caught, lost))
    return {group: rows for group, rows in groups.items() if rows}


def extreme_rows(groups: Mapping[str, list[SliceRow]], field: str, *, greatest: bool) -> str:
    """The three parts of any group with the greatest or least `caught` or `lost`, in words."""
    figures = [(getattr(row, field), row.title) for rows in groups.values() for row in rows]
    known = [(figure["value"], title) for figure, title in figures if figure["value"] is not None]
    first = sorted(known, key=lambda pair: -pair[0] if greatest else pair[0])[:EXTREMES]
    return ", ".join(f"{title} ({value:.0f} %)" for value, title in first)


def attack_rows(figures: Mapping[str, Any]) -> list[AttackRow]:
    """A row for each attack and strength, the one that lets most spam through first."""
    rows = []
    for key, caught in figures.items():
        if key.startswith("attacks.") and key.endswith(f".{CAUGHT}"):
            part = key.removesuffix(f".{CAUGHT}")
            baseline = figures.get(f"baseline.{key}", UNKNOWN)["value"]
            lost = figures.get(f"{part}.{LOST}", UNKNOWN)["value"]
            name = part.removeprefix("attacks.").replace("_", " ")
            rows.append(AttackRow(name, caught["value"], baseline, lost))
    return sorted(rows, key=lambda row: 0.0 if row.caught is None else row.caught)
