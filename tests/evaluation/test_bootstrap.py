"""The intervals are what they claim, of one model and of a difference of two."""

import math

import numpy as np
import pytest

from pipeline.core.reports import Figure
from pipeline.evaluation import bootstrap
from pipeline.evaluation.bootstrap import measure, measure_difference, proportion_upper
from pipeline.evaluation.metrics import METRICS, Predictions
from tests.harness.predictions import confusion, noisy_predictions


def test_resamples_keep_the_count_of_each_class():
    y_true = np.repeat([False, True], [37, 5])
    resamples = list(bootstrap.resampled_rows(y_true, resamples=50, seed=1))
    assert {(np.sum(~y_true[rows]), np.sum(y_true[rows])) for rows in resamples} == {(37, 5)}
    assert len({tuple(rows) for rows in resamples}) == 50
    assert {row for rows in resamples for row in rows} == set(range(42))


def test_interval_of_recall_is_that_of_a_binomial():
    figure = measure(confusion(tp=80, fp=3, fn=20, tn=217), resamples=600, seed=5)["recall"]
    assert (figure.value, figure.n) == (0.8, 320)
    standard_deviation = math.sqrt(0.8 * 0.2 / 100)
    assert figure.low == pytest.approx(0.8 - 1.96 * standard_deviation, abs=0.015)
    assert figure.high == pytest.approx(0.8 + 1.96 * standard_deviation, abs=0.015)


def test_each_metric_has_an_interval_that_the_seed_decides():
    predictions = noisy_predictions(seed=2, decimals=6)
    figures = measure(predictions, resamples=20, seed=3)
    assert figures == measure(predictions, resamples=20, seed=3)
    assert figures != measure(predictions, resamples=20, seed=4)
    assert list(figures) == list(METRICS)
    for name, figure in figures.items():
        assert figure.value == METRICS[name].function(predictions)
        assert figure.low < figure.high
        assert figure.n == 301


def test_an_undefined_metric_has_neither_value_nor_interval():
    no_spam = measure(confusion(tp=0, fp=3, fn=0, tn=5), resamples=10, seed=1)
    assert no_spam["roc_auc"] == Figure(None, n=8)
    assert no_spam["accuracy"].value == 5 / 8
    no_rows = measure(confusion(tp=0, fp=0, fn=0, tn=0), resamples=3, seed=1)
    assert no_rows["accuracy"] == Figure(None, n=0)
    no_resamples = measure(confusion(tp=6, fp=1, fn=2, tn=11), resamples=0, seed=1)
    assert no_resamples["recall"] == Figure(0.75, n=20)


def test_percentiles_ignore_undefined_draws():
    draws = np.array([math.nan, *range(41), math.nan])
    assert bootstrap._interval(draws) == (1.0, 39.0)


def test_difference_is_ours_minus_theirs():
    y_true = np.repeat([True, False], [8, 12])
    score = np.full(20, 0.5)
    ours, theirs = (
        Predictions(y_true=y_true, y_score=score, y_pred=np.repeat([True, False] * 2, counts))
        for counts in ([6, 2, 1, 11], [5, 3, 3, 9])
    )
    figures = measure_difference(ours, theirs, resamples=10, seed=1)
    assert figures["recall"].value == pytest.approx(1 / 8)
    assert figures["ham_blocked_percent"].value == pytest.approx(-200 / 12)
    same = measure_difference(ours, ours, resamples=5, seed=1)
    assert set(same.values()) == {Figure(0.0, 0.0, 0.0, 20)}


def test_a_paired_interval_is_narrower_than_unpaired_ones():
    theirs = noisy_predictions(seed=6, decimals=6)
    nudge = 0.02 * np.random.default_rng(7).normal(size=301)
    score = np.clip(theirs.y_score + nudge, 0, 1)
    ours = Predictions(y_true=theirs.y_true, y_score=score, y_pred=score >= 0.5)
    paired = measure_difference(ours, theirs, resamples=60, seed=1)
    alone = [measure(model, resamples=60, seed=1) for model in (ours, theirs)]
    for name in ("accuracy", "f1", "mcc", "roc_auc", "average_precision", "log_loss", "brier"):
        unpaired = math.hypot(*(figures[name].high - figures[name].low for figures in alone))
        assert paired[name].high - paired[name].low < 0.5 * unpaired


def test_models_scored_on_different_rows_are_not_compared():
    ours, theirs = confusion(tp=6, fp=1, fn=2, tn=11), confusion(tp=5, fp=2, fn=2, tn=11)
    with pytest.raises(ValueError, match="not scored on the same rows"):
        measure_difference(ours, theirs, resamples=1, seed=1)


@pytest.mark.parametrize(
    ("k", "n", "confidence", "upper"),
    [
        (0, 59, 0.95, 1 - 0.05 ** (1 / 59)),
        (4, 5, 0.95, 0.95 ** (1 / 5)),
        (3, 40, 0.9, 0.159449313034),  # scipy.stats.binomtest(3, 40, alternative="less")
        (5, 5, 0.95, 1.0),
        (0, 0, 0.95, 1.0),
    ],
)
def test_proportion_upper_is_exact(k, n, confidence, upper):
    assert proportion_upper(k, n, confidence) == pytest.approx(upper, rel=1e-9)
