"""Draws the plots that `dvc.yaml` defines as PNG pictures, with DVC's own templates."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import vl_convert
from dvc_render import VegaRenderer

from pipeline.core.cli import project_root
from pipeline.core.tables import read_csv

TEMPLATES = Path(".dvc") / "plots"  # below the project's root
Entry = Mapping[str, Any]  # title, template, x, y, x_label and y_label, as dvc.yaml has them


def render_plots(definitions: Sequence[Mapping[str, Entry]], scale: float = 2) -> dict[str, bytes]:
    """A PNG of each entry of `plots:` in dvc.yaml that has rows, by the entry's name.

    Args:
        scale: pixels for each pixel of the template.
    Raises: PipelineError, if a table cannot be read.
    """
    specs = {
        name: vega_lite_spec(name, entry)
        for definition in definitions
        for name, entry in definition.items()
    }
    return {
        name: vl_convert.vegalite_to_png(spec, scale=scale) for name, spec in specs.items() if spec
    }


def render_svg(spec: dict[str, Any]) -> str:
    """The picture that a Vega-Lite specification describes."""
    return str(vl_convert.vegalite_to_svg(spec))


def vega_lite_spec(name: str, entry: Entry) -> dict[str, Any]:
    """The entry's template, filled with the rows of its CSV files; empty if they have no rows.

    DVC draws one colour per Git revision (`rev`). A picture shows a single revision, so each
    line takes the place of a revision and has its own colour.
    """
    points = [point for line in _lines(entry) for point in line]
    if not points:
        return {}
    properties = {key: entry[key] for key in ("title", "x_label", "y_label", "template")}
    renderer = VegaRenderer(
        points, name, **properties, x="x", y="y", template_dir=str(project_root() / TEMPLATES)
    )
    spec: dict[str, Any] = renderer.get_filled_template()
    for point in points:  # DVC drops it again, but the template `bars` groups by it
        point["filename"] = point["rev"]
    for parameter in spec.get("params", []):
        if parameter.get("name") == "showValues":  # the counts of a confusion matrix
            parameter["value"] = True
    return {
        **spec,
        "config": {"legend": {"title": None}, "header": {"title": None, "labels": False}},
    }


def _lines(entry: Entry) -> Iterator[list[dict[str, str]]]:
    """The points of each column that `y` names: x, y, the line's name, and the other columns."""
    for file, columns in entry["y"].items():
        table = read_csv(Path(file))
        x = entry["x"] if isinstance(entry["x"], str) else entry["x"][file]
        for column in [columns] if isinstance(columns, str) else columns:
            label = Path(file).stem if len(entry["y"]) > 1 else column
            others = {key: value for key, value in table.items() if key not in (x, column)}
            cells = {**others, "x": table[x], "y": table[column]}
            yield [
                {**dict(zip(cells, row, strict=True)), "rev": label}
                for row in zip(*cells.values(), strict=True)
            ]
