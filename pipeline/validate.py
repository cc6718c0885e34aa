"""Holds the messages to the expectations; bad rows go to quarantine, bad data stops here."""

import logging
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from pipeline.core.cli import parse_paths, run_stage
from pipeline.core.errors import PipelineError, join_column_names
from pipeline.core.params import choose, read_params
from pipeline.core.reports import Figure, write_report
from pipeline.core.schemas import QUARANTINE, QUARANTINE_BY_MONTH, VALIDATED
from pipeline.core.tables import read_csv, read_parquet, write_csv, write_parquet
from pipeline.validation import data_docs, expectations, runner
from pipeline.validation.expectations import EXPECTATIONS, PLACE, Params, Reviewed
from pipeline.validation.runner import Findings

log = logging.getLogger(__name__)

VERDICTS = ("release", "ban")  # of data/reviewed.csv
UNDATED = "undated"  # rows without received_at, in a file without a date in its name


# ---- what a person decided


def read_reviewed(path: Path) -> Reviewed:
    """The decisions of data/reviewed.csv. Raises: PipelineError, naming the row."""
    way_out = f"mend the row, or `git checkout {path}` brings it back"
    table = read_csv(path, way_out)
    if missing := [name for name in ("message_id", "verdict") if name not in table]:
        raise PipelineError(
            f"{path}: no column {missing[0]!r} among {join_column_names(table)}; {way_out}"
        )
    decided = dict[str, str]()
    for row, (message_id, verdict) in enumerate(
        zip(table["message_id"], table["verdict"], strict=True), 1
    ):
        place = f"{path}: row {row}"
        if not re.fullmatch("[0-9a-f]{16}", message_id):
            raise PipelineError(f"{place}: {message_id!r} is no message_id; {way_out}")
        choose(dict.fromkeys(VERDICTS), verdict, f"{place}: verdict")
        if decided.setdefault(message_id, verdict) != verdict:
            raise PipelineError(
                f"{place}: {message_id} is released and banned; leave one of the two rows"
            )
    of = {
        name: frozenset(m for m, verdict in decided.items() if verdict == name) for name in VERDICTS
    }
    return Reviewed(of["release"], of["ban"])


# ---- what is written


def validated(messages: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """The rows that hold, with the number of rows that came with their text, by message_id."""
    if findings.kept.empty:
        return findings.kept.reindex(columns=VALIDATED.names)
    folded = expectations.folded_texts(messages["text"])
    copies = folded.groupby(folded).transform("size")
    return (
        findings.kept.assign(copies=copies)
        .sort_values("message_id")
        .reindex(columns=VALIDATED.names)
    )


def quarantined(messages: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """The rows that do not hold, each with its reasons, in their own order."""
    refused = messages.reindex(columns=QUARANTINE.names).assign(reasons=findings.reasons)
    refused = refused[refused["reasons"] != ""]
    return refused.sort_values(PLACE) if len(refused) else refused


def over_time(refused: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Month, reason, rows: by received_at, else by the date in the name of the file that a row came in."""
    received = pd.to_datetime(refused["received_at"], utc=True).dt.strftime("%Y-%m")
    named = refused["source"].astype("str").str.extract(r"(\d{4}-\d{2})", expand=False)
    month = received.fillna(named).fillna(UNDATED)
    counted = Counter(
        (when, reason)
        for when, reasons in zip(month, refused["reasons"], strict=True)
        for reason in reasons.split(", ")
    )
    rows = [(when, reason, rows) for (when, reason), rows in sorted(counted.items())]
    return rows or [(UNDATED, "none", 0)]  # DVC draws no plot of an empty table


def figures(findings: Findings, refused: int) -> dict[str, Figure]:
    """What the report says: rows that held, rows that did not, and why."""
    kept = findings.kept
    return {
        "rows_kept": Figure(len(kept), n=findings.rows),
        "rows_quarantined": Figure(refused, n=findings.rows),
        "spam_share": Figure((kept["label"] == "spam").mean() if len(kept) else None, n=len(kept)),
        **{f"breaches.{name}": figure for name, figure in findings.breaches.items()},
    }


# ---- what people read


def problems(results: dict[str, Any], messages: Path, quarantine: Path) -> list[str]:
    """One line for each expectation that does not hold: place, what was found, the way out."""
    see = f"see {quarantine}, or `python -m pipeline review`"
    ways_out = {
        "schema": "it must be MESSAGES of pipeline/sources/readers.py",
        **dict.fromkeys(expectations.ROW_LEVEL, see),
        "table": "if the data is right, set section validate of params.yaml; "
        f"`python -m pipeline review --propose {messages}` works it out",
    }
    return [
        f"{messages}: {name}: {_found(name, result)}; {ways_out[EXPECTATIONS[name][0]]}"
        for name, result in results.items()
    ]


def _found(name: str, result: Any) -> str:
    found, asked = result.result, result.expectation_config.kwargs
    if not found:
        return "cannot be checked, for want of its column"
    if "unexpected_count" in found:
        count, rows = found["unexpected_count"], runner.looked_at(found)
        breach = f"{count:,} of {rows:,} rows ({expectations.percent(count / rows)}) break it"
        budget = expectations.percent(1 - asked.get("mostly", 1))
        return f"{breach}, the budget is {budget}" if name in expectations.row_level() else breach
    if "column_set" in asked:
        columns = found["details"]["mismatched"].items()
        return "; ".join(f"{how}: {', '.join(names)}" for how, names in columns)
    if "type_" in asked:
        return f"found {found['observed_value']}, not {asked['type_']}"
    bounds = f"the bounds are {expectations.number(asked['min_value'])} to {expectations.number(asked['max_value'])}"
    return f"found {expectations.number(found['observed_value'])}, {bounds}"


def main(argv: list[str] | None = None) -> None:
    names = (
        "messages",
        "reviewed",
        "validated",
        "quarantine",
        "data-docs",
        "report",
        "quarantine-by-month",
    )
    messages, decisions, held, quarantine, pages, report, months = vars(
        parse_paths(argv, __doc__, *names)
    ).values()
    held.unlink(missing_ok=True)  # whatever happens now, no older table passes for this one
    params, reviewed = read_params(Params, "validate"), read_reviewed(decisions)
    table = read_parquet(messages).to_pandas()
    findings = runner.inspect(table, params, reviewed=reviewed)
    refused = quarantined(table, findings)

    verdict = f"{len(findings.kept):,} of {findings.rows:,} rows hold"
    if findings.broken:
        verdict = f"stopped: {', '.join(findings.broken)}"
    if findings.warned:
        verdict += f"; warnings: {', '.join(findings.warned)}"
    data_docs.write(pages, expectations.STEPS, findings.results)
    _write_table(quarantine, refused, QUARANTINE)
    write_report(report, findings.rows, figures(findings, len(refused)), verdict)
    write_csv(months, QUARANTINE_BY_MONTH.names, over_time(refused))
    for line in problems(findings.warned, messages, quarantine):
        log.warning("warning: %s", line)
    if findings.broken:
        raise PipelineError("\nerror: ".join(problems(findings.broken, messages, quarantine)))
    _write_table(held, validated(table, findings), VALIDATED)
    log.info("validate: %s", verdict)


def _write_table(path: Path, table: pd.DataFrame, schema: pa.Schema) -> None:
    write_parquet(
        path, pa.Table.from_pandas(table, schema, preserve_index=False).to_batches(), schema
    )


if __name__ == "__main__":
    run_stage(main)
