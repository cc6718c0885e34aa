"""Builders fill in the values of params."""

from datetime import UTC, datetime

from pipeline.validation.builders import received_in_years
from tests.harness.message_tables import STRICT


def test_years_are_whole():
    expectation = received_in_years(STRICT)
    assert expectation.min_value == datetime(1992, 1, 1, tzinfo=UTC)
    assert expectation.max_value == datetime(2100, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
