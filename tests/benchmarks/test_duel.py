"""The benchmark reaches the verdicts of the real rule, on models as different as it says."""

import numpy as np
import pytest

from benchmarks import duel
from pipeline.evaluation.champion_challenger import PromotionRule, compare_models
from pipeline.evaluation.metrics import Predictions

TRUTH = np.arange(400) >= 340  # 340 ham, then 60 spam


@pytest.mark.slow
@pytest.mark.parametrize(("difference", "margin"), [(0.02, 0.01), (-0.01, -0.02)])
def test_verdicts_equal_those_of_compare_models(difference, margin):
    counts = {"newest_rows": 10, "resamples": 100, "seed": 3}
    rule = PromotionRule(criterion="f1", margin=margin, confidence=0.9, **counts)
    scenario = duel.build_scenario(duel.CORRELATIONS["less alike"], 0.002, 0.15, difference)
    drawn = scenario.draw(np.random.default_rng(1), 40, ham=340, spam=60)
    champions, challengers = (
        [Predictions(y_true=TRUTH, y_score=f * 1.0, y_pred=f) for f in flags] for flags in drawn
    )
    pairs = zip(challengers, champions, strict=True)
    expected = [compare_models(*pair, rule).verdict for pair in pairs]
    assert duel.verdicts(*drawn[::-1], 340, rule).tolist() == expected
    assert len(set(expected)) > 1


@pytest.mark.slow
def test_drawn_models_differ_as_they_should():
    scenario = duel.build_scenario(duel.CORRELATIONS["as of two seeds"], 0.002, 0.15, 0.02)
    pair = scenario.draw(np.random.default_rng(1), 1, ham=850_000, spam=150_000)
    flagged = np.array([flags[0].sum() for flags in pair])
    caught = np.array([flags[0, 850_000:].sum() for flags in pair])
    f1 = 2 * caught / (flagged + 150_000)
    assert f1 == pytest.approx([scenario.f1, scenario.f1 + 0.02], abs=0.001)
