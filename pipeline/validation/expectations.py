"""What messages must be, to train on and to be scored: the expectations, and asking Great Expectations."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import great_expectations.expectations as gxe
import pandas as pd

from pipeline.core.hashing import message_id
from pipeline.core.schemas import FEEDBACK_SOURCE, MESSAGES
from pipeline.preprocessing import normalize

logging.getLogger("great_expectations").setLevel(
    logging.CRITICAL
)  # what matters comes back as a result

Build = Callable[["Params"], Any]  # returns an expectation of Great Expectations
COLUMNS, PLACE, LABELS = MESSAGES.names, ["source", "row"], ["ham", "spam"]
CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"  # but tab, newline, carriage return
MOJIBAKE = "[ÃÂ][\u0080-\u00bf]|â€"  # UTF-8 that was read as Latin-1: `Ã©` for `é`, `â€™` for `’`
STEPS = {
    "schema": "The shape of the table. What breaks here stops the run.",
    "text": "What each text must be. What breaks it goes to quarantine; above its budget, the run stops.",
    "rows": "What else a row must be to be trained on: budgets as for text.",
    "copies": "The rows that are left, beside one another: budgets as for text.",
    "table": "What the rows that are left must be as a whole. What breaks here stops the run.",
}  # in this order; each sees the rows that those before it let through
ROW_LEVEL = ("text", "rows", "copies")  # steps that judge rows, one by one
SUITES = {  # by purpose, the steps that it takes
    "training": tuple(STEPS),
    "scoring": (
        "text",
    ),  # what is to be scored has no label, and nothing beside it to be compared with
}


@dataclass(frozen=True)
class Params:
    row_count: tuple[int, int]  # messages that hold; the least and the most, as in all of these
    spam_share: tuple[float, float]  # of the messages that hold
    text_length: tuple[int, int]  # characters of one message
    median_length: tuple[float, float]  # characters
    received_years: tuple[int, int]  # first and last that a message may be from
    warnings: list[
        str
    ]  # names of EXPECTATIONS that report and stop nothing; all others are critical
    budgets: dict[str, float]  # by row-level expectation: share of rows that may go to quarantine

    def __post_init__(self) -> None:
        for name in ("row_count", "spam_share", "text_length", "median_length", "received_years"):
            least, most = getattr(self, name)
            if least > most:
                raise ValueError(f"{name}: the least, {least}, is above the most, {most}")
        if not 1 <= self.received_years[0] <= self.received_years[1] <= 9999:
            raise ValueError("received_years: years are from 1 to 9999")
        if vital := [repr(name) for name in self.warnings if name not in may_warn()]:
            choices = ", ".join(may_warn())
            raise ValueError(f"warnings: {', '.join(vital)} cannot be one; choose from {choices}")
        for problem, names in {
            "unknown": [name for name in self.budgets if name not in row_level()],
            "missing": [name for name in row_level() if name not in self.budgets],
            "no share from 0 to 1 for": [
                name for name, share in self.budgets.items() if not 0 <= share <= 1
            ],
        }.items():
            if names:
                listed = ", ".join(map(repr, names))
                raise ValueError(
                    f"budgets: {problem} {listed}; one for each of {', '.join(row_level())}"
                )


@dataclass(frozen=True)
class Reviewed:
    """What a person decided about messages, by `message_id`."""

    released: frozenset[str] = frozenset()  # whatever is said against their text
    banned: frozenset[str] = frozenset()


NOBODY_REVIEWED = Reviewed()


# ---- what the expectations look at, where Great Expectations cannot work it out itself


def _text_facts(messages: pd.DataFrame, reviewed: Reviewed) -> pd.DataFrame:
    seen = (isinstance(t, str) and normalize.canonicalise(t).strip() for t in messages["text"])
    return messages.assign(is_blank=[s == "" for s in seen])


def _row_facts(messages: pd.DataFrame, reviewed: Reviewed) -> pd.DataFrame:
    texts = messages["text"].fillna("")
    ids = pd.Series([message_id(t) for t in texts], messages.index, dtype="str")
    return messages.assign(
        id_agrees=messages["message_id"] == ids,
        is_banned=messages["message_id"].isin(reviewed.banned),
    )


def _copy_facts(messages: pd.DataFrame, reviewed: Reviewed) -> pd.DataFrame:
    folded, label = folded_texts(messages["text"]), messages["label"]
    latest = latest_feedback(messages, folded)
    overruled = latest.notna() & (latest != label)
    return messages.assign(
        is_overruled=overruled,
        is_contested=label.mask(overruled).groupby(folded).transform("nunique") > 1,
        is_copy=pd.DataFrame(
            {"text": folded, "label": label}
        ).duplicated(),  # the first one is none
    )


def _table_facts(messages: pd.DataFrame, reviewed: Reviewed) -> pd.DataFrame:
    return messages.assign(
        length=messages["text"].str.len().astype("int64"),
        is_spam=messages["label"].eq("spam").astype("int64"),
    )


FACTS: dict[str, Callable[[pd.DataFrame, Reviewed], pd.DataFrame]] = {
    "schema": lambda messages, reviewed: messages,
    "text": _text_facts,
    "rows": _row_facts,
    "copies": _copy_facts,
    "table": _table_facts,
}


def folded_texts(texts: pd.Series) -> pd.Series:
    """The texts without case and spacing: equal ones are copies."""
    return pd.Series([normalize.fold(t) for t in texts.fillna("")], texts.index, dtype="str")


def latest_feedback(messages: pd.DataFrame, folded: pd.Series) -> pd.Series:
    """Beside each row, the label that the latest row of feedback gives its text, or null where there is none.

    Files of feedback are named by their day, so a later name is a later label.
    """
    said = messages.assign(folded=folded)[messages["source"].str.startswith(f"{FEEDBACK_SOURCE}/")]
    said = said.assign(file=[PurePosixPath(source).name for source in said["source"]])
    latest = said.sort_values(["file", *PLACE]).groupby("folded")["label"].last()
    return folded.map(latest)


# ---- the expectations


def _ask(expectation: Any, **of: Any) -> Build:
    return lambda _: expectation(**of)


def _is(column: str, value: bool) -> Build:
    return _ask(gxe.ExpectColumnValuesToBeInSet, column=column, value_set=[value])


def _has_type(column: str, name: str) -> Build:
    return _ask(gxe.ExpectColumnValuesToBeOfType, column=column, type_=name)


def _has_no(regex: str) -> Build:
    return _ask(gxe.ExpectColumnValuesToNotMatchRegex, column="text", regex=regex)


def _within(bounds: str, expectation: Any, **of: Any) -> Build:
    """An expectation between the two bounds that Params has under this name."""
    return lambda params: expectation(
        min_value=getattr(params, bounds)[0], max_value=getattr(params, bounds)[1], **of
    )


def _years(params: Params) -> Any:
    first, last = params.received_years
    return gxe.ExpectColumnValuesToBeBetween(
        column="received_at",
        min_value=datetime(first, 1, 1, tzinfo=UTC),
        max_value=datetime(last, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    )


EXPECTATIONS: dict[str, tuple[str, Build]] = {  # name: (step, builder); the name is the claim
    "columns_are_the_contract": (
        "schema",
        _ask(gxe.ExpectTableColumnsToMatchSet, column_set=COLUMNS),
    ),
    "message_id_is_a_string": ("schema", _has_type("message_id", "str")),
    "text_is_a_string": ("schema", _has_type("text", "str")),
    "label_is_a_string": ("schema", _has_type("label", "str")),
    "source_is_a_string": ("schema", _has_type("source", "str")),
    "source_is_not_null": ("schema", _ask(gxe.ExpectColumnValuesToNotBeNull, column="source")),
    "row_is_an_integer": ("schema", _has_type("row", "int64")),
    "received_at_is_a_time": ("schema", _has_type("received_at", "Timestamp")),
    "source_and_row_are_unique": (
        "schema",
        _ask(gxe.ExpectCompoundColumnsToBeUnique, column_list=PLACE),
    ),
    "text_is_not_null": ("text", _ask(gxe.ExpectColumnValuesToNotBeNull, column="text")),
    "text_is_not_blank": ("text", _is("is_blank", False)),
    "text_decodes": ("text", _has_no("\ufffd")),
    "text_is_not_mojibake": ("text", _has_no(MOJIBAKE)),
    "text_has_no_control_characters": ("text", _has_no(CONTROL)),
    "text_length_is_within_bounds": (
        "text",
        _within("text_length", gxe.ExpectColumnValueLengthsToBeBetween, column="text"),
    ),
    "label_is_not_null": ("rows", _ask(gxe.ExpectColumnValuesToNotBeNull, column="label")),
    "label_is_known": (
        "rows",
        _ask(gxe.ExpectColumnValuesToBeInSet, column="label", value_set=LABELS),
    ),
    "message_id_is_the_hash_of_its_text": ("rows", _is("id_agrees", True)),
    "received_at_is_plausible": ("rows", _years),
    "message_is_not_banned": ("rows", _is("is_banned", False)),
    "label_is_not_overruled": ("copies", _is("is_overruled", False)),
    "text_has_one_label": ("copies", _is("is_contested", False)),
    "text_is_not_a_copy": ("copies", _is("is_copy", False)),
    "row_count_is_within_bounds": (
        "table",
        _within("row_count", gxe.ExpectTableRowCountToBeBetween),
    ),
    "spam_share_is_within_bounds": (
        "table",
        _within("spam_share", gxe.ExpectColumnMeanToBeBetween, column="is_spam"),
    ),
    "median_length_is_within_bounds": (
        "table",
        _within("median_length", gxe.ExpectColumnMedianToBeBetween, column="length"),
    ),
    "both_labels_are_present": (
        "table",
        _ask(
            gxe.ExpectColumnUniqueValueCountToBeBetween, column="is_spam", min_value=2, max_value=2
        ),
    ),
}
VITAL = (
    "text_is_not_null",
    "both_labels_are_present",
)  # beside schema, rows and copies: see may_warn


def names_of(*steps: str) -> list[str]:
    """The names of the expectations of these steps."""
    return [name for name, (step, _) in EXPECTATIONS.items() if step in steps]


def row_level() -> list[str]:
    """The names of the expectations that send rows to quarantine."""
    return names_of(*ROW_LEVEL)


def may_warn() -> list[str]:
    """The names of the expectations that may be warnings: what breaks the others no later stage can take."""
    return [name for name in names_of("text", "table") if name not in VITAL]


def expectation(name: str, params: Params) -> Any:
    """The named expectation, with its severity, its budget and words for a person."""
    asked = EXPECTATIONS[name][1](params)
    asked.meta, asked.description = {"name": name}, name.replace("_", " ")
    asked.severity = "warning" if name in params.warnings else "critical"
    if name.endswith("within_bounds"):
        asked.description += f", {number(asked.min_value)} to {number(asked.max_value)}"
    if name in row_level():
        asked.mostly = round(1 - params.budgets[name], 9)  # 1 - 0.43 is not 0.57 in binary
        asked.description += f", for at least {percent(asked.mostly)} of the rows"
    return asked


def percent(share: float) -> str:
    """A share in [0, 1], in words."""
    return f"{100 * share:.1f} %"


def number(value: float | None) -> str:
    """A number as short as it can be, in words."""
    return "nothing" if value is None else f"{value:,.4f}".rstrip("0").rstrip(".")
