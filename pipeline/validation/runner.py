"""Runs a suite of expectations on a table of messages."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)

from pipeline.core.reports import Figure
from pipeline.validation.expectations import (
    EXPECTATIONS,
    SUITES,
    Params,
    build_expectation,
    names_in,
)
from pipeline.validation.reviewed import NOTHING_REVIEWED, Reviewed

logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # problems are in the results


@dataclass
class Findings:
    """What a suite found in one table.

    Attributes:
        rows: number of input rows.
        kept: the rows that passed, as they came.
        reasons: beside the input rows: the expectations that a row breaks, joined by ", ", or "".
        breaches: by row-level expectation, the rows that break it (value) of those checked (n).
        broken: results of critical expectations that failed, by name.
        warned: results of failed expectations in `validate.warnings`, by name.
        results: by step that ran, the suite result of Great Expectations.
    """

    rows: int
    kept: pd.DataFrame
    reasons: "pd.Series[str]"
    breaches: dict[str, Figure] = field(default_factory=dict)
    broken: dict[str, Any] = field(default_factory=dict)
    warned: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)


def run_suite(
    messages: pd.DataFrame,
    params: Params,
    suite: str = "training",
    reviewed: Reviewed = NOTHING_REVIEWED,
) -> Findings:
    """Runs the steps of a suite in order, each on the rows that passed the steps before it.

    Args:
        messages: columns MESSAGES; for suite `scoring`, `text` is enough. The index is unique.
        suite: of SUITES.
    """
    context = _ephemeral_context()
    reasons = pd.Series("", messages.index, dtype="str")
    findings = Findings(rows=len(messages), kept=messages, reasons=reasons)
    for step in SUITES[suite]:
        kept = findings.kept
        checked = _without_released(kept, reviewed) if step == "text" else kept
        result = _run_step(context, step, _with_columns(step, checked, reviewed), params)
        findings.results[step] = result
        for one in result.results:
            _record(findings, one, params)
        if step == "schema" and findings.broken:
            findings.kept = messages.head(0)
            break
        findings.kept = kept[reasons[kept.index] == ""]
    return findings


def refusals(texts: Sequence[str | None], params: Params) -> "pd.Series[str]":
    """(n,): why each text cannot be scored, as names of expectations; "" if it can."""
    messages = pd.DataFrame({"text": texts}, dtype="str")
    return run_suite(messages, params, "scoring").reasons


def result_name(result: Any) -> str:
    """The name in EXPECTATIONS that a result of Great Expectations belongs to."""
    return str(result.expectation_config.meta["name"])


def rows_checked(result: Any) -> int:
    """The number of rows that a row-level expectation checked; most skip nulls."""
    return int(result.result["element_count"] - result.result.get("missing_count", 0))


def _without_released(messages: pd.DataFrame, reviewed: Reviewed) -> pd.DataFrame:
    """The rows whose text nobody released. A null text cannot be released."""
    if not reviewed.released:
        return messages
    return messages[~messages["message_id"].isin(reviewed.released) | messages["text"].isna()]


def _with_columns(step: str, messages: pd.DataFrame, reviewed: Reviewed) -> pd.DataFrame:
    """The messages with the columns that the step's expectations compute, each function once."""
    functions = dict.fromkeys(EXPECTATIONS[name].columns for name in names_in(step))
    for function in functions:
        if function is not None:
            messages = messages.assign(**function(messages, reviewed))
    return messages


def _run_step(context: Any, step: str, table: pd.DataFrame, params: Params) -> Any:
    """The result of one step, sorted in the order of EXPECTATIONS."""
    batch = context.data_sources.get("data").get_asset("messages").get_batch_definition("all")
    expectations = [build_expectation(name, params) for name in names_in(step)]
    suite = context.suites.add(gx.ExpectationSuite(step, expectations=expectations))
    definition = gx.ValidationDefinition(name=step, data=batch, suite=suite)
    complete = {
        "result_format": "COMPLETE",  # unexpected_index_list is not cut; unexpected_list is, at 200
        "partial_unexpected_count": 0,  # no messages in Data Docs
        "return_unexpected_index_query": False,
    }
    result = context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": table}, result_format=complete
    )
    failed = {result_name(one): one.exception_info for one in result.results if not one.result}
    if failed and step != "schema":  # only a missing column may fail; other results hold messages
        raise RuntimeError(f"Great Expectations could not compute {failed}")
    result.results.sort(key=lambda one: list(EXPECTATIONS).index(result_name(one)))
    return result


def _record(findings: Findings, result: Any, params: Params) -> None:
    """Adds the result of one expectation to the findings."""
    name = result_name(result)
    warns = name in params.warnings
    if not result.success:
        (findings.warned if warns else findings.broken)[name] = result
    if EXPECTATIONS[name].default_budget is None:
        return
    breaches = result.result["unexpected_count"]
    findings.breaches[name] = Figure(breaches, n=rows_checked(result))
    if not warns:
        rows: Any = result.result["unexpected_index_list"]
        reasons: Any = findings.reasons
        reasons.loc[rows] = [f"{before}, {name}" if before else name for before in reasons[rows]]


def _ephemeral_context() -> Any:
    """A Great Expectations project in memory: no files, no progress bars, no analytics."""
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    asset = context.data_sources.add_pandas("data").add_dataframe_asset("messages")
    asset.add_batch_definition_whole_dataframe("all")
    return context
