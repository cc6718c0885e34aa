"""The benchmark reaches the verdicts of the real rule, on models as different as it says."""

import numpy as np
import pytest

from benchmarks import duel
from benchmarks.duel import build_scenario, verdicts
from pipeline.evaluation.champion_challenger import PromotionRule, compare_models
from pipeline.evaluation.metrics import Predictions

RULE = PromotionRule(
    criterion="f1", margin=0.0, confidence=0.95, newest_rows=10, resamples=500, seed=3
)
TWO_SEEDS = duel.CORRELATIONS["as of two seeds"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("difference", "margin"), [(0.02, 0.0), (0.02, 0.01), (-0.01, 0.0), (-0.01, -0.02)]
)
def test_verdicts_equal_those_of_compare_models(difference, margin):
    rule = RULE.model_copy(update={"margin": margin, "confidence": 0.9, "resamples": 100})
    scenario = build_scenario(duel.CORRELATIONS["less alike"], 0.002, 0.15, difference)
    champions, challengers = scenario.draw(np.random.default_rng(1), 40, ham=340, spam=60)
    y_true = np.arange(400) >= 340

    def predictions(flags):
        return Predictions(y_true=y_true, y_score=flags * 1.0, y_pred=flags)

    pairs = zip(challengers, champions, strict=True)
    expected = [compare_models(predictions(a), predictions(b), rule).verdict for a, b in pairs]
    assert verdicts(challengers, champions, 340, rule).tolist() == expected
    assert len(set(expected)) > 1


@pytest.mark.slow
def test_drawn_models_differ_as_they_should():
    scenario = build_scenario(TWO_SEEDS, 0.002, 0.15, 0.02)
    pair = scenario.draw(np.random.default_rng(1), 1, ham=850_000, spam=150_000)
    lost = [int(flags[0, :850_000].sum()) for flags in pair]
    caught = [int(flags[0, 850_000:].sum()) for flags in pair]
    champion, challenger = (
        2 * tp / (tp + fp + 150_000) for tp, fp in zip(caught, lost, strict=True)
    )
    assert champion == pytest.approx(scenario.f1, abs=0.001)
    assert challenger - champion == pytest.approx(0.02, abs=0.001)
    assert lost[0] / 850_000 == pytest.approx(0.002, abs=0.0003)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("difference", "least", "most"), [(0.0, 0, 0.05), (0.02, 0.6, 1), (-0.01, 0, 0.01)]
)
def test_promotions_on_our_test_set_are_as_documented(difference, least, most):
    scenario = build_scenario(TWO_SEEDS, 0.002, 108 / 711, difference)
    champions, challengers = scenario.draw(np.random.default_rng(1), 300, ham=603, spam=108)
    promoted = np.mean(verdicts(challengers, champions, 603, RULE) == "promote")
    assert least <= promoted <= most


def test_percent_has_an_exact_interval():
    assert duel.percent(0, 500) == "0.0 [0.0, 0.7]"
    assert duel.percent(353, 500) == "70.6 [66.4, 74.6]"
