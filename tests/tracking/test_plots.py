"""Each plot that dvc.yaml defines is drawn from its files, with its title, its axes and all of its lines."""

import csv
import math
from pathlib import Path

import pytest
import ruamel.yaml

from pipeline.tracking import plots
from tests.harness.small_project import ROOT

DEFINITIONS = ruamel.yaml.YAML(typ="safe").load(ROOT / "dvc.yaml")["plots"]
ENTRIES = {name: entry for definition in DEFINITIONS for name, entry in definition.items()}
LINES = {  # of each plot, by their labels
    "precision_recall": ["precision_recall: precision", "precision_recall_baseline: precision"],
    "roc": ["roc: spam_caught", "roc_baseline: spam_caught"],
    "calibration": ["calibration: spam_share", "calibration_baseline: spam_share"],
    "scores": ["ham", "spam"],
    "confusion": [],
    "quarantine": [],
    "lengths": [f"lengths_{split}: characters" for split in ("train", "val", "test")],
    "scripts": [],
    "terms": [],
    "loss": ["loss", "stop_loss"],
    "accuracy": ["accuracy", "stop_accuracy", "stop_average_precision"],
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def columns_of(entry):
    """The columns that a plot reads, by file."""
    found = {}
    for file, ys in entry["y"].items():
        x = entry["x"] if isinstance(entry["x"], str) else entry["x"][file]
        found[file] = [x, *([ys] if isinstance(ys, str) else ys)]
    return found


def write(file, columns, rows):
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    with Path(file).open("w", newline="") as out:
        csv.writer(out).writerows([columns, *rows])


def drawn(name):
    """The axes of one plot of dvc.yaml."""
    ((found, figure),) = plots.render_plots([{name: ENTRIES[name]}]).items()
    assert found == name
    figure.canvas.draw()
    (axes,) = figure.axes
    return axes


def confusion(*pairs):
    """The counts drawn, by what was (actual, predicted)."""
    write("reports/plots/confusion.csv", ("actual", "predicted"), pairs)
    axes = drawn("confusion")
    xs, ys = (
        [label.get_text() for label in ticks]
        for ticks in (axes.get_xticklabels(), axes.get_yticklabels())
    )
    places = {cell.get_position(): cell.get_text() for cell in axes.texts}
    return {(xs[x], ys[y]): count for (x, y), count in places.items()}


def test_every_plot_of_dvc_yaml_is_told_of_here():
    assert list(LINES) == list(ENTRIES)


LINELESS = ("confusion", "quarantine", "scripts", "terms")


@pytest.mark.parametrize("name", LINES)
def test_plot_has_its_title_its_axes_and_all_of_its_lines(name):
    for file, columns in columns_of(ENTRIES[name]).items():
        write(
            file,
            [*columns, "reason"],
            [[i / 4 + k for k in range(len(columns))] + ["x"] for i in range(4)],
        )
    axes = drawn(name)
    assert axes.get_title() == ENTRIES[name]["title"]
    assert axes.get_xlabel() == ENTRIES[name]["x_label"]
    assert axes.get_ylabel() == ENTRIES[name]["y_label"]
    if name in LINELESS:
        return
    assert [line.get_label() for line in axes.lines] == LINES[name]
    assert len({line.get_color() for line in axes.lines}) == len(LINES[name])
    for line in axes.lines:
        assert list(line.get_xdata()) == [0, 0.25, 0.5, 0.75]
    if LINES[name]:
        assert [text.get_text() for text in axes.get_legend().get_texts()] == LINES[name]


def test_each_line_has_the_numbers_of_its_own_column_and_file():
    write(
        "reports/plots/roc.csv",
        ("spam_caught", "ham_lost", "threshold"),
        [(0.5, 0, 1), (1, 0.25, 0)],
    )
    write(
        "reports/plots/roc_baseline.csv", ("threshold", "ham_lost", "spam_caught"), [(1, 0.1, 0.2)]
    )
    ours, baseline = drawn("roc").lines
    assert (list(ours.get_xdata()), list(ours.get_ydata())) == ([0, 0.25], [0.5, 1])
    assert (list(baseline.get_xdata()), list(baseline.get_ydata())) == ([0.1], [0.2])


@pytest.mark.parametrize("name", LINES)
def test_plot_of_empty_tables_is_empty(name):
    for file, columns in columns_of(ENTRIES[name]).items():
        write(file, [*columns, "reason"], [])
    axes = drawn(name)
    assert [list(line.get_xdata()) for line in axes.lines] == [[] for _ in LINES[name]]
    assert not axes.texts


def test_empty_cell_leaves_a_gap():
    """As an infinite threshold is written, or the loss of a training that diverged."""
    write(
        "reports/curves.csv",
        ("epoch", "loss", "stop_loss"),
        [(1, 0.5, 0.4), (2, "", ""), (3, 0.3, "")],
    )
    loss, stop_loss = ([*line.get_ydata()] for line in drawn("loss").lines)
    assert [loss[0], loss[2], stop_loss[0]] == [0.5, 0.3, 0.4]
    assert all(map(math.isnan, [loss[1], stop_loss[1], stop_loss[2]]))


def test_a_fifth_line_is_drawn_too():
    names = ["a", "b", "c", "d", "e"]
    write("many.csv", ["epoch", *names], [range(6)])
    entry = ENTRIES["loss"] | {"y": {"many.csv": names}}
    assert [
        line.get_label() for line in plots.render_plots([{"many": entry}])["many"].axes[0].lines
    ] == names


def test_confusion_counts_what_messages_are_across_and_what_they_were_called_up():
    rows = (
        [("ham", "ham")] * 1200
        + [("ham", "spam")] * 2
        + [("spam", "ham")] * 3
        + [("spam", "spam")] * 40
    )
    assert confusion(*rows) == {
        ("ham", "ham"): "1,200",
        ("ham", "spam"): "2",
        ("spam", "ham"): "3",
        ("spam", "spam"): "40",
    }


@pytest.mark.parametrize(
    ("actual", "predicted"),
    [("spam", "ham"), ("ham", "spam")],
    ids=["nothing called spam", "no spam there"],
)
def test_confusion_shows_a_class_that_only_one_side_has(actual, predicted):
    counts = confusion(*[(actual, predicted)] * 5, *[(predicted, predicted)] * 7)
    assert counts[actual, predicted] == "5"
    assert counts[predicted, predicted] == "7"
    assert sorted(counts.values()) == ["0", "0", "5", "7"]


def test_each_reason_is_a_line_over_all_months_in_order():
    rows = [
        ("2026-02", "blank", 3),
        ("2026-01", "blank", 1),
        ("2026-02", "copy", 7),
        ("undated", "copy", 9),
    ]
    write("reports/quarantine.csv", ("month", "reason", "rows"), sorted(rows))
    axes = drawn("quarantine")
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "2026-01",
        "2026-02",
        "undated",
    ]
    lines = {
        line.get_label(): [*zip(line.get_xdata(), line.get_ydata(), strict=True)]
        for line in axes.lines
    }
    assert lines == {"blank": [(0, 1), (1, 3)], "copy": [(1, 7), (2, 9)]}


def test_bars_of_one_name_stand_beside_one_another_with_their_own_lengths():
    for split, shares in {"train": (0.9, 0.1), "val": (1, 0), "test": (0.6, 0.4)}.items():
        rows = zip(("latin", "greek"), shares, strict=True)
        write(f"reports/profile/scripts_{split}.csv", ("script", "share"), rows)
    axes = drawn("scripts")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["latin", "greek"]
    bars = {box.get_label(): [bar.get_width() for bar in box] for box in axes.containers}
    assert bars == {"scripts_train": [0.9, 0.1], "scripts_val": [1, 0], "scripts_test": [0.6, 0.4]}
    assert len({round(bar.get_y(), 6) for box in axes.containers for bar in box}) == 6
