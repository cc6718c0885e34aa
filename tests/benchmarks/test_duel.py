"""The benchmark reaches the verdicts of the real rule, on models as different as it says."""

import numpy as np
import pytest

from benchmarks import duel
from pipeline.evaluation.champion_challenger import PromotionRule, compare_models
from pipeline.evaluation.metrics import Predictions


@pytest.mark.slow
@pytest.mark.parametrize(("difference", "margin"), [(0.02, 0.01), (-0.01, -0.02)])
def test_verdicts_equal_those_of_compare_models(difference, margin):
    rule = PromotionRule(
        criterion="f1", margin=margin, confidence=0.9, newest_rows=10, resamples=100, seed=3
    )
    scenario = duel.build_scenario(duel.CORRELATIONS["less alike"], 0.002, 0.15, difference)
    champions, challengers = scenario.draw(np.random.default_rng(1), 40, ham=340, spam=60)
    y_true = np.arange(400) >= 340

    def verdict(flags, others):
        both = [Predictions(y_true=y_true, y_score=f * 1.0, y_pred=f) for f in (flags, others)]
        return compare_models(*both, rule).verdict

    expected = list(map(verdict, challengers, champions))
    assert duel.verdicts(challengers, champions, 340, rule).tolist() == expected
    assert len(set(expected)) > 1


@pytest.mark.slow
def test_drawn_models_differ_as_they_should():
    scenario = duel.build_scenario(duel.CORRELATIONS["as of two seeds"], 0.002, 0.15, 0.02)
    pair = scenario.draw(np.random.default_rng(1), 1, ham=850_000, spam=150_000)
    lost = [flags[0, :850_000].sum() for flags in pair]
    caught = [flags[0, 850_000:].sum() for flags in pair]
    f1 = [2 * tp / (tp + fp + 150_000) for tp, fp in zip(caught, lost, strict=True)]
    assert f1 == pytest.approx([scenario.f1, scenario.f1 + 0.02], abs=0.001)
    assert lost[0] / 850_000 == pytest.approx(0.002, abs=0.0003)
