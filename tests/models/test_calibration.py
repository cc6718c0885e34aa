"""Probabilities are calibrated, and the threshold limits the ham that is lost."""

import itertools
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import beta
from sklearn.metrics import f1_score

from pipeline.models import calibration
from pipeline.models.calibration import (
    Budgets,
    Scored,
    SourceDecisions,
    fit_decision,
    fit_decisions,
)
from pipeline.models.served_model import answers
from tests.harness.errors import error_of

BUDGET = "params.yaml: evaluate.lost_ham_budget"
NOT_FINITE = "evaluate: the network's scores are not finite; lower train.learning_rate"


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def fit(y_true, score, budget):
    return fit_decision(Scored(y_true, score), budget)


def probabilities(score, decision):
    """What the served model answers."""
    return answers(score, [None] * len(score), asdict(decision))["probability"].to_numpy()


def is_labelled_spam(score, decision):
    return (answers(score, [None] * len(score), asdict(decision))["label"] == "spam").to_numpy()


def random_val(seed, ham=431, spam=67, decimals=7):
    """Labels, and float32 scores of an overconfident network."""
    random = np.random.default_rng(seed)
    y_true = random.permutation(np.repeat([False, True], [ham, spam]))
    z = np.where(y_true, 2.5, -3) + 2 * random.normal(size=ham + spam)
    return y_true, np.round(sigmoid(2 * z), decimals).astype(np.float32)


def test_calibration_equals_firth_by_scipy():
    y_true, score = random_val(seed=1, spam=17)
    decision = fit(y_true, score, 0.01)
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


def test_scores_that_separate_val_get_finite_probabilities():
    y_true = np.repeat([False, True], [120, 30])
    score = np.where(y_true, 1.0, 0.0).astype(np.float32)
    decision = fit(y_true, score, 0.01)
    probability = probabilities(score, decision)
    assert probability[[0, -1]] == pytest.approx([0.5 / 121, 30.5 / 31], rel=1e-6)
    assert is_labelled_spam(score, decision).tolist() == y_true.tolist()


def test_scores_that_do_not_rank_val_keep_their_order():
    y_true, score = random_val(seed=3)
    for useless in (1 - score, np.full(498, 0.3, dtype=np.float32)):
        decision = fit(y_true, useless, 0.01)
        assert decision.slope == calibration.MIN_SLOPE
        assert (np.diff(probabilities(np.sort(useless), decision)) >= 0).all()
        assert probabilities(useless, decision).mean() == pytest.approx(67 / 498, abs=0.005)


@settings(max_examples=40, derandomize=True)
@given(
    st.lists(st.integers(0, 8), min_size=9, max_size=30),
    st.lists(st.integers(0, 8), min_size=1, max_size=9),
    st.sampled_from([0.1, 0.2, 0.3, 0.7]),
)
def test_threshold_is_the_lowest_for_any_rows_with_ties(ham, spam, budget):
    y_true = np.repeat([False, True], [len(ham), len(spam)])
    score = np.array([*ham, *spam], dtype=np.float32) / 8
    decision = fit(y_true, score, budget)
    probability = probabilities(score, decision)
    tried = sorted({0.0, *probability, *np.nextafter(probability, np.inf)})
    lost = (np.sum(probability[~y_true] >= threshold) for threshold in tried)
    within = ((n + 1) / (len(ham) + 1) <= budget for n in lost)
    assert decision.threshold == next(itertools.compress(tried, within))
    assert decision.ham == len(ham)
    assert decision.ham_lost == np.sum(is_labelled_spam(score, decision) & ~y_true)
    upper = beta.ppf(0.95, decision.ham_lost + 1, len(ham) - decision.ham_lost)
    assert decision.lost_ham_upper == pytest.approx(upper)


def test_ham_lost_is_exact_where_the_budget_is_just_met():
    y_true, _ = random_val(seed=6, ham=99, spam=20)
    score = np.linspace(0.1, 0.9, 119, dtype=np.float32)
    assert fit(y_true, score, 0.29).ham_lost == 28  # 0.29 * 100 is 28.999999999999996


def test_largest_f1_threshold_is_the_highest_of_the_best():
    y_true, score = random_val(seed=9, ham=80, spam=30, decimals=1)  # with ties
    probability = score.astype(np.float64)
    f1 = {float(t): f1_score(y_true, probability >= t) for t in np.unique(probability)}
    best = calibration.largest_f1_threshold(y_true, probability)
    assert f1[best] == pytest.approx(max(f1.values()), abs=1e-12)
    y_true = np.array([True, False, False, True])  # F1 is 2/3 at 0.9 and at 0.2
    assert calibration.largest_f1_threshold(y_true, np.array([0.9, 0.6, 0.4, 0.2])) == 0.9


def test_too_little_ham_for_the_budget_is_refused():
    assert error_of(fit, *random_val(seed=8, ham=498), 0.002) == (
        f"{BUDGET}: 0.002 needs 499 ham, there are 498; raise it to 0.0021, or bring more ham"
    )
    assert fit(*random_val(seed=8, ham=499), 0.002).ham_lost == 0


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
    assert error_of(fit, y_true, score * factor, budget) == line


def test_labels_as_numbers_are_refused():
    y_true, score = random_val(seed=8)
    with pytest.raises(TypeError, match="y_true is bool, not int64"):
        fit(y_true.astype(np.int64), score, 0.01)


# ---- confidence and sources


def test_confident_ham_misses_few_spam():
    y_true, score = random_val(seed=2, ham=300, spam=79)
    decision = fit(y_true, score, 0.02)
    probability = probabilities(score, decision)
    missed = np.sum(y_true & (probability <= decision.confident_ham))
    assert missed == 3  # (3 + 1) / (79 + 1) is 0.05
    assert decision.confident_ham < decision.threshold == decision.confident_spam
    caught = np.sum(y_true & (probability >= decision.threshold))
    assert (decision.spam, decision.spam_caught) == (79, caught)
    few = fit(*random_val(seed=2, spam=18), 0.02)
    y_true, score = random_val(seed=2, spam=18)
    assert not np.any(y_true & (probabilities(score, few) <= few.confident_ham))


def two_sources(seed):
    """Val of two sources of 400 rows each; the ham of `hard` is more like spam."""
    parts = [random_val(seed, ham=300, spam=100), random_val(seed + 1, ham=300, spam=100)]
    (y_true, easy), (hard_true, hard) = parts
    hard = np.where(hard_true, hard, np.sqrt(hard)).astype(np.float32)
    source = np.repeat(np.array(["easy", "hard"], object), 400)
    return Scored(np.concatenate([y_true, hard_true]), np.concatenate([easy, hard])), source


BUDGETS = Budgets(lost_ham_budget=0.05, source_budgets={"hard": 0.1})


def test_each_source_has_its_own_decision_and_others_the_strictest():
    val, source = two_sources(seed=4)
    decisions = fit_decisions(val, source, BUDGETS)
    parts = {name: val.part(source == name) for name in ("easy", "hard")}
    assert decisions.sources == {
        "easy": fit_decision(parts["easy"], 0.05),
        "hard": fit_decision(parts["hard"], 0.1),
    }
    assert decisions.lost_ham_budget == 0.1
    by_default = is_labelled_spam(val.score, decisions)
    for name, part in parts.items():
        of_source = is_labelled_spam(part.score, decisions.sources[name])
        assert not np.any(by_default[source == name] & ~of_source)
    of_hard = is_labelled_spam(parts["hard"].score, decisions.sources["hard"])
    assert by_default[source == "hard"].tolist() == of_hard.tolist()


def test_confident_spam_of_unknown_sources_keeps_a_fifth_of_the_budget():
    val, source = two_sources(seed=4)
    decisions = fit_decisions(val, source, BUDGETS)
    surely = probabilities(val.score, decisions) >= decisions.confident_spam
    for name, most in (("easy", 2), ("hard", 5)):  # (2 + 1) / 301 <= 0.01, (5 + 1) / 301 <= 0.02
        assert np.sum(surely & ~val.y_true & (source == name)) <= most
    assert np.sum(surely & ~val.y_true & (source == "hard")) == 5
    assert decisions.confident_spam > decisions.threshold


def test_source_with_too_little_ham_or_no_spam_has_the_default():
    val, source = two_sources(seed=5)
    for rows in (val.y_true | (np.cumsum(source == "hard") < 10), ~val.y_true | (source == "easy")):
        kept = rows | (source == "easy")
        assert set(fit_decisions(val.part(kept), source[kept], BUDGETS).sources) == {"easy"}
    few = Budgets(lost_ham_budget=1 / 500, source_budgets={})  # 300 ham each, 600 together
    decisions = fit_decisions(val, source, few)
    assert decisions.sources == {}
    assert decisions == SourceDecisions(**vars(fit_decision(val, 1 / 500)))
