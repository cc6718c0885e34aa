"""pipeline/tracking/plots.py"""

import csv
from pathlib import Path

import pytest
import ruamel.yaml

from pipeline.tracking.plots import render_plots, vega_lite_spec
from tests.harness.small_project import ROOT

DEFINITIONS = ruamel.yaml.YAML(typ="safe").load(ROOT / "dvc.yaml")["plots"]
ENTRIES = {name: entry for definition in DEFINITIONS for name, entry in definition.items()}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of its own for the tables, and the project's templates."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(ROOT))


def write(file, columns, rows):
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    with Path(file).open("w", newline="") as out:
        csv.writer(out).writerows([columns, *rows])


def write_tables(entry):
    """The tables of an entry of dvc.yaml, with three rows each. Returns the number of lines."""
    lines = 0
    for file, ys in entry["y"].items():
        x = entry["x"] if isinstance(entry["x"], str) else entry["x"][file]
        columns = [x, *([ys] if isinstance(ys, str) else ys)]
        write(file, [*columns, "reason"], [[row / 4] * len(columns) + ["a"] for row in range(3)])
        lines += len(columns) - 1
    return lines


@pytest.mark.parametrize(("name", "entry"), ENTRIES.items(), ids=ENTRIES)
def test_spec_has_title_axis_names_and_every_line(name, entry):
    lines = write_tables(entry)
    spec = vega_lite_spec(name, entry)
    assert spec["title"]["text"] == entry["title"]
    encoding = spec.get("spec", spec)["encoding"]
    titles = (encoding["x"]["title"], encoding["y"]["title"])
    assert titles == (entry["x_label"], entry["y_label"])
    points = spec["data"]["values"]
    assert len(points) == 3 * lines
    assert len({point["rev"] for point in points}) == lines


def test_each_line_has_its_own_numbers_and_colour():
    header = ("spam_caught", "ham_lost", "threshold")
    write("reports/plots/roc.csv", header, [(0.5, 0, 1), (1, 0.25, 0)])
    write("reports/plots/roc_baseline.csv", header[::-1], [(1, 0.1, 0.2)])
    spec = vega_lite_spec("roc", ENTRIES["roc"])
    scale = spec["encoding"]["color"]["scale"]
    assert scale["domain"] == ["roc", "roc_baseline"]
    assert len(set(scale["range"])) == 2
    points = [(point["rev"], point["x"], point["y"]) for point in spec["data"]["values"]]
    assert points[:2] == [("roc", "0", "0.5"), ("roc", "0.25", "1")]
    assert points[2:] == [("roc_baseline", "0.1", "0.2")]


def test_confusion_matrix_shows_its_counts():
    write_tables(ENTRIES["confusion"])
    spec = vega_lite_spec("confusion", ENTRIES["confusion"])
    assert [parameter["value"] for parameter in spec["params"]] == [True]


def test_quarantine_has_a_line_for_each_reason():
    rows = [("2026-01", "blank", 3), ("2026-01", "copy", 7)]
    write("reports/quarantine.csv", ("month", "reason", "rows"), rows)
    spec = vega_lite_spec("quarantine", ENTRIES["quarantine"])
    assert spec["encoding"]["color"]["field"] == "reason"
    assert [point["reason"] for point in spec["data"]["values"]] == ["blank", "copy"]


def test_picture_is_png_and_a_table_without_rows_has_none():
    write("reports/curves.csv", ("epoch", "loss", "stop_loss"), [(1, 0.5, ""), (2, "", 0.4)])
    write("empty.csv", ("epoch", "loss"), [])
    empty = ENTRIES["loss"] | {"y": {"empty.csv": "loss"}}
    images = render_plots([{"loss": ENTRIES["loss"]}, {"empty": empty}])
    assert list(images) == ["loss"]
    assert images["loss"].startswith(b"\x89PNG")
