"""Builders: functions that take the params of validate and return a Great Expectations object."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import great_expectations.expectations as gxe

ExpectationBuilder = Callable[[Any], Any]  # takes section `validate` of params.yaml


def fixed(expectation: Any, **arguments: Any) -> ExpectationBuilder:
    """Builds an expectation that does not depend on params."""
    return lambda params: expectation(**arguments)


def bounded(bounds: str, expectation: Any, **arguments: Any) -> ExpectationBuilder:
    """Builds an expectation between the two values of a param, such as `row_count`."""

    def build(params: Any) -> Any:
        minimum, maximum = getattr(params, bounds)
        return expectation(min_value=minimum, max_value=maximum, **arguments)

    return build


def has_type(column: str, name: str) -> ExpectationBuilder:
    """Builds: the column has this type of pandas."""
    return fixed(gxe.ExpectColumnValuesToBeOfType, column=column, type_=name)


def not_null(column: str) -> ExpectationBuilder:
    """Builds: no value of the column is null."""
    return fixed(gxe.ExpectColumnValuesToNotBeNull, column=column)


def one_of(column: str, *values: Any) -> ExpectationBuilder:
    """Builds: each value of the column is one of these, or null."""
    return fixed(gxe.ExpectColumnValuesToBeInSet, column=column, value_set=list(values))


def text_without(pattern: str) -> ExpectationBuilder:
    """Builds: no text matches the regular expression."""
    return fixed(gxe.ExpectColumnValuesToNotMatchRegex, column="text", regex=pattern)


def received_in_years(params: Any) -> Any:
    """Builds: `received_at` is in the years of the params, in UTC."""
    first, last = params.received_years
    return gxe.ExpectColumnValuesToBeBetween(
        column="received_at",
        min_value=datetime(first, 1, 1, tzinfo=UTC),
        max_value=datetime(last, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    )
