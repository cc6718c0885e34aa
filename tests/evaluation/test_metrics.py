"""The metrics are what their names say, and their intervals are what they claim."""

import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.reports import Figure
from pipeline.evaluation import bootstrap, curves, metrics
from pipeline.evaluation.metrics import METRICS, Scored

BY_LABEL = {
    "accuracy": sklearn.metrics.accuracy_score,
    "precision": lambda y, p: sklearn.metrics.precision_score(y, p, zero_division=0),
    "recall": lambda y, p: sklearn.metrics.recall_score(y, p, zero_division=0),
    "f1": lambda y, p: sklearn.metrics.f1_score(y, p, zero_division=0),
    "mcc": sklearn.metrics.matthews_corrcoef,
    "spam_caught_percent": lambda y, p: 100 * sklearn.metrics.recall_score(y, p),
    "ham_blocked_percent": lambda y, p: 100 - 100 * sklearn.metrics.recall_score(~y, ~p),
}
BY_SCORE = {
    "roc_auc": sklearn.metrics.roc_auc_score,
    "average_precision": sklearn.metrics.average_precision_score,
    "one_minus_roc_auc_percent": lambda y, s: 100 - 100 * sklearn.metrics.roc_auc_score(y, s),
    "log_loss": sklearn.metrics.log_loss,
    "brier": sklearn.metrics.brier_score_loss,
}


def confused(tp, fp, fn, tn):
    """Rows that make this confusion matrix, scored as they are labelled."""
    y_true = np.repeat([True, False, True, False], [tp, fp, fn, tn])
    y_pred = np.repeat([True, True, False, False], [tp, fp, fn, tn])
    return Scored(y_true, np.where(y_pred, 0.9, 0.1), y_pred)


def drawn(seed, *, n=301, ham_share=0.8, decimals=1, noise=0.3):
    """Rows with many equal scores, among them 0 and 1."""
    rng = np.random.default_rng(seed)
    y_true = rng.random(n) > ham_share
    y_score = np.clip(np.round(0.3 + 0.4 * y_true + noise * rng.normal(size=n), decimals), 0, 1)
    return Scored(y_true, y_score, y_score >= 0.5)


# tp 6, fp 1, fn 2, tn 11
WORKED = {
    "accuracy": 17 / 20,
    "precision": 6 / 7,
    "recall": 6 / 8,
    "f1": 12 / 15,
    "mcc": (6 * 11 - 1 * 2) / math.sqrt(7 * 8 * 12 * 13),
    "roc_auc": (6 * 11 + (6 * 1 + 2 * 11) / 2) / (8 * 12),
    "average_precision": 6 / 8 * 6 / 7 + 2 / 8 * 8 / 20,
    "one_minus_roc_auc_percent": 100 * (1 - 80 / 96),
    "lam_percent": 100 / (1 + math.sqrt(11.5 / 1.5 * 6.5 / 2.5)),
    "spam_caught_percent": 75,
    "ham_blocked_percent": 100 / 12,
    "log_loss": -(17 * math.log(0.9) + 3 * math.log(0.1)) / 20,
    "brier": (17 * 0.01 + 3 * 0.81) / 20,
    "calibration_error": 13 / 20 * (2 / 13 - 0.1) + 7 / 20 * (0.9 - 6 / 7),
}


@pytest.mark.parametrize("name", METRICS)
def test_metric_of_a_hand_worked_confusion_matrix(name):
    assert METRICS[name](confused(tp=6, fp=1, fn=2, tn=11)) == pytest.approx(
        WORKED[name], rel=1e-12
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", [*BY_LABEL, *BY_SCORE])
def test_metric_agrees_with_scikit_learn_where_scores_tie(name, seed):
    scored = drawn(seed)
    assert len(np.unique(scored.y_score)) <= 11 < len(scored.y_score)
    oracle = (
        BY_LABEL[name](scored.y_true, scored.y_pred)
        if name in BY_LABEL
        else BY_SCORE[name](scored.y_true, scored.y_score)
    )
    assert METRICS[name](scored) == pytest.approx(oracle, rel=1e-9)


@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.booleans()), min_size=2, max_size=12)
)
def test_metrics_agree_with_scikit_learn_on_any_few_rows(rows):
    y_true, y_score, y_pred = (np.array(column) for column in zip(*rows, strict=True))
    scored = Scored(y_true, y_score / 4, y_pred)
    for name in ("accuracy", "precision", "recall", "f1", "mcc"):
        assert METRICS[name](scored) == pytest.approx(BY_LABEL[name](y_true, y_pred)), name
    if 0 < y_true.sum() < len(y_true):
        for name, oracle in BY_SCORE.items():
            assert METRICS[name](scored) == pytest.approx(
                oracle(y_true, scored.y_score), abs=1e-9
            ), name


@pytest.mark.parametrize("name", METRICS)
def test_metric_does_not_depend_on_the_order_of_the_rows(name):
    scored = drawn(seed=3)
    backwards = scored.take(np.arange(len(scored.y_true))[::-1])
    assert METRICS[name](backwards) == pytest.approx(METRICS[name](scored), rel=1e-12)


UNDEFINED = {
    "no rows": (confused(0, 0, 0, 0), {*METRICS} - {"precision", "recall", "f1", "mcc"}),
    "no spam": (
        confused(0, 3, 0, 5),
        {
            "roc_auc",
            "one_minus_roc_auc_percent",
            "average_precision",
            "lam_percent",
            "spam_caught_percent",
        },
    ),
    "no ham": (
        confused(3, 0, 5, 0),
        {"roc_auc", "one_minus_roc_auc_percent", "lam_percent", "ham_blocked_percent"},
    ),
    "nothing labelled spam": (confused(0, 0, 3, 5), set()),
}


@pytest.mark.parametrize(("scored", "names"), UNDEFINED.values(), ids=UNDEFINED)
def test_undefined_metrics_are_nan_and_no_others(scored, names):
    assert {name for name, metric in METRICS.items() if math.isnan(metric(scored))} == names


@pytest.mark.parametrize("name", ["precision", "recall", "f1", "mcc"])
def test_a_metric_over_nothing_labelled_spam_is_zero(name):
    assert METRICS[name](confused(tp=0, fp=0, fn=3, tn=5)) == 0.0


def test_lam_counts_half_an_error_where_there_is_none():
    odds = math.sqrt((0.5 / 99.5) * (0.5 / 49.5))
    assert metrics.lam_percent(confused(tp=49, fp=0, fn=0, tn=99)) == pytest.approx(
        100 * odds / (1 + odds)
    )


def test_lam_of_equal_error_rates_is_that_rate():
    assert metrics.lam_percent(confused(tp=4, fp=1, fn=1, tn=4)) == pytest.approx(100 * 1.5 / 6)


def test_labels_as_numbers_are_refused():
    with pytest.raises(TypeError, match="y_true and y_pred are bool, not int64 and bool"):
        Scored(np.array([0, 1]), np.array([0.1, 0.9]), np.array([False, True]))


# ---- intervals


def test_resamples_keep_the_count_of_each_class():
    y_true = np.repeat([False, True], [37, 5])
    resamples = list(bootstrap._resampled(y_true, resamples=50, seed=1))
    assert {(int((~y_true[rows]).sum()), int(y_true[rows].sum())) for rows in resamples} == {
        (37, 5)
    }
    assert len({tuple(rows) for rows in resamples}) == 50
    assert {int(row) for rows in resamples for row in rows} == set(range(42))


def test_the_interval_of_recall_is_that_of_a_binomial():
    scored = confused(tp=80, fp=3, fn=20, tn=217)
    figure = bootstrap.measure(scored, resamples=2000, seed=5)["recall"]
    assert (figure.value, figure.n) == (0.8, 320)
    assert figure.low == pytest.approx(
        0.8 - 1.96 * 0.04, abs=0.011
    )  # sd of 100 draws at 0.8 is 0.04
    assert figure.high == pytest.approx(0.8 + 1.96 * 0.04, abs=0.011)


@pytest.mark.parametrize("name", METRICS)
def test_measure_gives_the_metric_itself_and_an_interval_of_some_width(name):
    scored = drawn(seed=2, decimals=6)
    figure = bootstrap.measure(scored, resamples=60, seed=3)[name]
    assert figure.value == METRICS[name](scored)
    assert figure.low < figure.high
    assert figure.n == 301


def test_equal_seeds_give_equal_intervals_and_others_do_not():
    scored = drawn(seed=2, decimals=6)
    first = bootstrap.measure(scored, resamples=20, seed=3)
    assert first == bootstrap.measure(scored, resamples=20, seed=3)
    assert first != bootstrap.measure(scored, resamples=20, seed=4)


def test_an_undefined_metric_has_neither_value_nor_interval():
    figures = bootstrap.measure(confused(tp=0, fp=3, fn=0, tn=5), resamples=10, seed=1)
    assert figures["roc_auc"] == Figure(None, None, None, 8)
    assert figures["accuracy"].value == 5 / 8


def test_no_rows_are_measured_without_complaint():
    assert bootstrap.measure(confused(0, 0, 0, 0), resamples=3, seed=1)["accuracy"] == Figure(
        None, None, None, 0
    )


def test_no_resamples_leave_the_value_alone():
    assert bootstrap.measure(confused(6, 1, 2, 11), resamples=0, seed=1)["recall"] == Figure(
        0.75, n=20
    )


def test_a_percentile_passes_over_undefined_draws():
    draws = np.array([math.nan, *range(41), math.nan])
    assert bootstrap._interval(draws) == (1.0, 39.0)


def test_compare_is_ours_minus_theirs():
    y_true = np.repeat([True, False], [8, 12])
    ours = Scored(y_true, np.full(20, 0.5), np.repeat([True, False, True, False], [6, 2, 1, 11]))
    theirs = Scored(y_true, np.full(20, 0.5), np.repeat([True, False, True, False], [5, 3, 3, 9]))
    figures = bootstrap.compare(ours, theirs, resamples=10, seed=1)
    assert figures["recall"].value == pytest.approx(1 / 8)
    assert figures["ham_blocked_percent"].value == pytest.approx(-200 / 12)


def test_a_model_compared_with_itself_differs_in_nothing():
    scored = drawn(seed=4)
    figures = bootstrap.compare(scored, scored, resamples=20, seed=1)
    assert set(figures.values()) == {Figure(0.0, 0.0, 0.0, 301)}


@pytest.mark.parametrize(
    "name", ["accuracy", "f1", "mcc", "roc_auc", "average_precision", "log_loss", "brier"]
)
def test_the_paired_interval_is_narrower_than_that_of_unpaired_ones(name):
    theirs = drawn(seed=6, decimals=6)
    nudged = np.clip(theirs.y_score + 0.02 * np.random.default_rng(7).normal(size=301), 0, 1)
    ours = Scored(theirs.y_true, nudged, nudged >= 0.5)
    paired = bootstrap.compare(ours, theirs, resamples=200, seed=1)[name]
    alone = [bootstrap.measure(scored, resamples=200, seed=1)[name] for scored in (ours, theirs)]
    unpaired = math.hypot(*(figure.high - figure.low for figure in alone))
    assert paired.high - paired.low < 0.5 * unpaired


def test_models_scored_on_other_rows_are_not_compared():
    with pytest.raises(ValueError, match="not scored on the same rows"):
        bootstrap.compare(confused(6, 1, 2, 11), confused(5, 2, 2, 11), resamples=1, seed=1)


@pytest.mark.parametrize(
    ("k", "n", "upper"),
    [(0, 59, 1 - 0.05 ** (1 / 59)), (4, 5, 0.95 ** (1 / 5)), (5, 5, 1.0), (0, 0, 1.0)],
)
def test_clopper_pearson_bound_in_closed_form(k, n, upper):
    assert bootstrap.proportion_upper(k, n) == pytest.approx(upper, rel=1e-12)


def test_at_the_clopper_pearson_bound_so_few_have_the_chance_that_is_left():
    share = bootstrap.proportion_upper(3, 40, confidence=0.9)
    chance = sum(math.comb(40, k) * share**k * (1 - share) ** (40 - k) for k in range(4))
    assert chance == pytest.approx(0.1)


# ---- tables for plots


def test_precision_recall_has_the_points_of_scikit_learn():
    scored = drawn(seed=8)
    precision, recall, threshold = sklearn.metrics.precision_recall_curve(
        scored.y_true, scored.y_score
    )
    oracle = np.column_stack([recall[:-1], precision[:-1], threshold])[::-1]
    points = np.array(curves.precision_recall(scored))
    assert {tuple(row) for row in points.round(9)} <= {tuple(row) for row in oracle.round(9)}
    assert points[[0, -1]] == pytest.approx(oracle[[0, -1]])


def test_roc_has_the_corners_of_scikit_learn():
    scored = drawn(seed=8)
    oracle = np.column_stack(
        sklearn.metrics.roc_curve(scored.y_true, scored.y_score, drop_intermediate=True)
    )
    assert np.array(curves.roc(scored)) == pytest.approx(oracle)


def test_roc_drops_what_lies_on_a_straight_line():
    y_true = np.array([True, True, True, False, False, True])
    scored = Scored(y_true, np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]), y_true)
    assert curves.roc(scored) == [(0, 0, math.inf), (0, 0.75, 0.7), (1, 0.75, 0.5), (1, 1, 0.4)]


@pytest.mark.parametrize("curve", [curves.roc, curves.precision_recall])
def test_a_long_curve_is_thinned_and_keeps_its_shape(curve, monkeypatch):
    scored = drawn(seed=9, n=5000, ham_share=0.5, decimals=9)
    thin = np.array(curve(scored))
    monkeypatch.setattr(curves, "POINTS", 10**9)
    full = np.array(curve(scored))
    assert len(full) > 1000
    assert 100 < len(thin) <= 200
    assert (thin[[0, -1]] == full[[0, -1]]).all()
    steps = np.abs(np.diff(thin[:, :2], axis=0)).sum(axis=1)
    assert np.median(steps) < 0.02
    assert np.trapezoid(thin[:, 1], thin[:, 0]) == pytest.approx(
        np.trapezoid(full[:, 1], full[:, 0]), abs=0.01
    )


@pytest.mark.parametrize("curve", [curves.roc, curves.precision_recall])
def test_a_curve_without_spam_has_no_points(curve):
    assert curve(confused(tp=0, fp=2, fn=0, tn=5)) == []


def test_reliability_of_hand_worked_bins():
    score = np.array([0.9, 0.1, 0.7, 0.2, 0.3, 0.8])
    spam = np.array([True, False, False, False, True, True])
    bins = metrics.reliability(Scored(spam, score, spam), bins=3)
    assert bins == [
        pytest.approx((0.15, 0, 2)),
        pytest.approx((0.5, 0.5, 2)),
        pytest.approx((0.85, 1, 2)),
    ]


def test_equal_probabilities_share_a_bin():
    score = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0])
    spam = np.array([False, False, True, False, False, True, True])
    bins = metrics.reliability(Scored(spam, score, spam), bins=4)
    assert bins == [(0.0, 0.2, 5), (0.75, 1.0, 2)]


def test_histogram_counts_each_row_once_at_its_centre():
    score = np.array([0.0, 0.24, 0.25, 0.6, 0.99, 1.0])
    spam = np.array([False, False, True, False, True, True])
    table = curves.histogram(Scored(spam, score, spam), bins=4)
    assert table == [(0.125, 2, 0), (0.375, 0, 1), (0.625, 1, 0), (0.875, 0, 2)]
