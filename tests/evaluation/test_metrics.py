"""The metrics are what their names say, and each entry says which direction is better."""

import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.metrics import METRICS, Predictions, calibration_bins
from tests.harness.predictions import confusion

BY_LABEL = {
    "accuracy": sklearn.metrics.accuracy_score,
    "precision": lambda y, p: sklearn.metrics.precision_score(y, p, zero_division=0),
    "recall": lambda y, p: sklearn.metrics.recall_score(y, p, zero_division=0),
    "f1": lambda y, p: sklearn.metrics.f1_score(y, p, zero_division=0),
    "mcc": sklearn.metrics.matthews_corrcoef,
}
BY_SCORE = {
    "roc_auc": sklearn.metrics.roc_auc_score,
    "average_precision": sklearn.metrics.average_precision_score,
    "one_minus_roc_auc_percent": lambda y, s: 100 - 100 * sklearn.metrics.roc_auc_score(y, s),
    "log_loss": sklearn.metrics.log_loss,
    "brier": sklearn.metrics.brier_score_loss,
}
BY_HAND = {  # of tp 6, fp 1, fn 2, tn 11, with scores 0.9 and 0.1: what scikit-learn lacks
    "lam_percent": 100 / (1 + math.sqrt(11.5 / 1.5 * 6.5 / 2.5)),
    "spam_caught_percent": 75,
    "ham_blocked_percent": 100 / 12,
    "calibration_error": 13 / 20 * (2 / 13 - 0.1) + 7 / 20 * (0.9 - 6 / 7),
}


def values_of(predictions):
    return {name: metric.function(predictions) for name, metric in METRICS.items()}


def test_metrics_of_a_hand_worked_confusion_matrix():
    values = values_of(confusion(tp=6, fp=1, fn=2, tn=11))
    assert {name: values[name] for name in BY_HAND} == pytest.approx(BY_HAND, rel=1e-12)


@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(max_examples=25, derandomize=True)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.booleans()), min_size=2))
def test_metrics_agree_with_scikit_learn(rows):
    y_true, y_score, y_pred = (np.array(column) for column in zip(*rows, strict=True))
    predictions = Predictions(y_true=y_true, y_score=y_score / 4, y_pred=y_pred)
    oracles = {name: oracle(y_true, y_pred) for name, oracle in BY_LABEL.items()}
    if predictions.ham and predictions.spam:
        oracles |= {name: oracle(y_true, y_score / 4) for name, oracle in BY_SCORE.items()}
    values = {name: METRICS[name].function(predictions) for name in oracles}
    assert values == pytest.approx(oracles, abs=1e-9)


EXPECTED = {*BY_LABEL, *BY_SCORE, *BY_HAND}
ONE_CLASS = {"roc_auc", "one_minus_roc_auc_percent", "lam_percent"}
NO_SPAM = {*ONE_CLASS, "average_precision", "spam_caught_percent"}
ZERO_NOT_NAN = {"precision", "recall", "f1", "mcc"}


@pytest.mark.parametrize(
    ("predictions", "undefined"),
    [
        (confusion(tp=0, fp=0, fn=0, tn=0), EXPECTED - ZERO_NOT_NAN),
        (confusion(tp=0, fp=3, fn=0, tn=5), NO_SPAM),
        (confusion(tp=3, fp=0, fn=5, tn=0), ONE_CLASS | {"ham_blocked_percent"}),
        (confusion(tp=0, fp=0, fn=3, tn=5), set()),
    ],
    ids=["no rows", "no spam", "no ham", "nothing labelled spam"],
)
def test_undefined_metrics_are_nan_and_no_others(predictions, undefined):
    values = values_of(predictions)
    assert {name for name in EXPECTED if math.isnan(values[name])} == undefined
    assert predictions.tp or {values[name] for name in ZERO_NOT_NAN} == {0.0}


def test_numeric_labels_are_refused():
    with pytest.raises(TypeError, match="y_true and y_pred must be bool, not int64 and bool"):
        Predictions(y_true=np.arange(2), y_score=np.ones(2), y_pred=np.ones(2, bool))


def test_directions_match_a_perfect_and_a_bad_model():
    perfect = values_of(confusion(tp=40, fp=0, fn=0, tn=60))
    bad = values_of(confusion(tp=10, fp=30, fn=30, tn=30))
    for name, metric in METRICS.items():
        assert (perfect[name] > bad[name]) == metric.greater_is_better, name


@pytest.mark.parametrize(
    ("scores", "spam", "bins", "expected"),
    [
        ("0.9 0.1 0.7 0.2 0.3 0.8", "100011", 3, [(0.15, 0, 2), (0.5, 0.5, 2), (0.85, 1, 2)]),
        ("0 0 0 0 0 0.5 1", "0010011", 4, [(0, 0.2, 5), (0.75, 1, 2)]),
    ],
    ids=["by hand", "equal probabilities share a bin"],
)
def test_calibration_bins(scores, spam, bins, expected):
    y_true = np.array([digit == "1" for digit in spam])
    y_score = np.array([float(score) for score in scores.split()])
    predictions = Predictions(y_true=y_true, y_score=y_score, y_pred=y_true)
    assert np.array(calibration_bins(predictions, bins)) == pytest.approx(np.array(expected))
