"""Effects are what their names say, their intervals cover them, and their p-values are never too small."""

import itertools

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from pipeline.monitoring import effect_sizes

TABLES = [  # held and rows, the old ones first
    ((48, 56), (80, 70)),
    ((0, 25), (4000, 500)),
    ((7, 0), (90, 31)),
    ((500, 3), (501, 4)),
    ((0, 0), (9, 5)),
    ((9, 5), (9, 5)),
]


def counts(held, rows):
    return np.array(held)[:, None], np.array(rows)


def separate(n, m):
    return np.arange(n, dtype=float), np.arange(n, n + m, dtype=float)


# ---- shares


@pytest.mark.parametrize(("held", "rows"), TABLES)
def test_p_of_a_share_is_twice_the_smaller_tail_of_fishers_exact_test(held, rows):
    table = [[held[1], rows[1] - held[1]], [held[0], rows[0] - held[0]]]
    tails = [
        scipy.stats.fisher_exact(table, alternative=side).pvalue for side in ("less", "greater")
    ]
    [p_value] = effect_sizes.fisher(*counts(held, rows))
    assert p_value == pytest.approx(min(1, 2 * min(tails)))


def test_each_thing_has_its_own_p():
    held = np.array([[48, 0, 7], [56, 0, 7]])
    alone = [effect_sizes.fisher(held[:, [i]], np.array([80, 70]))[0] for i in range(3)]
    assert effect_sizes.fisher(held, np.array([80, 70])).tolist() == alone
    assert alone[1] == 1


def test_the_interval_of_a_difference_is_newcombes():
    """His table II, (a) and (h), by method 10."""
    assert effect_sizes.newcombe(np.array([48, 56]), np.array([80, 70])) == pytest.approx(
        (0.0524, 0.3339), abs=5e-5
    )
    assert effect_sizes.newcombe(np.array([0, 10]), np.array([10, 10])) == pytest.approx(
        (0.6075, 1.0), abs=5e-5
    )


def test_more_confidence_is_a_wider_interval():
    low, high = effect_sizes.newcombe(np.array([48, 56]), np.array([80, 70]), 0.999)
    assert low < 0.0524
    assert high > 0.3339


# ---- distributions


def test_the_distance_is_the_largest_gap_of_the_distribution_functions():
    rng = np.random.default_rng(1)
    old, new = rng.integers(0, 9, 130), rng.integers(2, 12, 70)
    gap = max(abs(np.mean(old <= x) - np.mean(new <= x)) for x in range(12))
    found = effect_sizes.distance(old, new)
    assert found.value == pytest.approx(gap)
    assert found.low < gap < found.high
    assert found.p_value == pytest.approx(scipy.stats.ks_2samp(old, new).pvalue, rel=0.5)


def test_equal_samples_are_no_distance_apart_and_separate_ones_are_one():
    same = effect_sizes.distance([1, 2, 3] * 40, [1, 2, 3] * 50)
    assert (same.value, same.low, same.p_value) == (0, 0, 1)
    apart = effect_sizes.distance(*separate(50, 60))
    assert (apart.value, apart.high) == (1, 1)
    assert apart.p_value < 1e-12


def test_the_bands_of_both_distribution_functions_make_the_interval():
    old, new = np.arange(200), np.arange(150) + 100
    band = np.sqrt(np.log(80) / 400) + np.sqrt(np.log(80) / 300)
    found = effect_sizes.distance(old, new)
    assert found.low == pytest.approx(found.value - band)
    assert found.high == pytest.approx(min(1, found.value + band))


# ---- scores


def slow_auc(old, new):
    """The area and its error by DeLong's placements, a pair at a time."""
    wins = np.array([[(a < b) + (a == b) / 2 for b in new] for a in old])
    error = np.var(wins.mean(axis=0), ddof=1) / len(new) + np.var(wins.mean(axis=1), ddof=1) / len(
        old
    )
    return wins.mean(), np.sqrt(error)


def test_the_area_is_the_share_of_pairs_in_order_and_its_error_delongs():
    rng = np.random.default_rng(2)
    old, new = rng.integers(0, 9, 61).astype(float), rng.integers(1, 11, 37).astype(float)
    area, error = slow_auc(old, new)
    found = effect_sizes.auc((old, new))
    assert found.value == pytest.approx(area)
    assert found.value == pytest.approx(
        sklearn.metrics.roc_auc_score([0] * 61 + [1] * 37, [*old, *new])
    )
    assert (found.low, found.high) == pytest.approx((area - 1.96 * error, area + 1.96 * error))


def test_p_of_an_area_is_one_sided_and_that_of_mann_and_whitney():
    rng = np.random.default_rng(3)
    old, new = rng.normal(size=200), rng.normal(0.3, size=90)
    tested = scipy.stats.mannwhitneyu(
        new, old, alternative="greater", method="asymptotic", use_continuity=False
    )
    assert effect_sizes.auc((old, new)).p_value == pytest.approx(tested.pvalue)
    assert effect_sizes.auc((new, old)).p_value == pytest.approx(1 - tested.pvalue)


def test_a_sample_given_twice_is_no_surer_than_once():
    rng = np.random.default_rng(4)
    sample = rng.normal(size=50), rng.normal(0.4, size=40)
    assert effect_sizes.auc(sample, sample) == effect_sizes.auc(sample)


def test_samples_count_alike():
    rng = np.random.default_rng(5)
    samples = [(rng.normal(size=50), rng.normal(shift, size=40)) for shift in (0.2, 0.9)]
    assert effect_sizes.auc(*samples).value == pytest.approx(
        np.mean([effect_sizes.auc(one).value for one in samples])
    )
    assert effect_sizes.auc(*samples) == effect_sizes.auc(*samples[::-1])


def test_an_area_stays_within_its_range():
    assert effect_sizes.auc(separate(30, 20)).high == 1
    assert effect_sizes.auc(separate(20, 30)[::-1]).low == 0


def test_where_nothing_differs_few_p_values_are_small():
    """1,000 draws each; 50 are expected below 0.05, 7 is the standard deviation."""
    rng = np.random.default_rng(6)
    pairs = [(rng.integers(0, 30, 150), rng.integers(0, 30, 60)) for _ in range(1000)]
    by_distance = [effect_sizes.distance(*pair).p_value for pair in pairs]
    by_area = [effect_sizes.auc(pair).p_value for pair in pairs]
    held = np.array([[np.sum(sample < 6) for sample in pair] for pair in pairs]).T
    by_share = effect_sizes.fisher(held, np.array([150, 60]))
    for p_values in (by_distance, by_area, by_share):
        assert 0 < np.sum(np.array(p_values) < 0.05) < 50 + 3 * 7


def test_the_intervals_cover_what_is_true():
    """500 draws: at 95 % 475 are expected to, 5 is the standard deviation."""
    rng = np.random.default_rng(7)
    covered = {"share": 0, "area": 0, "distance": 0}
    area = scipy.stats.norm.cdf(0.5 / np.sqrt(2))
    gap = 2 * scipy.stats.norm.cdf(0.25) - 1
    for _ in range(500):
        held, rows = rng.binomial([300, 80], [0.1, 0.2]), np.array([300, 80])
        old, new = rng.normal(size=300), rng.normal(0.5, size=80)
        found = effect_sizes.auc((old, new)), effect_sizes.distance(old, new)
        low, high = effect_sizes.newcombe(held, rows)
        covered["share"] += low <= 0.1 <= high
        covered["area"] += found[0].low <= area <= found[0].high
        covered["distance"] += found[1].low <= gap <= found[1].high
    for name, most in itertools.product(covered, [475 - 3 * 5]):
        assert covered[name] >= most, name
