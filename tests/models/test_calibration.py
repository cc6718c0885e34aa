"""The probability is calibrated, and the threshold keeps its promise about ham."""

import json
from dataclasses import asdict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from pipeline.core.errors import PipelineError
from pipeline.models.calibration import Decision
from pipeline.models.calibration import LEAST_SLOPE
from pipeline.models.calibration import calibrate
from pipeline.models.calibration import fit
from pipeline.models.calibration import label
from pipeline.models.calibration import largest_f1_threshold


def drawn(seed, ham=431, spam=67, decimals=7):
    """Scores of a network that is too sure of itself, as float32."""
    rng = np.random.default_rng(seed)
    y_true = rng.permutation(np.repeat([False, True], [ham, spam]))
    z = np.where(y_true, 2.5, -3) + 2 * rng.normal(size=ham + spam)
    return y_true, np.round(1 / (1 + np.exp(-2 * z)), decimals).astype(np.float32)


def lowest_threshold_by_trying(y_true, probability, budget):
    """The first of all cuts, from below, that loses few enough ham."""
    ham = probability[~y_true]
    for threshold in sorted({0.0, *probability, *np.nextafter(probability, np.inf)}):
        if (np.sum(ham >= threshold) + 1) / (len(ham) + 1) <= budget:
            return threshold
    raise AssertionError("no threshold loses few enough")


# ---- calibration


def logit_of(score):
    s = np.clip(score.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.log(s / (1 - s))


@pytest.mark.parametrize("seed", range(3))
def test_calibration_is_firths_as_scipy_finds_it(seed):
    y_true, score = drawn(seed, spam=17)
    decision, logit = fit(y_true, score, 0.01), logit_of(score)

    def penalised(weights):
        z = weights[0] * logit + weights[1]
        variance = 1 / (2 + np.exp(z) + np.exp(-z))
        information = [[np.sum(variance * logit**2), np.sum(variance * logit)]]
        information.append([information[0][1], np.sum(variance)])
        return np.sum(np.logaddexp(0, z) - y_true * z) - np.log(np.linalg.det(information)) / 2

    oracle = minimize(penalised, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    assert [decision.slope, decision.intercept] == pytest.approx(oracle.x, rel=1e-5)


def test_slope_of_few_spam_is_nearly_unbiased_where_the_likeliest_is_too_large():
    firth, likeliest = [], []
    for seed in range(200):
        random = np.random.default_rng(seed)
        z = random.normal(-3, 2, 150)
        y_true = random.random(150) < 1 / (1 + np.exp(-z))
        score = 1 / (1 + np.exp(-z))
        firth.append(fit(y_true, score, 0.05).slope)
        likeliest.append(LogisticRegression(C=np.inf).fit(z[:, None], y_true).coef_[0, 0])
    assert np.mean(firth) == pytest.approx(1, abs=0.05)
    assert np.mean(likeliest) > 1.08


def test_probability_is_the_documented_formula():
    decision = Decision(1.25, -0.5, 0.5, 0.01, 100, 0, 0.03)
    score = np.array([0.0, 1e-8, 0.25, 0.5, 1.0], dtype=np.float32)
    s = np.clip(score.astype(np.float64), 1e-7, 1 - 1e-7)
    formula = 1 / (1 + np.exp(-(1.25 * np.log(s / (1 - s)) - 0.5)))
    assert calibrate(score, decision).tolist() == formula.tolist()
    assert calibrate(score, decision)[0] == calibrate(score, decision)[1] > 0


def test_one_message_gets_the_probability_that_it_gets_among_many():
    y_true, score = drawn(seed=1)
    decision = fit(y_true, score, 0.01)
    alone = [calibrate(score[row : row + 1], decision)[0] for row in range(len(score))]
    assert alone == calibrate(score, decision).tolist()


def test_a_probability_in_the_mean_is_the_share_of_spam():
    y_true, score = drawn(seed=2)
    probability = calibrate(score, fit(y_true, score, 0.01))
    assert probability.mean() == pytest.approx(67 / 498, abs=1 / 498)
    assert abs(score.mean() - 67 / 498) > 2 / 498


def test_scores_that_separate_val_are_calibrated_to_shares_with_half_a_message_more():
    y_true = np.repeat([False, True], [120, 30])
    score = np.where(y_true, 1.0, 0.0).astype(np.float32)
    decision = fit(y_true, score, 0.01)
    assert calibrate(score, decision)[[0, -1]] == pytest.approx([0.5 / 121, 30.5 / 31], rel=1e-6)
    assert label(calibrate(score, decision), decision).tolist() == y_true.tolist()


def test_a_network_that_ranks_val_backwards_keeps_its_order():
    y_true, score = drawn(seed=3)
    decision = fit(y_true, 1 - score, 0.01)
    assert decision.slope == LEAST_SLOPE
    assert (np.diff(calibrate(np.sort(1 - score), decision)) >= 0).all()
    assert calibrate(1 - score, decision).mean() == pytest.approx(67 / 498, abs=0.01)


def test_scores_all_alike_are_calibrated_to_the_share_of_spam_and_nothing_is_called_spam():
    y_true, _ = drawn(seed=4)
    score = np.full(498, 0.3, dtype=np.float32)
    decision = fit(y_true, score, 0.01)
    assert calibrate(score, decision) == pytest.approx(67 / 498, abs=0.005)
    assert not label(calibrate(score, decision), decision).any()


# ---- threshold


@pytest.mark.parametrize("budget", [0.0025, 0.01, 0.07, 0.5, 0.99])
@pytest.mark.parametrize("decimals", [1, 2, 7])
def test_threshold_is_the_lowest_that_keeps_to_the_budget(budget, decimals):
    y_true, score = drawn(seed=5, decimals=decimals)
    decision = fit(y_true, score, budget)
    probability = calibrate(score, decision)
    assert decision.threshold == lowest_threshold_by_trying(y_true, probability, budget)
    assert decision.ham == 431
    assert decision.ham_lost == np.sum(label(probability, decision) & ~y_true)
    assert decision.ham_lost <= decision.lost_ham_upper * 431


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 8), min_size=9, max_size=30),
    st.lists(st.integers(0, 8), min_size=1, max_size=9),
    st.sampled_from([0.1, 0.2, 0.3, 0.7]),
)
def test_threshold_is_the_lowest_for_any_few_rows_with_ties(ham, spam, budget):
    y_true = np.repeat([False, True], [len(ham), len(spam)])
    score = np.array([*ham, *spam], dtype=np.float32) / 8
    decision = fit(y_true, score, budget)
    assert decision.threshold == lowest_threshold_by_trying(y_true, calibrate(score, decision), budget)


@pytest.mark.parametrize(
    ("ham", "budget", "lost"), [(99, 0.01, 0), (199, 0.01, 1), (198, 0.01, 0), (99, 0.07, 6)]
)
def test_ham_lost_is_exact_where_the_budget_is_just_met(ham, budget, lost):
    y_true, _ = drawn(seed=6, ham=ham, spam=20)
    score = np.random.default_rng(6).permutation(np.linspace(0.1, 0.9, ham + 20)).astype(np.float32)
    assert fit(y_true, score, budget).ham_lost == lost


def test_ham_at_the_very_top_is_kept_with_all_spam_that_ties_with_it():
    y_true = np.repeat([False, True], [120, 30])
    score = np.concatenate([np.linspace(0, 0.5, 118), [1, 1], np.full(30, 1)]).astype(np.float32)
    decision = fit(y_true, score, 0.01)
    assert decision.ham_lost == 0
    assert not label(calibrate(score, decision), decision).any()


def test_a_message_at_the_threshold_is_called_spam():
    decision = Decision(1.0, 0.0, 0.75, 0.01, 100, 0, 0.03)
    assert label(np.array([0.75, np.nextafter(0.75, 0), 1.0]), decision).tolist() == [True, False, True]


def test_promise_holds_in_the_mean_over_draws_of_val_and_test():
    budget, losses = 0.02, []
    rng = np.random.default_rng(11)
    for _ in range(600):
        z = np.where(spam := rng.permutation(np.arange(560) < 60), 2, -2) + 2 * rng.normal(size=560)
        score = (1 / (1 + np.exp(-z))).astype(np.float32)
        val = np.arange(560) < 250
        decision = fit(spam[val], score[val], budget)
        losses.append(label(calibrate(score[~val & ~spam], decision), decision).mean())
    error = np.std(losses) / np.sqrt(len(losses))
    assert np.mean(losses) <= budget + 3 * error
    assert np.mean(losses) >= budget - 1 / 223 - 3 * error  # nor is more than one ham of val given away


def test_upper_bound_holds_for_as_many_draws_as_it_says():
    rng = np.random.default_rng(12)
    y_true = np.repeat([False, True], [300, 30])
    held = 0
    for _ in range(400):
        score = np.concatenate([rng.random(300), rng.random(30)]).astype(np.float32)
        decision = fit(y_true, score, 0.02)
        loss = 1 - np.max(score[:300][~label(calibrate(score[:300], decision), decision)])  # uniform scores
        held += loss <= decision.lost_ham_upper
    assert 0.95 - 3 * 0.011 <= held / 400 <= 0.95 + 3 * 0.011  # sd of 400 draws at 0.95


def test_decision_survives_json():
    decision = fit(*drawn(seed=7), 0.01)
    assert Decision(**json.loads(json.dumps(asdict(decision)))) == decision


# ---- what the person at the keyboard can put right


def refusal(y_true, score, budget):
    with pytest.raises(PipelineError) as refused:
        fit(y_true, score, budget)
    return str(refused.value)


@pytest.mark.parametrize(("budget", "needs"), [(0.002, 499), (0.001, 999), (0.003, 333), (0.008, 124)])
def test_too_little_ham_for_the_budget_says_how_much_it_needs(budget, needs):
    assert refusal(*drawn(seed=8, ham=120), budget) == (
        f"params.yaml: evaluate.lost_ham_budget: {budget} needs {needs} ham in val, there are 120; "
        "raise the budget or bring more ham"
    )
    assert refusal(*drawn(seed=8, ham=needs - 1), budget).endswith("raise the budget or bring more ham")
    assert fit(*drawn(seed=8, ham=needs), budget).ham_lost == 0


@pytest.mark.parametrize("budget", [0.0, -0.1, 1.0])
def test_budget_that_is_no_share_is_refused(budget):
    assert refusal(*drawn(seed=8), budget) == (
        f"params.yaml: evaluate.lost_ham_budget: {budget} is not between 0 and 1; 0.002 is one in 500"
    )


@pytest.mark.parametrize(("ham", "spam", "missing"), [(0, 5, "ham"), (5, 0, "spam"), (0, 0, "ham")])
def test_val_without_one_of_the_classes_is_refused(ham, spam, missing):
    message = refusal(*drawn(seed=8, ham=ham, spam=spam), 0.01)
    assert message == f"evaluate: val holds no {missing}; bring more labelled messages"


def test_scores_of_a_network_that_diverged_are_refused():
    y_true, score = drawn(seed=8)
    score[17] = np.nan
    message = refusal(y_true, score, 0.01)
    assert message == "evaluate: the network's scores are not numbers; lower train.learning_rate"


def test_labels_as_numbers_are_refused():
    y_true, score = drawn(seed=8)
    with pytest.raises(TypeError, match="y_true is bool, not int64"):
        fit(y_true.astype(np.int64), score, 0.01)


# ---- the other rule


@pytest.mark.parametrize("decimals", [1, 6])
def test_largest_f1_threshold_beats_or_equals_every_other(decimals):
    y_true, score = drawn(seed=9, ham=80, spam=30, decimals=decimals)
    probability = score.astype(np.float64)
    best = largest_f1_threshold(y_true, probability)
    f1 = {float(t): f1_score(y_true, probability >= t) for t in np.unique(probability)}
    assert f1[best] == pytest.approx(max(f1.values()), abs=1e-12)


def test_of_equally_good_thresholds_the_highest_is_taken():
    y_true = np.array([True, False, False, True])  # F1 is 2/3 at 0.9 and again at 0.2
    assert largest_f1_threshold(y_true, np.array([0.9, 0.6, 0.4, 0.2])) == 0.9
