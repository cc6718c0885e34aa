"""Each plot's table has the columns of its schema, and thinning keeps a curve's shape."""

import math

import numpy as np
import pytest

from pipeline.evaluation import curves
from pipeline.evaluation.curves import PLOTS, plot_tables, precision_recall_curve, roc_curve
from pipeline.evaluation.metrics import Predictions
from tests.harness.predictions import confusion, noisy_predictions

PREDICTIONS = {
    "many": noisy_predictions(seed=3, n=500, ham_share=0.6, decimals=9),
    "no spam": confusion(tp=0, fp=1, fn=0, tn=3),
    "no ham": confusion(tp=1, fp=0, fn=3, tn=0),
    "no rows": confusion(tp=0, fp=0, fn=0, tn=0),
}


@pytest.mark.parametrize("rows", PREDICTIONS)
def test_every_plot_has_a_table_with_its_schemas_columns(rows):
    tables = plot_tables(PREDICTIONS[rows], suffix="_x")
    assert list(tables) == [f"{name}_x" for name in PLOTS]
    for name, (schema, _) in PLOTS.items():
        columns, cells = tables[f"{name}_x"]
        assert columns == schema.names
        assert all(len(row) == len(columns) for row in cells)
        assert cells or rows != "many"
    assert (tables["roc_x"][1] == []) == (rows != "many")
    assert (tables["precision_recall_x"][1] == []) == (rows in ("no spam", "no rows"))


def test_roc_curve_drops_points_on_a_straight_line():
    y_true = np.array([True, True, True, False, False, True])
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    curve = roc_curve(Predictions(y_true=y_true, y_score=score, y_pred=y_true))
    assert curve == [(0, 0, math.inf), (0, 0.75, 0.7), (1, 0.75, 0.5), (1, 1, 0.4)]


@pytest.mark.parametrize("curve", [roc_curve, precision_recall_curve])
def test_a_long_curve_is_thinned_and_keeps_its_shape(curve, monkeypatch):
    predictions = noisy_predictions(seed=9, n=5000, ham_share=0.5, decimals=9)
    thin = np.array(curve(predictions))
    monkeypatch.setattr(curves, "MAX_CURVE_POINTS", 10**9)
    full = np.array(curve(predictions))
    assert len(full) > 1000
    assert 100 < len(thin) <= 200
    assert (thin[[0, -1]] == full[[0, -1]]).all()
    steps = np.abs(np.diff(thin[:, :2], axis=0)).sum(axis=1)
    assert np.median(steps) < 0.02
    areas = [np.trapezoid(points[:, 1], points[:, 0]) for points in (thin, full)]
    assert areas[0] == pytest.approx(areas[1], abs=0.01)


def test_score_histogram_counts_each_row_once():
    score = np.array([0.0, 0.24, 0.25, 0.6, 0.99, 1.0])
    spam = np.array([False, False, True, False, True, True])
    predictions = Predictions(y_true=spam, y_score=score, y_pred=spam)
    table = curves.score_histogram(predictions, bins=4)
    assert table == [(0.125, 2, 0), (0.375, 0, 1), (0.625, 1, 0), (0.875, 0, 2)]


def test_confusion_pairs_are_predicted_then_true_labels():
    pairs = curves.confusion_pairs(confusion(tp=1, fp=1, fn=1, tn=1))
    assert pairs == [("spam", "spam"), ("spam", "ham"), ("ham", "spam"), ("ham", "ham")]
