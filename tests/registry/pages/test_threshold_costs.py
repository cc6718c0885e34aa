"""The costs of the threshold in service are counts, and the slider's curve begins there."""

from pipeline.registry.pages.threshold_costs import Cost, threshold_costs
from tests.harness.report_inputs import report_inputs


def test_costs_in_service_are_those_of_the_confusion_matrix():
    costs = threshold_costs(report_inputs())
    assert costs.on_test == Cost(spam_caught=60, spam_missed=20, ham_lost=6, ham_kept=114)
    assert costs.per_million == Cost(300_000, 100_000, 30_000, 570_000)
    assert costs.spam_percent == 40


def test_per_million_has_three_significant_digits():
    counts = {("spam", "spam"): 1, ("spam", "ham"): 2, ("ham", "spam"): 4, ("ham", "ham"): 0}
    assert threshold_costs(report_inputs(confusion=counts)).per_million.spam_missed == 286_000


def test_curve_rises_from_the_least_threshold_and_starts_near_the_served_one():
    curve = threshold_costs(report_inputs()).curve
    assert curve == {
        "spam": 80,
        "ham": 120,
        "start": 2,
        "points": [(0.125, 1.0, 1.0), (0.5, 0.875, 0.25), (0.625, 0.75, 0.05)],
    }


def test_reports_without_a_curve_have_no_costs():
    assert threshold_costs(report_inputs(tables={})) is None
    assert threshold_costs(report_inputs(confusion={})) is None
