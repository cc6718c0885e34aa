"""The expectations: what messages must be like to be trained on, or to be scored.

To add one, write a function that builds it and add an entry to EXPECTATIONS.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import great_expectations.expectations as gxe
import pandas as pd
from pydantic import Field, field_validator

from pipeline.core.params import ParamsSection
from pipeline.core.schemas import MESSAGES
from pipeline.validation.builders import (
    ExpectationBuilder,
    bounded,
    fixed,
    has_type,
    not_null,
    one_of,
    received_in_years,
    text_without,
)
from pipeline.validation.computed_columns import (
    Columns,
    banned_messages,
    blank_texts,
    copies_and_labels,
    lengths_and_spam,
    matching_ids,
)
from pipeline.validation.reviewed import Reviewed

STEPS = {  # in this order; each step sees the rows that passed the steps before it
    "schema": "The table has the columns and types of MESSAGES. A breach stops the run.",
    "text": "Each text is readable. Rows that are not go to quarantine; more than the budget "
    "of an expectation stop the run.",
    "rows": "Each row is usable for training. Quarantine and budgets as for text.",
    "copies": "Rows with equal texts agree, and one of them stays. Quarantine and budgets as "
    "for text.",
    "table": "The remaining rows as a whole are plausible. A breach stops the run.",
}
SUITES = {  # the steps for each purpose
    "training": tuple(STEPS),
    "scoring": ("text",),  # messages to score have no label and are not compared
}

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Year = Annotated[int, Field(ge=1, le=9999)]


class Params(ParamsSection):
    """Section `validate` of params.yaml. Pairs are minimum and maximum, both allowed."""

    row_count: tuple[Count, Count] = Field(description="valid messages")
    spam_share: tuple[Share, Share] = Field(description="share of spam in the valid messages")
    text_length: tuple[Count, Count] = Field(description="characters of one message")
    median_length: tuple[float, float] = Field(description="median length in characters")
    received_years: tuple[Year, Year] = Field(description="years of received_at")
    warnings: list[str] = Field(description="expectations that are reported and stop nothing")
    budgets: dict[str, Share] = Field(
        default={},
        description="share of rows that may go to quarantine before the run stops, by "
        "expectation; replaces the expectation's default",
    )

    @field_validator("row_count", "spam_share", "text_length", "median_length", "received_years")
    @classmethod
    def _check_order(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if bounds[0] > bounds[1]:
            raise ValueError(f"the minimum, {bounds[0]}, is above the maximum, {bounds[1]}")
        return bounds

    @field_validator("warnings")
    @classmethod
    def _check_warnings(cls, names: list[str]) -> list[str]:
        choices = possible_warnings()
        for name in names:
            if name not in choices:
                raise ValueError(f"{name!r} cannot be a warning; choose from {', '.join(choices)}")
        return names

    @field_validator("budgets")
    @classmethod
    def _check_budgets(cls, budgets: dict[str, float]) -> dict[str, float]:
        choices = row_level_names()
        for name in budgets:
            if name not in choices:
                raise ValueError(f"unknown {name!r}; choose from {', '.join(choices)}")
        return budgets

    def budget(self, name: str) -> float | None:
        """Share of rows that may break an expectation; None if it does not judge rows."""
        return self.budgets.get(name, EXPECTATIONS[name].default_budget)


@dataclass(frozen=True)
class Expectation:
    """One expectation. Its name in EXPECTATIONS is what it claims.

    Attributes:
        step: of STEPS.
        build: returns the expectation of Great Expectations.
        default_budget: for expectations that judge single rows: the share of rows, in [0, 1], that
            may go to quarantine. None: a breach stops the run.
        may_warn: whether `validate.warnings` may name it; only if later stages can take a breach.
        columns: computes columns that the expectation checks.
        fixed_budget: whether `review --propose` keeps the default budget: more breaches than it
            allows are a fault to mend, such as a wrong encoding or poisoning, not a trait of data.
    """

    step: str
    build: ExpectationBuilder
    default_budget: float | None = None
    may_warn: bool = False
    columns: Callable[[pd.DataFrame, Reviewed], Columns] | None = None
    fixed_budget: bool = False


# ---- the expectations

CONTROL_CHARACTER = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"  # not tab, newline, carriage return
# `Ã©` for `é` and `â€™` for `’`: UTF-8 read as Latin-1 or cp1252. U+0092 for `’`: cp1252 read as
# Latin-1.
MOJIBAKE = "[ÃÂ][\u0080-\u00bf]|â€|[\u0080-\u009f]"
# The first lines of a mail as it was sent. A mail that a person forwards begins with others alone:
# From, To, Date and Subject.
MAIL_HEADERS = (
    r"(?i)\A(?:>?From .*\n)?(?:[A-Z0-9-]+:.*\n|[ \t].*\n)*"
    r"(?:Received|Return-Path|Message-ID|MIME-Version):"
)
GIT_LFS_POINTER = r"\Aversion https://git-lfs\.github\.com/spec/"

EXPECTATIONS = {  # Expectation(step, build, default budget, ...)
    "columns_are_the_contract": Expectation(
        "schema", fixed(gxe.ExpectTableColumnsToMatchSet, column_set=MESSAGES.names)
    ),
    "message_id_is_a_string": Expectation("schema", has_type("message_id", "str")),
    "text_is_a_string": Expectation("schema", has_type("text", "str")),
    "label_is_a_string": Expectation("schema", has_type("label", "str")),
    "source_is_a_string": Expectation("schema", has_type("source", "str")),
    "source_is_not_null": Expectation("schema", not_null("source")),
    "row_is_an_integer": Expectation("schema", has_type("row", "int64")),
    "received_at_is_a_time": Expectation("schema", has_type("received_at", "Timestamp")),
    "source_and_row_are_unique": Expectation(
        "schema", fixed(gxe.ExpectCompoundColumnsToBeUnique, column_list=["source", "row"])
    ),
    "text_is_not_null": Expectation("text", not_null("text"), 0.01),
    "text_is_not_blank": Expectation(
        "text",
        one_of("is_blank", False),
        0.01,
        may_warn=True,
        columns=blank_texts,
    ),
    "text_decodes": Expectation(
        "text", text_without("\ufffd"), 0.01, may_warn=True, fixed_budget=True
    ),
    "text_is_not_mojibake": Expectation(
        "text", text_without(MOJIBAKE), 0.01, may_warn=True, fixed_budget=True
    ),
    "text_has_no_control_characters": Expectation(
        "text", text_without(CONTROL_CHARACTER), 0.01, may_warn=True
    ),
    "text_has_no_mail_headers": Expectation(
        "text", text_without(MAIL_HEADERS), 0.01, may_warn=True, fixed_budget=True
    ),
    "text_is_not_a_git_lfs_pointer": Expectation(
        "text", text_without(GIT_LFS_POINTER), 0.01, may_warn=True, fixed_budget=True
    ),
    "text_length_is_within_bounds": Expectation(
        "text",
        bounded("text_length", gxe.ExpectColumnValueLengthsToBeBetween, column="text"),
        0.01,
        may_warn=True,
    ),
    "label_is_not_null": Expectation("rows", not_null("label"), 0.01, fixed_budget=True),
    "label_is_known": Expectation("rows", one_of("label", "ham", "spam"), 0.01, fixed_budget=True),
    "message_id_is_the_hash_of_its_text": Expectation(
        "rows", one_of("id_agrees", True), 0.0, columns=matching_ids, fixed_budget=True
    ),
    "received_at_is_plausible": Expectation("rows", received_in_years, 0.01),
    "message_is_not_banned": Expectation(
        "rows", one_of("is_banned", False), 1.0, columns=banned_messages
    ),
    "label_is_not_overruled": Expectation(
        "copies", one_of("is_overruled", False), 0.1, columns=copies_and_labels, fixed_budget=True
    ),
    "text_has_one_label": Expectation(
        "copies",
        one_of("is_contested", False),
        0.001,
        columns=copies_and_labels,
        fixed_budget=True,
    ),
    "text_is_not_a_copy": Expectation(
        "copies", one_of("is_copy", False), 0.5, columns=copies_and_labels
    ),
    "row_count_is_within_bounds": Expectation(
        "table", bounded("row_count", gxe.ExpectTableRowCountToBeBetween), may_warn=True
    ),
    "spam_share_is_within_bounds": Expectation(
        "table",
        bounded("spam_share", gxe.ExpectColumnMeanToBeBetween, column="is_spam"),
        may_warn=True,
        columns=lengths_and_spam,
    ),
    "median_length_is_within_bounds": Expectation(
        "table",
        bounded("median_length", gxe.ExpectColumnMedianToBeBetween, column="length"),
        may_warn=True,
        columns=lengths_and_spam,
    ),
    "both_labels_are_present": Expectation(
        "table",
        fixed(
            gxe.ExpectColumnUniqueValueCountToBeBetween, column="is_spam", min_value=2, max_value=2
        ),
        columns=lengths_and_spam,
    ),
}


def names_in(step: str) -> list[str]:
    """The expectations of a step."""
    return [name for name, entry in EXPECTATIONS.items() if entry.step == step]


def row_level_names() -> list[str]:
    """The expectations that judge single rows, so that these can go to quarantine."""
    return [name for name, entry in EXPECTATIONS.items() if entry.default_budget is not None]


def possible_warnings() -> list[str]:
    """The expectations that `validate.warnings` may name."""
    return [name for name, entry in EXPECTATIONS.items() if entry.may_warn]


def build_expectation(name: str, params: Params) -> Any:
    """An expectation of Great Expectations with its severity, budget and description."""
    built = EXPECTATIONS[name].build(params)
    built.meta = {"name": name}
    built.severity = "warning" if name in params.warnings else "critical"
    built.description = name.replace("_", " ")
    if name.endswith("within_bounds"):
        bounds = f"{format_number(built.min_value)} to {format_number(built.max_value)}"
        built.description += f", {bounds}"
    budget = params.budget(name)
    if budget is not None:
        built.mostly = round(1 - budget, 9)  # 1 - 0.43 is not 0.57 in binary
        built.description += f", for at least {format_share(built.mostly)} of the rows"
    return built


def format_share(share: float) -> str:
    """A share in [0, 1] as `12.3 %`."""
    return f"{100 * share:.1f} %"


def format_number(value: float | None) -> str:
    """A number with at most four decimals, such as `1,000.5`; `nothing` for None."""
    return "nothing" if value is None else f"{value:,.4f}".rstrip("0").rstrip(".")
