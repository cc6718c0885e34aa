"""Builders fill in the values of params."""

from datetime import UTC, datetime

import great_expectations.expectations as gxe

from pipeline.validation.builders import bounded, received_in_years
from tests.harness.message_tables import strict


def test_bounds_come_from_the_params():
    build = bounded("row_count", gxe.ExpectTableRowCountToBeBetween)
    expectation = build(strict(row_count=(3, 9)))
    assert (expectation.min_value, expectation.max_value) == (3, 9)


def test_years_are_whole():
    expectation = received_in_years(strict(received_years=(1992, 2100)))
    assert expectation.min_value == datetime(1992, 1, 1, tzinfo=UTC)
    assert expectation.max_value == datetime(2100, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
