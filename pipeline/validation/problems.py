"""Describes failed expectations in one line each: place, problem, remedy."""

from pathlib import Path
from typing import Any

from pipeline.validation.expectations import EXPECTATIONS, format_number, format_share
from pipeline.validation.runner import rows_checked


def problem_lines(results: dict[str, Any], messages: Path, quarantine: Path) -> list[str]:
    """One line for each failed expectation.

    Args:
        results: by name, as in `Findings.broken`.
        messages, quarantine: the files that the lines name; they are not opened.
    """
    return [
        f"{messages}: {name}: {_problem(name, result)}; {_remedy(name, messages, quarantine)}"
        for name, result in results.items()
    ]


def _remedy(name: str, messages: Path, quarantine: Path) -> str:
    if EXPECTATIONS[name].step == "schema":
        return "the table must be as MESSAGES in pipeline/core/schemas.py says"
    if EXPECTATIONS[name].default_budget is not None:
        return f"see {quarantine}, or run `python -m pipeline review`"
    propose = f"`python -m pipeline review --propose {messages}`"
    return f"if the data is right, change section validate of params.yaml; {propose} suggests one"


def _problem(name: str, result: Any) -> str:
    found = result.result
    kwargs = result.expectation_config.kwargs
    if not found:
        return "cannot be checked, as its column is missing"
    if "unexpected_count" in found:
        return _breaches(name, result)
    if "column_set" in kwargs:
        differences = found["details"]["mismatched"].items()
        return "; ".join(f"{kind}: {', '.join(columns)}" for kind, columns in differences)
    if "type_" in kwargs:
        return f"found {found['observed_value']}, not {kwargs['type_']}"
    minimum, maximum = format_number(kwargs["min_value"]), format_number(kwargs["max_value"])
    observed = format_number(found["observed_value"])
    return f"found {observed}, the bounds are {minimum} to {maximum}"


def _breaches(name: str, result: Any) -> str:
    count = result.result["unexpected_count"]
    rows = rows_checked(result)
    breaches = f"{count:,} of {rows:,} rows ({format_share(count / rows)}) break it"
    if EXPECTATIONS[name].default_budget is None:
        return breaches
    mostly = result.expectation_config.kwargs.get("mostly", 1)
    return f"{breaches}, the budget is {format_share(1 - mostly)}"
