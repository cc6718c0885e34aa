"""Describes failed expectations in one line each: place, problem, remedy."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline.validation.expectations import EXPECTATIONS, format_number, format_share
from pipeline.validation.runner import rows_checked

ENCODING_EXPECTATIONS = ("text_decodes", "text_is_not_mojibake")  # broken by a wrong encoding
REMEDIES = {  # by expectation: what to do where the rows in quarantine do not say it
    "text_is_not_null": "write each text as text into one cell",
    "text_has_no_mail_headers": "give subject and body of each mail without its headers",
    "text_is_not_a_git_lfs_pointer": "run `git lfs pull` where the texts come from",
    "label_is_known": "add what the file writes to ingest.files.labels",
}
SHOWN_LABELS = 10  # with more unknown labels the column may hold messages


def problem_lines(results: dict[str, Any], messages: Path, quarantine: Path) -> list[str]:
    """One line for each failed expectation.

    Args:
        results: by name, as in `Findings.broken`.
        messages, quarantine: the files that the lines name; they are not opened.
    """
    return [
        f"{messages}: {name}: {describe_problem(name, result)}; "
        f"{_remedy(name, messages, quarantine)}"
        for name, result in results.items()
    ]


def _remedy(name: str, messages: Path, quarantine: Path) -> str:
    if EXPECTATIONS[name].step == "schema":
        return "the table must be as MESSAGES in pipeline/core/schemas.py says"
    if name in ENCODING_EXPECTATIONS:
        return (
            "set ingest.files.encoding to the encoding of the files, such as cp1252: "
            f"`python -m pipeline review --propose {messages}` names it"
        )
    if EXPECTATIONS[name].default_budget is not None:
        remedy = f"{REMEDIES[name]}, or " if name in REMEDIES else ""
        return f"{remedy}see {quarantine}, or run `python -m pipeline review`"
    propose = f"`python -m pipeline review --propose {messages}`"
    return f"if the data is right, change section validate of params.yaml; {propose} suggests one"


def describe_problem(name: str, result: Any) -> str:
    """What is wrong, for a result of Great Expectations that failed."""
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
    labels = _unknown_labels(result) if name == "label_is_known" else ""
    return f"{breaches}, the budget is {format_share(1 - mostly)}{labels}"


def _unknown_labels(result: Any) -> str:
    """The labels that occur more than once and are short words, as errors must show no message."""
    counts = Counter(map(str, result.result["unexpected_list"]))  # of the first 200 rows
    labels = [
        label
        for label, count in counts.items()
        if count > 1 and re.fullmatch(r"[\w-]{1,20}", label)
    ]
    if not labels or len(counts) > SHOWN_LABELS:
        return ""
    return f", unknown: {', '.join(sorted(labels))}"
