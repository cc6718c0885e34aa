"""Holds the messages to the expectations; bad rows go to quarantine, bad data stops here."""

import argparse
import logging
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from pipeline import advice, docs, formats, stage, suites
from pipeline.stage import Figure, PipelineError
from pipeline.suites import EXPECTATIONS, PLACE, QUARANTINE, VALIDATED, Findings, Params, Reviewed

log = logging.getLogger(__name__)

INGESTED = Path("data/ingested/messages.parquet")  # what `--propose` is about, unless told otherwise
QUARANTINED = Path("data/review/quarantine.parquet")  # what `--review` lists
VERDICTS = ("release", "ban")  # of data/reviewed.csv
UNDATED = "undated"  # rows without received_at, in a file without a date in its name


# ---- what a person decided


def read_reviewed(path: Path) -> Reviewed:
    """The decisions of data/reviewed.csv. Raises: PipelineError, naming the row."""
    way_out = f"mend the row, or `git checkout {path}` brings it back"
    table = stage.read_csv(path, way_out)
    if missing := [name for name in ("message_id", "verdict") if name not in table]:
        raise PipelineError(f"{path}: no column {missing[0]!r} among {stage.listed(table)}; {way_out}")
    decided = dict[str, str]()
    for row, (message_id, verdict) in enumerate(zip(table["message_id"], table["verdict"], strict=True), 1):
        place = f"{path}: row {row}"
        if not re.fullmatch("[0-9a-f]{16}", message_id):
            raise PipelineError(f"{place}: {message_id!r} is no message_id; {way_out}")
        stage.choose(dict.fromkeys(VERDICTS), verdict, f"{place}: verdict")
        if decided.setdefault(message_id, verdict) != verdict:
            raise PipelineError(f"{place}: {message_id} is released and banned; leave one of the two rows")
    of = {name: frozenset(m for m, verdict in decided.items() if verdict == name) for name in VERDICTS}
    return Reviewed(of["release"], of["ban"])


# ---- what is written


def validated(messages: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """The rows that hold, with the number of rows that came with their text, by message_id."""
    if findings.kept.empty:
        return findings.kept.reindex(columns=VALIDATED.names)
    folded = suites.folded_texts(messages["text"])
    copies = folded.groupby(folded).transform("size")
    return findings.kept.assign(copies=copies).sort_values("message_id").reindex(columns=VALIDATED.names)


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
    see = f"see {quarantine}, or `python -m pipeline.validate --review`"
    ways_out = {
        "schema": "it must be MESSAGES of pipeline/formats.py",
        **dict.fromkeys(suites.ROW_LEVEL, see),
        "table": "if the data is right, set section validate of params.yaml; "
        f"`python -m pipeline.validate --propose {messages}` works it out",
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
        count, rows = found["unexpected_count"], suites.looked_at(found)
        breach = f"{count:,} of {rows:,} rows ({suites.percent(count / rows)}) break it"
        budget = suites.percent(1 - asked.get("mostly", 1))
        return f"{breach}, the budget is {budget}" if name in suites.row_level() else breach
    if "column_set" in asked:
        columns = found["details"]["mismatched"].items()
        return "; ".join(f"{how}: {', '.join(names)}" for how, names in columns)
    if "type_" in asked:
        return f"found {found['observed_value']}, not {asked['type_']}"
    bounds = f"the bounds are {suites.number(asked['min_value'])} to {suites.number(asked['max_value'])}"
    return f"found {suites.number(found['observed_value'])}, {bounds}"


# ---- the command


def ask(arguments: Sequence[str]) -> str | None:
    """The answer to a question beside the stage; None where the arguments are the stage's paths."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--explain", action="store_true", help="the suites as sentences")
    parser.add_argument("--review", action="store_true", help="the refused rows, of FILE or of the last run")
    parser.add_argument("--propose", action="store_true", help="section validate of params.yaml for FILE")
    parser.add_argument("file", type=Path, nargs="*", metavar="FILE")
    asked = parser.parse_args(arguments)
    if asked.explain:
        return advice.explain(stage.read_params(Params, "validate"))
    if asked.review:
        [file] = asked.file or [QUARANTINED]
        return advice.review(stage.read_parquet(file, QUARANTINE.names).to_pandas())
    if asked.propose:
        [file] = asked.file or [INGESTED]
        return advice.propose(formats.read_messages(file), file)
    return None


def main(argv: list[str] | None = None) -> None:
    arguments = sys.argv[1:] if argv is None else argv
    if answer := ask(arguments):
        print(answer)
        return
    names = ("messages", "reviewed", "validated", "quarantine", "docs", "report", "over_time")
    messages, decisions, held, quarantine, pages, report, months = stage.paths(arguments, __doc__, *names)
    held.unlink(missing_ok=True)  # whatever happens now, no older table passes for this one
    params, reviewed = stage.read_params(Params, "validate"), read_reviewed(decisions)
    table = stage.read_parquet(messages).to_pandas()
    findings = suites.inspect(table, params, reviewed=reviewed)
    refused = quarantined(table, findings)

    verdict = f"{len(findings.kept):,} of {findings.rows:,} rows hold"
    if findings.broken:
        verdict = f"stopped: {', '.join(findings.broken)}"
    if findings.warned:
        verdict += f"; warnings: {', '.join(findings.warned)}"
    docs.write(pages, suites.STEPS, findings.results)
    _write_table(quarantine, refused, QUARANTINE)
    stage.write_report(report, findings.rows, figures(findings, len(refused)), verdict)
    stage.write_csv(months, ("month", "reason", "rows"), over_time(refused))
    for line in problems(findings.warned, messages, quarantine):
        log.warning("warning: %s", line)
    if findings.broken:
        raise PipelineError("\nerror: ".join(problems(findings.broken, messages, quarantine)))
    _write_table(held, validated(table, findings), VALIDATED)
    log.info("validate: %s", verdict)


def _write_table(path: Path, table: pd.DataFrame, schema: pa.Schema) -> None:
    stage.write_parquet(path, pa.Table.from_pandas(table, schema, preserve_index=False).to_batches(), schema)


if __name__ == "__main__":
    stage.run(main)
