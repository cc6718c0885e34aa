"""The intervals are what they claim, of one model and of a difference of two."""

import math

import numpy as np
import pytest

from pipeline.core.reports import Figure
from pipeline.evaluation import bootstrap
from pipeline.evaluation.bootstrap import measure, measure_difference, proportion_upper
from pipeline.evaluation.metrics import METRICS
from tests.harness.predictions import confusion, noisy_predictions


def test_resamples_keep_the_count_of_each_class():
    y_true = np.repeat([False, True], [37, 5])
    resamples = list(bootstrap.resampled_rows(y_true, resamples=50, seed=1))
    assert {(np.sum(~y_true[rows]), np.sum(y_true[rows])) for rows in resamples} == {(37, 5)}
    assert len({tuple(rows) for rows in resamples}) == 50
    assert {row for rows in resamples for row in rows} == set(range(42))


def test_interval_of_recall_is_that_of_a_binomial():
    figure = measure(confusion(tp=800, fp=3, fn=200, tn=217), resamples=600, seed=5)["recall"]
    assert (figure.value, figure.n) == (0.8, 1220)
    standard_deviation = math.sqrt(0.8 * 0.2 / 1000)
    assert figure.low == pytest.approx(0.8 - 1.96 * standard_deviation, abs=0.003)
    assert figure.high == pytest.approx(0.8 + 1.96 * standard_deviation, abs=0.003)


def test_each_metric_has_an_interval_that_the_seed_decides():
    predictions = noisy_predictions(seed=2, decimals=6)
    figures = measure(predictions, resamples=20, seed=3)
    assert figures == measure(predictions, resamples=20, seed=3)
    assert figures != measure(predictions, resamples=20, seed=4)
    assert list(figures) == list(METRICS)
    assert all(figure.low < figure.high for figure in figures.values())


def test_an_undefined_metric_has_neither_value_nor_interval():
    no_spam = measure(confusion(tp=0, fp=3, fn=0, tn=5), resamples=10, seed=1)
    assert no_spam["roc_auc"] == Figure(None, n=8)
    assert no_spam["accuracy"].value == 5 / 8
    no_resamples = measure(confusion(tp=6, fp=1, fn=2, tn=11), resamples=0, seed=1)
    assert no_resamples["recall"] == Figure(0.75, n=20)


def test_models_are_compared_on_the_same_resamples_of_the_same_rows():
    ours, theirs = confusion(tp=6, fp=1, fn=2, tn=11), confusion(tp=5, fp=2, fn=2, tn=11)
    same = measure_difference(ours, ours, resamples=5, seed=1)
    assert set(same.values()) == {Figure(0.0, 0.0, 0.0, 20)}
    with pytest.raises(ValueError, match="not scored on the same rows"):
        measure_difference(ours, theirs, resamples=1, seed=1)


@pytest.mark.parametrize(
    ("k", "n", "confidence", "upper"),
    [
        (0, 59, 0.95, 1 - 0.05 ** (1 / 59)),
        (3, 40, 0.9, 0.159449313034),  # scipy.stats.binomtest(3, 40, alternative="less")
        (0, 0, 0.95, 1.0),
    ],
)
def test_proportion_upper_is_exact(k, n, confidence, upper):
    assert proportion_upper(k, n, confidence) == pytest.approx(upper, rel=1e-9)
