"""Probabilities are calibrated, and the threshold limits the ham that is lost."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import beta
from sklearn.metrics import f1_score

from pipeline.models import calibration
from pipeline.models.calibration import Decision, calibrate, fit_decision, label
from tests.harness.errors import error_of

BUDGET = "params.yaml: evaluate.lost_ham_budget"
NOT_FINITE = "evaluate: the network's scores are not finite; lower train.learning_rate"
COUNTS = {"lost_ham_budget": 0.01, "ham": 100, "ham_lost": 0, "lost_ham_upper": 0.03}
DECISION = Decision(slope=1.25, intercept=-0.5, threshold=0.75, **COUNTS)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def random_val(seed, ham=431, spam=67, decimals=7):
    """Labels, and float32 scores of an overconfident network."""
    random = np.random.default_rng(seed)
    y_true = random.permutation(np.repeat([False, True], [ham, spam]))
    z = np.where(y_true, 2.5, -3) + 2 * random.normal(size=ham + spam)
    return y_true, np.round(sigmoid(2 * z), decimals).astype(np.float32)


def test_calibration_equals_firth_by_scipy():
    y_true, score = random_val(seed=1, spam=17)
    decision = fit_decision(y_true, score, 0.01)
    s = np.clip(score.astype(np.float64), 1e-7, 1 - 1e-7)
    logit = np.log(s / (1 - s))

    def penalised_loss(weights):
        z = weights[0] * logit + weights[1]
        variance = 1 / (2 + np.exp(z) + np.exp(-z))
        mixed = np.sum(variance * logit)
        information = [[np.sum(variance * logit**2), mixed], [mixed, np.sum(variance)]]
        return np.sum(np.logaddexp(0, z) - y_true * z) - np.log(np.linalg.det(information)) / 2

    options = {"xatol": 1e-9, "fatol": 1e-12}
    expected = minimize(penalised_loss, [1.0, 0.0], method="Nelder-Mead", options=options).x
    assert [decision.slope, decision.intercept] == pytest.approx(expected, rel=1e-5)


def test_probability_and_label_are_the_documented_formulas():
    score = np.array([0.0, 1e-8, 0.25, 0.5, 1.0], dtype=np.float32)
    s = np.clip(score.astype(np.float64), 1e-7, 1 - 1e-7)
    expected = sigmoid(1.25 * np.log(s / (1 - s)) - 0.5)
    assert calibrate(score, DECISION).tolist() == expected.tolist()
    probability = np.array([0.75, np.nextafter(0.75, 0), 1.0])
    assert label(probability, DECISION).tolist() == [True, False, True]


def test_scores_that_separate_val_get_finite_probabilities():
    y_true = np.repeat([False, True], [120, 30])
    score = np.where(y_true, 1.0, 0.0).astype(np.float32)
    decision = fit_decision(y_true, score, 0.01)
    probability = calibrate(score, decision)
    assert probability[[0, -1]] == pytest.approx([0.5 / 121, 30.5 / 31], rel=1e-6)
    assert label(probability, decision).tolist() == y_true.tolist()


def test_scores_that_do_not_rank_val_keep_their_order():
    y_true, score = random_val(seed=3)
    for useless in (1 - score, np.full(498, 0.3, dtype=np.float32)):
        decision = fit_decision(y_true, useless, 0.01)
        assert decision.slope == calibration.MIN_SLOPE
        assert (np.diff(calibrate(np.sort(useless), decision)) >= 0).all()
        assert calibrate(useless, decision).mean() == pytest.approx(67 / 498, abs=0.005)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 8), min_size=9, max_size=30),
    st.lists(st.integers(0, 8), min_size=1, max_size=9),
    st.sampled_from([0.1, 0.2, 0.3, 0.7]),
)
def test_threshold_is_the_lowest_for_any_rows_with_ties(ham, spam, budget):
    y_true = np.repeat([False, True], [len(ham), len(spam)])
    score = np.array([*ham, *spam], dtype=np.float32) / 8
    decision = fit_decision(y_true, score, budget)
    probability = calibrate(score, decision)
    tried = sorted({0.0, *probability, *np.nextafter(probability, np.inf)})
    lost = (np.sum(probability[~y_true] >= threshold) for threshold in tried)
    within = ((n + 1) / (len(ham) + 1) <= budget for n in lost)
    assert decision.threshold == next(itertools.compress(tried, within))
    assert decision.ham == len(ham)
    assert decision.ham_lost == np.sum(label(probability, decision) & ~y_true)
    upper = beta.ppf(0.95, decision.ham_lost + 1, len(ham) - decision.ham_lost)
    assert decision.lost_ham_upper == pytest.approx(upper)


def test_ham_lost_is_exact_where_the_budget_is_just_met():
    y_true, _ = random_val(seed=6, ham=99, spam=20)
    score = np.linspace(0.1, 0.9, 119, dtype=np.float32)
    assert fit_decision(y_true, score, 0.29).ham_lost == 28  # 0.29 * 100 is 28.999999999999996


def test_largest_f1_threshold_is_the_highest_of_the_best():
    y_true, score = random_val(seed=9, ham=80, spam=30, decimals=1)  # with ties
    probability = score.astype(np.float64)
    f1 = {float(t): f1_score(y_true, probability >= t) for t in np.unique(probability)}
    best = calibration.largest_f1_threshold(y_true, probability)
    assert f1[best] == pytest.approx(max(f1.values()), abs=1e-12)
    y_true = np.array([True, False, False, True])  # F1 is 2/3 at 0.9 and at 0.2
    assert calibration.largest_f1_threshold(y_true, np.array([0.9, 0.6, 0.4, 0.2])) == 0.9


def test_too_little_ham_for_the_budget_is_refused():
    assert error_of(fit_decision, *random_val(seed=8, ham=498), 0.002) == (
        f"{BUDGET}: 0.002 needs 499 ham in val, there are 498; raise it to 0.0021, "
        "or bring more ham"
    )
    assert fit_decision(*random_val(seed=8, ham=499), 0.002).ham_lost == 0


@pytest.mark.parametrize(
    ("changes", "factor", "budget", "line"),
    [
        ({"ham": 0}, 1, 0.01, "evaluate: val has no ham; bring more labelled messages"),
        ({"spam": 0}, 1, 0.01, "evaluate: val has no spam; bring more labelled messages"),
        ({}, np.nan, 0.01, NOT_FINITE),
        ({}, 1, 0.0, f"{BUDGET}: 0.0 is not between 0 and 1; 0.002 is one in 500"),
        ({}, 1, 1.0, f"{BUDGET}: 1.0 is not between 0 and 1; 0.002 is one in 500"),
    ],
)
def test_val_or_budget_without_a_decision_is_refused(changes, factor, budget, line):
    y_true, score = random_val(seed=8, **changes)
    assert error_of(fit_decision, y_true, score * factor, budget) == line


def test_labels_as_numbers_are_refused():
    y_true, score = random_val(seed=8)
    with pytest.raises(TypeError, match="y_true is bool, not int64"):
        fit_decision(y_true.astype(np.int64), score, 0.01)
