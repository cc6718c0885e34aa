"""Checks single texts with the `scoring` suite as `runner.refusals` does, but in microseconds.

Great Expectations takes a tenth of a second for a table, however short it is. The rules are those
of EXPECTATIONS: each class of Great Expectations that the suite uses is evaluated here on one text.
"""

import re
from collections.abc import Callable
from typing import Any

import great_expectations.expectations as gxe
import pyarrow.compute as pc

from pipeline.core.errors import PipelineError
from pipeline.validation.computed_columns import is_blank
from pipeline.validation.expectations import SUITES, Params, build_expectation, names_in

TextCheck = Callable[[str | None], bool]  # whether a text breaks an expectation

COMPUTED_CELLS: dict[str, TextCheck] = {"is_blank": is_blank}  # by column of `computed_columns`


class RowChecks:
    """The expectations of the suite `scoring`. Raises: PipelineError for one of another class."""

    def __init__(self, params: Params) -> None:
        names = [name for step in SUITES["scoring"] for name in names_in(step)]
        self._checks = {
            name: _row_check(name, build_expectation(name, params))
            for name in names
            if name not in params.warnings
        }

    def reasons(self, text: str | None) -> str:
        """The names of the expectations that a text breaks, joined by ", "; "" if none."""
        return ", ".join(name for name, breaks in self._checks.items() if breaks(text))


def _row_check(name: str, built: Any) -> TextCheck:
    if type(built) not in CHECKS:
        raise PipelineError(
            f"{name}: {type(built).__name__} cannot be checked for one text; "
            "add it to CHECKS in pipeline/validation/row_checks.py"
        )
    return CHECKS[type(built)](built)


def _is_null(built: Any) -> TextCheck:
    return lambda text: text is None


def _not_in_set(built: Any) -> TextCheck:
    cell = COMPUTED_CELLS[built.column]
    return lambda text: cell(text) not in built.value_set


def _matches_regex(built: Any) -> TextCheck:
    """`re` is ten times as fast as RE2, which pandas uses, and takes a few more letters as equal
    without case, such as the dotless i; so what `re` finds is confirmed by RE2.
    """
    pattern = re.compile(built.regex)

    def breaks(text: str | None) -> bool:
        if text is None or not pattern.search(text):
            return False
        return bool(pc.match_substring_regex(text, built.regex).as_py())

    pc.match_substring_regex("", built.regex)  # raises an error at once if RE2 cannot read it
    return breaks


def _has_other_length(built: Any) -> TextCheck:
    return lambda text: text is not None and not built.min_value <= len(text) <= built.max_value


CHECKS: dict[Any, Callable[[Any], TextCheck]] = {  # by class of Great Expectations
    gxe.ExpectColumnValuesToNotBeNull: _is_null,
    gxe.ExpectColumnValuesToBeInSet: _not_in_set,
    gxe.ExpectColumnValuesToNotMatchRegex: _matches_regex,
    gxe.ExpectColumnValueLengthsToBeBetween: _has_other_length,
}
