"""Adds the model's answers to tables of messages, which are read and labelled in batches."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import join_column_names
from pipeline.serving.explanations import explain_message
from pipeline.serving.labels import label_messages, valid_unicode
from pipeline.serving.standard_input import standard_input_lines
from pipeline.serving.verdict_text import weights_text
from pipeline.sources.file_formats import (
    FormatError,
    ReadOptions,
    convert_format_errors,
    input_format,
    read_batches,
)
from pipeline.sources.readers import as_text
from pipeline.validation import expectations, runner

SCORED_ROWS = 4_096  # messages in memory at once, and the most that an interruption can lose
ANSWER_COLUMNS = (
    "label",  # ham or spam; null if the text is null
    "probability",  # of spam, in [0, 1]; null if the text is null
    "threshold",  # at which a message is spam; null if the text is null
    "confident",  # False: for people to review; null if the text is null
    "model_version",
    "scored_at",  # UTC, whole seconds
    "refused",  # the expectations that the message breaks; null if it breaks none
)
REASONS_COLUMN = "reasons"  # of --explain: the heaviest words, such as `free +2.1, lunch -1.3`
STANDARD_STREAM = "-"  # standard input, a message a line; standard output, a JSON object a line

Tables = Iterator[pd.DataFrame]


# ---- reading


def read_tables(name: str, text: str, added: Sequence[str] = ANSWER_COLUMNS) -> Tables:
    """The rows of a file or of standard input: one or more tables of at most SCORED_ROWS.

    Args:
        text: the column of the messages.
        added: columns that the table must not have yet.

    Raises: FormatError if the content cannot be scored, else PipelineError.
    """
    tables = _read_lines(text) if name == STANDARD_STREAM else _read_file(name)
    empty = pd.DataFrame({text: []}, dtype="str")
    for table in itertools.chain([next(tables, empty)], tables):
        check_input_columns(table, name, text, added)
        yield _with_decoded_texts(table, text)


def _read_file(name: str) -> Tables:
    path = Path(name)
    batches = read_batches(input_format(name), path, ReadOptions(name), SCORED_ROWS)
    return (batch.frame() for batch in batches)


def _read_lines(text: str) -> Tables:
    lines = standard_input_lines()
    with convert_format_errors(STANDARD_STREAM):
        while part := list(itertools.islice(lines, SCORED_ROWS)):
            yield pd.DataFrame({text: part})


def _with_decoded_texts(table: pd.DataFrame, text: str) -> pd.DataFrame:
    """The table with strings for the texts that a Parquet file has as bytes."""
    if pd.api.types.infer_dtype(table[text]) != "bytes":
        return table
    cells = table[text].astype(object).where(table[text].notna(), None)
    return table.assign(**{text: cells.map(as_text).astype("str")})


def check_input_columns(
    table: pd.DataFrame, name: str, text: str, added: Sequence[str] = ANSWER_COLUMNS
) -> None:
    """Args and Raises: as `read_tables`."""
    columns = [str(column) for column in table]
    if len(set(columns)) < len(columns):
        names = join_column_names(columns)
        raise FormatError(f"{name}: two columns of one name among {names}; rename one")
    for column in columns:
        if column in added:
            raise FormatError(f"{name}: already has a column {column!r}; rename it")
    if text not in columns:
        choices = join_column_names(columns)
        raise FormatError(f"{name}: no column {text!r} among {choices}; name it with --text")


# ---- labelling


@dataclass(frozen=True)
class CheckedTable:
    """A table of messages, and what the `scoring` suite found in it.

    texts: the messages, as the model reads them.
    refused: (n,), the expectations that each message breaks, joined by ", ", or "".
    """

    table: pd.DataFrame
    texts: list[str | None]
    refused: "pd.Series[str]"


def check_tables(
    tables: Iterable[pd.DataFrame], text: str, params: expectations.Params
) -> Iterator[CheckedTable]:
    """Each table with the result of the `scoring` suite.

    Args:
        text: the column of the messages.
        params: the section `validate`.
    """
    for table in tables:
        texts = _model_texts(table[text])
        yield CheckedTable(table, texts, runner.refusals(texts, params))


def add_answers(
    checked_tables: Iterable[CheckedTable], source: str | None, model: Any, version: str
) -> Tables:
    """Each table with ANSWER_COLUMNS after its own.

    A message that breaks an expectation of the `scoring` suite gets the reasons beside its label.

    Args:
        source: of the messages; None if it has no threshold of its own.
        model: an MLflow pyfunc model.
    """
    for checked in checked_tables:
        texts, refused = checked.texts, checked.refused
        rows = [row for row, text in enumerate(texts) if text is not None]
        answers = label_messages(
            [text for text in texts if text is not None], model, [source] * len(rows)
        )
        answers = answers.set_index(pd.Index(rows, dtype="int64")).reindex(refused.index)
        answers = answers.assign(
            model_version=version, scored_at=scoring_time(), refused=refused.where(refused != "")
        )
        yield pd.concat([checked.table.reset_index(drop=True), answers], axis="columns")


def add_reasons(
    tables: Iterable[pd.DataFrame], text: str, source: str | None, model: Any
) -> Tables:
    """Each table with REASONS_COLUMN, null where the text is null. Args: as `add_answers`."""
    for table in tables:
        reasons = [
            None if text is None else weights_text(explain_message(text, model, source))
            for text in _model_texts(table[text])
        ]
        yield table.assign(**{REASONS_COLUMN: pd.Series(reasons, table.index, dtype="str")})


def scoring_time() -> pd.Timestamp:
    """The time, in UTC and whole seconds."""
    return pd.Timestamp.now("UTC").floor("s")


def _model_texts(column: "pd.Series[Any]") -> list[str | None]:
    """The cells as texts: half a surrogate pair becomes `?`, a null stays one."""
    cells = column.astype(object).where(column.notna(), None)
    return [None if cell is None else valid_unicode(str(cell)) for cell in cells]


# ---- tables in sequence


def with_columns(tables: Iterable[pd.DataFrame], columns: list[str]) -> Tables:
    """The tables with exactly these columns: lines of JSONL may have others, or lack some.

    Raises: FormatError for a column that is not among them.
    """
    for table in tables:
        for name in table:
            if name not in columns:
                raise FormatError(
                    f"the input has a column {name!r} that its first {SCORED_ROWS:,} rows do not "
                    "have; write .jsonl"
                )
        yield table.reindex(columns=columns)


def skip_rows(tables: Iterable[pd.DataFrame], rows: int) -> Tables:
    """The tables without their first rows."""
    for table in tables:
        if rows < len(table) or not rows:
            yield table.iloc[rows:]
        rows = max(0, rows - len(table))


def with_time_as_text(table: pd.DataFrame) -> pd.DataFrame:
    """The table for a format without times: `scored_at` as 2026-11-25T14:20:00+00:00."""
    return table.assign(scored_at=[time.isoformat() for time in table["scored_at"]])
