"""Draws the plots that `dvc.yaml` defines, from the same files, for the MLflow UI."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pipeline import stage

COLOURS = ("#945dd6", "#13adc7", "#f46737", "#46ba69")  # DVC's


def draw(definitions: list[Mapping[str, Mapping[str, Any]]]) -> dict[str, Figure]:
    """The figure of each entry of `plots:` in dvc.yaml, by its name."""
    return {name: _figure(name, entry) for definition in definitions for name, entry in definition.items()}


def _figure(name: str, entry: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=entry["title"], xlabel=entry["x_label"], ylabel=entry["y_label"])
    if entry["template"].startswith("confusion"):
        _confusion(axes, entry)
        return figure
    x = entry["x"]
    lines = [(file, y) for file, ys in entry["y"].items() for y in ([ys] if isinstance(ys, str) else ys)]
    for (file, y), colour in zip(lines, itertools.cycle(COLOURS), strict=False):
        table = stage.read_csv(Path(file))
        xs, ys = (_numbers(table[name]) for name in (x if isinstance(x, str) else x[file], y))
        label = f"{Path(file).stem}: {y}" if len(entry["y"]) > 1 else y
        axes.plot(xs, ys, color=colour, label=label, marker=".")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _confusion(axes: Any, entry: Mapping[str, Any]) -> None:
    """Counts of each pair of values; `y` is the row, `x` the column."""
    ((file, y),) = entry["y"].items()
    table = stage.read_csv(Path(file))
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
            axes.text(j, i, f"{count:,}", ha="center", va="center", bbox={"color": "white", "alpha": 0.7})


def _numbers(column: list[str]) -> list[float]:
    """An empty cell, which is how an undefined or infinite number is written, leaves a gap."""
    return [float(cell or "nan") for cell in column]
