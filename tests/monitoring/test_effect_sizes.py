"""Effect sizes, their intervals and p-values agree with references."""

import numpy as np
import pytest
import scipy.stats

from pipeline.monitoring.effect_sizes import (
    fisher_p_values,
    ks_distance,
    mean_auc,
    newcombe_interval,
)


@pytest.mark.parametrize(
    ("counts", "totals"),
    [((0, 25), (4000, 500)), ((7, 0), (90, 31)), ((9, 5), (9, 5))],
)
def test_p_is_twice_the_smaller_tail_of_fishers_test(counts, totals):
    table = [[counts[1], totals[1] - counts[1]], [counts[0], totals[0] - counts[0]]]
    tails = [scipy.stats.fisher_exact(table, alternative=side)[1] for side in ("less", "greater")]
    other = [7, 7]  # another thing in the same messages
    p_value, _ = fisher_p_values(np.array([counts, other]).T, np.array(totals))
    assert p_value == pytest.approx(min(1, 2 * min(tails)))


def test_the_interval_of_a_difference_is_newcombes():
    """Table II of the paper, (a) and (h), method 10."""
    counts, totals = np.array([48, 56]), np.array([80, 70])
    a = newcombe_interval(counts, totals)
    assert a == pytest.approx((0.0524, 0.3339), abs=5e-5)
    h = newcombe_interval(np.array([0, 10]), np.array([10, 10]))
    assert h == pytest.approx((0.6075, 1.0), abs=5e-5)
    wider = newcombe_interval(counts, totals, confidence=0.999)
    assert wider[0] < a[0] < a[1] < wider[1]


def test_the_distance_is_the_largest_difference_of_both_functions():
    rng = np.random.default_rng(1)
    old, new = rng.integers(0, 9, 130), rng.integers(2, 12, 70)
    distance = max(abs(np.mean(old <= x) - np.mean(new <= x)) for x in range(12))
    effect = ks_distance(old, new)
    assert effect.value == pytest.approx(distance)
    assert effect.p_value == pytest.approx(scipy.stats.ks_2samp(old, new).pvalue, rel=0.5)
    band = np.sqrt(np.log(80) / 260) + np.sqrt(np.log(80) / 140)
    assert effect.low == pytest.approx(max(0, distance - band))
    assert effect.high == pytest.approx(min(1, distance + band))
    same = ks_distance([1, 2, 3] * 40, [1, 2, 3] * 50)
    assert (same.value, same.low, same.p_value) == (0, 0, 1)
    apart = ks_distance(np.arange(50), np.arange(50, 110))
    assert (apart.value, apart.high) == (1, 1)


def test_the_area_and_its_error_agree_with_a_slow_reference():
    """DeLong's standard error, one pair at a time."""
    rng = np.random.default_rng(2)
    old, new = rng.integers(0, 9, 61).astype(float), rng.integers(1, 11, 37).astype(float)
    wins = np.array([[(a < b) + (a == b) / 2 for b in new] for a in old])
    by_new, by_old = wins.mean(axis=0), wins.mean(axis=1)
    error = np.sqrt(np.var(by_new, ddof=1) / 37 + np.var(by_old, ddof=1) / 61)
    effect = mean_auc((old, new))
    interval = (wins.mean() - 1.96 * error, wins.mean() + 1.96 * error)
    assert effect.value == pytest.approx(wins.mean())
    assert (effect.low, effect.high) == pytest.approx(interval)
    assert mean_auc((np.arange(30.0), np.arange(30.0, 50.0))).high == 1
    assert mean_auc((np.arange(30.0, 50.0), np.arange(30.0))).low == 0


def test_p_of_an_area_is_that_of_mann_and_whitney():
    rng = np.random.default_rng(3)
    old, new = rng.normal(size=200), rng.normal(0.3, size=90)
    options = {"alternative": "greater", "method": "asymptotic", "use_continuity": False}
    expected = scipy.stats.mannwhitneyu(new, old, **options).pvalue
    assert mean_auc((old, new)).p_value == pytest.approx(expected)
    assert mean_auc((new, old)).p_value == pytest.approx(1 - expected)


def test_the_mean_area_counts_samples_equally():
    rng = np.random.default_rng(5)
    samples = [(rng.normal(size=50), rng.normal(shift, size=40)) for shift in (0.2, 0.9)]
    areas = [mean_auc(sample).value for sample in samples]
    assert mean_auc(*samples).value == pytest.approx(np.mean(areas))
    assert mean_auc(*samples) == mean_auc(*samples[::-1])
    assert mean_auc(samples[0], samples[0]) == mean_auc(samples[0])
