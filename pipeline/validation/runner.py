"""Runs a suite of expectations on a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
)
from great_expectations.data_context.types.base import ProgressBarsConfig as ProgressBars

from pipeline.core.reports import Figure
from pipeline.validation.expectations import (
    EXPECTATIONS,
    FACTS,
    NOBODY_REVIEWED,
    ROW_LEVEL,
    SUITES,
    Params,
    Reviewed,
    expectation,
    names_of,
)


@dataclass(frozen=True)
class Findings:
    """What Great Expectations found in one table."""

    rows: int  # that came in
    kept: pd.DataFrame  # the rows that hold, as they came
    reasons: "pd.Series[str]"  # beside the rows that came in: why a row does not hold, or ""
    breaches: dict[
        str, Figure
    ]  # by row-level expectation: rows that break it, of n that it looked at
    broken: dict[str, Any]  # results of the critical expectations that do not hold
    warned: dict[str, Any]  # results of the others that do not
    results: dict[str, Any]  # by step that was asked: what Great Expectations found, for Data Docs


# ---- asking Great Expectations


def inspect(
    messages: pd.DataFrame,
    params: Params,
    suite: str = "training",
    reviewed: Reviewed = NOBODY_REVIEWED,
) -> Findings:
    """Runs the steps of a suite in order, each on the rows that those before it let through.

    messages: MESSAGES, but for `scoring` `text` is enough; their index names each row once.
    """
    context, kept = _context(), messages
    reasons: Any = pd.Series("", messages.index, dtype="str")
    breaches, results = dict[str, Figure](), dict[str, Any]()
    broken, warned = dict[str, Any](), dict[str, Any]()
    for step in SUITES[suite]:
        asked = _not_released(kept, reviewed) if step == "text" else kept
        results[step] = _asked(context, step, FACTS[step](asked, reviewed), params)
        for result in results[step].results:
            name = _name(result)
            if not result.success:
                (warned if name in params.warnings else broken)[name] = result
            if step in ROW_LEVEL:
                breaches[name] = Figure(
                    result.result["unexpected_count"], n=looked_at(result.result)
                )
                if name not in params.warnings:
                    bad = result.result["unexpected_index_list"]
                    reasons.loc[bad] = [
                        f"{before}, {name}" if before else name for before in reasons[bad]
                    ]
        if step == "schema" and broken:
            kept = messages.head(0)
            break
        kept = kept[reasons[kept.index] == ""]
    return Findings(len(messages), kept, reasons, breaches, broken, warned, results)


def refusals(texts: Sequence[str | None], params: Params) -> "pd.Series[str]":
    """(n,): why a text is not to be scored, as names of the `scoring` suite, or ""."""
    return inspect(pd.DataFrame({"text": texts}, dtype="str"), params, "scoring").reasons


def _not_released(messages: pd.DataFrame, reviewed: Reviewed) -> pd.DataFrame:
    """The rows whose text nobody released; a null text was never read."""
    if not reviewed.released:
        return messages
    return messages[~messages["message_id"].isin(reviewed.released) | messages["text"].isna()]


def _asked(context: Any, step: str, table: pd.DataFrame, params: Params) -> Any:
    """What Great Expectations found for one step, its results in the order of EXPECTATIONS."""
    batch = context.data_sources.get("data").get_asset("messages").get_batch_definition("all")
    expectations = [expectation(name, params) for name in names_of(step)]
    definition = gx.ValidationDefinition(
        name=step,
        data=batch,
        suite=context.suites.add(gx.ExpectationSuite(step, expectations=expectations)),
    )
    complete = {
        "result_format": "COMPLETE",  # with unexpected_index_list, which is never cut, as unexpected_list is
        "partial_unexpected_count": 0,  # Data Docs count, and show no message: quarantine does
        "return_unexpected_index_query": False,
    }
    ran = context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": table}, result_format=complete
    )
    uncomputed = {
        _name(result): result.exception_info for result in ran.results if not result.result
    }
    if uncomputed and step != "schema":  # what it found of the others holds messages
        raise RuntimeError(f"Great Expectations could not compute {uncomputed}")
    ran.results.sort(key=lambda result: list(EXPECTATIONS).index(_name(result)))
    return ran


def _name(result: Any) -> str:
    return str(result.expectation_config.meta["name"])


def _context() -> Any:
    """A project of Great Expectations in memory: no files, no bars, nothing sent."""
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBars(globally=False),
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    asset = context.data_sources.add_pandas("data").add_dataframe_asset("messages")
    asset.add_batch_definition_whole_dataframe("all")
    return context


def looked_at(found: dict[str, Any]) -> int:
    """How many rows a row-level expectation judged: most pass over nulls."""
    return int(found["element_count"] - found.get("missing_count", 0))
