"""Names and numbers are those that people use."""

import pytest

from pipeline.registry.pages.wording import (
    comparison_text,
    figure_label,
    interval_text,
    number_text,
)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("f1", "F1"),
        ("calibration_error", "calibration error"),
        ("attacks.leet_15.spam_caught_percent", "attack leet 15: spam caught, %"),
        ("difference.f1", "lead over the baseline: F1"),
    ],
)
def test_label_says_what_a_figure_is(name, label):
    assert figure_label(name) == label


def test_numbers_are_rounded_for_people():
    assert number_text("f1", 0.77215) == "0.772"
    assert number_text("ham_blocked_percent", 3.348) == "3.3"
    assert number_text("difference.f1", -0.0061, signed=True) == "\N{MINUS SIGN}0.006"
    assert number_text("f1", None) == "not defined"


def test_interval_is_empty_without_ends():
    assert interval_text("f1", {"value": 0.5, "low": 0.25, "high": 0.75}) == "0.250 to 0.750"
    assert interval_text("f1", {"value": 0.5}) == ""


@pytest.mark.parametrize(
    ("metric", "low", "high", "text"),
    [
        ("f1", 0.01, 0.02, "better"),
        ("f1", -0.02, -0.01, "worse"),
        ("ham_blocked_percent", 0.1, 0.2, "worse"),
        ("ham_blocked_percent", -0.2, -0.1, "better"),
        ("f1", 0.0, 0.02, "no clear difference"),
        ("f1", None, None, "no clear difference"),
    ],
)
def test_difference_is_clear_if_its_interval_excludes_0(metric, low, high, text):
    assert comparison_text(metric, {"value": 0.0, "low": low, "high": high}) == text
