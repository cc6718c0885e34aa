"""Charts as SVG, in the colours of the page that they stand in, light or dark."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.registry.pages.wording import FigureFields
from pipeline.tracking.plots import render_svg

Points = Sequence[tuple[float, float]]  # x, y
IntervalRow = tuple[str, float, float, float]  # label, value, lower end, upper end

OURS, THEIRS = "var(--ours)", "var(--theirs)"  # variables of html_page.STYLE
DASHES: list[list[int]] = [[1, 0], [5, 3], [2, 2]]  # tell lines apart without colour
WIDTH, HEIGHT = 290, 190  # pixels of the plot; with its labels it fits a telephone
ROW_HEIGHT = 17  # pixels
AXIS = {
    "labelColor": "currentColor",
    "titleColor": "currentColor",
    "gridColor": "var(--line)",
    "domainColor": "var(--line)",
    "tickColor": "var(--line)",
    "titleFontWeight": "normal",
    "labelFontSize": 11,
    "titleFontSize": 11,
    "labelLimit": 130,  # pixels
}
CONFIG = {
    "aria": False,  # the page names the picture as a whole
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": AXIS,
    "legend": {"labelColor": "currentColor", "labelFontSize": 11, "symbolType": "stroke"},
}


def line_chart(
    lines: Mapping[str, Points], x_title: str, y_title: str, domain: tuple[float, float] | None
) -> str:
    """Lines by name, with a legend if there are several.

    Args:
        domain: of the y axis, and of the x axis of shares; None: of the points.
    """
    values = [
        {"line": name, "x": x, "y": y}
        for name, points in lines.items()
        for x, y in points
        if math.isfinite(x) and math.isfinite(y)
    ]
    legend = {"title": None, "orient": "bottom"} if len(lines) > 1 else None
    kind = {"field": "line", "type": "nominal", "sort": None, "legend": legend}
    colors = [OURS, THEIRS, "var(--muted)"][: len(lines)]
    scale = {"domain": domain} if domain else {"zero": False}
    encoding = {
        "x": _axis("x", x_title, scale),
        "y": _axis("y", y_title, scale),
        "color": {**kind, "scale": {"domain": list(lines), "range": colors}},
        "strokeDash": {**kind, "scale": {"domain": list(lines), "range": DASHES[: len(lines)]}},
    }
    mark = {"type": "line", "strokeWidth": 2}
    return _svg({"mark": mark, "height": HEIGHT, "encoding": encoding}, values)


def interval_rows(figures: Iterable[tuple[str, FigureFields]]) -> list[IntervalRow]:
    """The rows of the figures that have an interval. Args: figures: by their label."""
    return [
        (label, figure["value"], figure["low"], figure["high"])
        for label, figure in figures
        if figure["value"] is not None and figure.get("low") is not None
    ]


def interval_chart(rows: Sequence[IntervalRow], x_title: str, line_at: float) -> str:
    """A dot and its 95 % interval for each row, from top to bottom.

    Args:
        line_at: where a vertical line stands, such as no difference, or the whole test set.
    """
    values = [dict(zip(("label", "value", "low", "high"), row, strict=True)) for row in rows]
    label = {"field": "label", "type": "nominal", "sort": None, "title": None}
    x = _axis("value", x_title, {"zero": False, "nice": True})
    layers = [
        {
            "mark": {"type": "rule", "color": "var(--muted)", "strokeDash": [4, 3]},
            "encoding": {"x": {"datum": line_at}},
        },
        {
            "mark": {"type": "rule", "color": OURS, "strokeWidth": 2},
            "encoding": {"y": label, "x": {**x, "field": "low"}, "x2": {"field": "high"}},
        },
        {
            "mark": {"type": "point", "color": OURS, "fill": OURS, "size": 35},
            "encoding": {"y": label, "x": x},
        },
    ]
    return _svg({"layer": layers, "height": {"step": ROW_HEIGHT}}, values)


def _axis(field: str, title: str, scale: Mapping[str, Any]) -> dict[str, Any]:
    axis = {"tickCount": 4}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": axis}


def _svg(spec: Mapping[str, Any], values: Sequence[Mapping[str, Any]]) -> str:
    """The picture, without the attributes for a screen reader, as the page describes it."""
    whole = {"width": WIDTH, "data": {"values": values}, "config": CONFIG, **spec}
    return re.sub(r' (?:role|aria-[a-z]+|class)="[^"]*"', "", render_svg(whole))
