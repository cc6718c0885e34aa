"""pipeline/tracking/plots.py"""

from pathlib import Path

import pytest
import ruamel.yaml

from pipeline.core.tables import write_csv
from pipeline.tracking.plots import render_plots, vega_lite_spec
from tests.harness.small_project import ROOT

DEFINITIONS = ruamel.yaml.YAML(typ="safe").load(ROOT / "dvc.yaml")["plots"]
ENTRIES = {name: entry for definition in DEFINITIONS for name, entry in definition.items()}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of its own for the tables, and the project's templates."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(ROOT))


def test_spec_has_the_titles_and_each_line_its_own_numbers_and_colour():
    header = ("spam_caught", "ham_lost", "threshold")
    folder = Path("reports/plots")
    write_csv(folder / "roc.csv", header, [(0.5, 0, 1), (1, 0.25, 0)])
    write_csv(folder / "roc_baseline.csv", header[::-1], [(1, 0.1, 0.2)])
    entry = ENTRIES["roc"]
    spec = vega_lite_spec("roc", entry)
    encoding = spec["encoding"]
    titles = [spec["title"]["text"], encoding["x"]["title"], encoding["y"]["title"]]
    assert titles == [entry["title"], entry["x_label"], entry["y_label"]]
    scale = encoding["color"]["scale"]
    assert scale["domain"] == ["roc", "roc_baseline"]
    assert len(set(scale["range"])) == 2
    points = [(point["rev"], point["x"], point["y"]) for point in spec["data"]["values"]]
    assert points[:2] == [("roc", "0", "0.5"), ("roc", "0.25", "1")]
    assert points[2:] == [("roc_baseline", "0.1", "0.2")]


def test_confusion_matrix_shows_its_counts():
    write_csv(Path("reports/plots/confusion.csv"), ("predicted", "actual"), [("ham", "spam")])
    spec = vega_lite_spec("confusion", ENTRIES["confusion"])
    assert [parameter["value"] for parameter in spec["params"]] == [True]


def test_quarantine_has_a_line_for_each_reason():
    rows = [("2026-01", "blank", 3), ("2026-01", "copy", 7)]
    write_csv(Path("reports/quarantine.csv"), ("month", "reason", "rows"), rows)
    spec = vega_lite_spec("quarantine", ENTRIES["quarantine"])
    assert spec["encoding"]["color"]["field"] == "reason"
    assert [point["reason"] for point in spec["data"]["values"]] == ["blank", "copy"]


def test_picture_is_png_and_a_table_without_rows_has_none():
    columns = ("epoch", "loss", "stop_loss")
    write_csv(Path("reports/curves.csv"), columns, [(1, 0.5, ""), (2, "", 0.4)])
    lines = vega_lite_spec("loss", ENTRIES["loss"])["data"]["values"]
    assert {point["rev"] for point in lines} == {"loss", "stop_loss"}
    write_csv(Path("empty.csv"), columns, [])
    empty = ENTRIES["loss"] | {"y": {"empty.csv": "loss"}}
    images = render_plots([{"loss": ENTRIES["loss"]}, {"empty": empty}])
    assert list(images) == ["loss"]
    assert images["loss"].startswith(b"\x89PNG")
