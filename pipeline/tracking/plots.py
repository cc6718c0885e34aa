"""Draws the plots that `dvc.yaml` defines, from the same files, for the MLflow UI."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pipeline.core.tables import read_csv

COLOURS = ("#945dd6", "#13adc7", "#f46737", "#46ba69")  # DVC's


def render_plots(definitions: list[Mapping[str, Mapping[str, Any]]]) -> dict[str, Figure]:
    """The figure of each entry of `plots:` in dvc.yaml, by its name."""
    return {
        name: _figure(name, entry)
        for definition in definitions
        for name, entry in definition.items()
    }


def _figure(name: str, entry: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=entry["title"], xlabel=entry["x_label"], ylabel=entry["y_label"])
    TEMPLATES.get(entry["template"], _lines)(axes, entry)
    return figure


def _lines(axes: Any, entry: Mapping[str, Any]) -> None:
    """A line of numbers for each column that `y` names."""
    x = entry["x"]
    lines = [
        (file, y) for file, ys in entry["y"].items() for y in ([ys] if isinstance(ys, str) else ys)
    ]
    for (file, y), colour in zip(lines, itertools.cycle(COLOURS), strict=False):
        table = read_csv(Path(file))
        xs, ys = (_numbers(table[name]) for name in (x if isinstance(x, str) else x[file], y))
        label = f"{Path(file).stem}: {y}" if len(entry["y"]) > 1 else y
        axes.plot(xs, ys, color=colour, label=label, marker=".")
    axes.grid(alpha=0.3)
    axes.legend()


def _by_reason(axes: Any, entry: Mapping[str, Any]) -> None:
    """A line for each value of the column `reason`, over the sorted values of `x`."""
    ((file, y),) = entry["y"].items()
    table = read_csv(Path(file))
    places = {x: place for place, x in enumerate(sorted(set(table[entry["x"]])))}
    for reason in sorted(set(table["reason"])):
        rows = [row for row, value in enumerate(table["reason"]) if value == reason]
        xs, ys = (
            [places[table[entry["x"]][row]] for row in rows],
            _numbers([table[y][row] for row in rows]),
        )
        axes.plot(xs, ys, label=reason, marker=".")
    axes.set_xticks(range(len(places)), places)
    axes.grid(alpha=0.3)
    if places:
        axes.legend()


def _bars(axes: Any, entry: Mapping[str, Any]) -> None:
    """A horizontal bar for each row, those of one file beside those of the others."""
    tables = {file: read_csv(Path(file)) for file in entry["y"]}
    names = list(dict.fromkeys(name for file, y in entry["y"].items() for name in tables[file][y]))
    height = 0.8 / len(tables)
    for number, (file, y) in enumerate(entry["y"].items()):
        places = [names.index(name) + number * height for name in tables[file][y]]
        bars = {"height": height, "color": COLOURS[number % len(COLOURS)], "label": Path(file).stem}
        axes.barh(places, _numbers(tables[file][entry["x"]]), **bars)
    axes.set_yticks([place + (len(tables) - 1) * height / 2 for place in range(len(names))], names)
    axes.invert_yaxis()
    axes.legend()


def _confusion(axes: Any, entry: Mapping[str, Any]) -> None:
    """Counts of each pair of values; `y` is the row, `x` the column."""
    ((file, y),) = entry["y"].items()
    table = read_csv(Path(file))
    pairs = list(zip(table[y], table[entry["x"]], strict=True))
    if not pairs:
        return
    names = sorted({name for pair in pairs for name in pair})
    counts = [[pairs.count((row, column)) for column in names] for row in names]
    axes.imshow(counts, cmap="Purples", norm="symlog")
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            axes.text(
                j, i, f"{count:,}", ha="center", va="center", bbox={"color": "white", "alpha": 0.7}
            )


def _numbers(column: list[str]) -> list[float]:
    """An empty cell, which is how an undefined or infinite number is written, leaves a gap."""
    return [float(cell or "nan") for cell in column]


TEMPLATES: dict[str, Callable[[Any, Mapping[str, Any]], None]] = {  # what is not here is lines
    "confusion": _confusion,
    "by_reason": _by_reason,
    "bars": _bars,
}
