"""Sorts messages into valid and quarantined rows, and counts both."""

from collections import Counter

import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.core.reports import Figure
from pipeline.core.schemas import QUARANTINE, VALIDATED
from pipeline.validation.computed_columns import fold_texts
from pipeline.validation.runner import Findings

UNDATED = "undated"  # month of rows without received_at, from a file without a date in its name


def validated_rows(messages: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """The rows that passed, as VALIDATED, sorted by message_id.

    Args:
        messages: all input rows, of which `copies` counts those with the same folded text.

    Raises: PipelineError if two of them, whose texts differ, have one message_id.
    """
    if findings.kept.empty:
        return findings.kept.reindex(columns=VALIDATED.names)
    _check_ids(findings.kept)
    folded = fold_texts(messages["text"])
    copies = folded.groupby(folded).transform("size")
    rows = findings.kept.assign(copies=copies).sort_values("message_id")
    return rows.reindex(columns=VALIDATED.names)


def _check_ids(rows: pd.DataFrame) -> None:
    """Raises: PipelineError, as every later stage joins tables by message_id."""
    shared = rows[rows["message_id"].duplicated(keep=False)].sort_values("message_id")
    if shared.empty:
        return
    first, second = shared.head(2).to_dict("records")
    places = [f"row {one['row']} of {one['source']}" for one in (first, second)]
    problem = f"two texts have the message_id {first['message_id']}"
    raise PipelineError(f"{' and '.join(places)}: {problem}; remove one of the two rows")


def quarantined_rows(messages: pd.DataFrame, findings: Findings) -> pd.DataFrame:
    """The rows that did not pass, as QUARANTINE, sorted by source and row."""
    rows = messages.reindex(columns=QUARANTINE.names).assign(reasons=findings.reasons)
    rows = rows[rows["reasons"] != ""]
    return rows.sort_values(["source", "row"]) if len(rows) else rows


def count_by_month(quarantined: pd.DataFrame) -> list[tuple[str, str, int]]:
    """The rows of QUARANTINE_BY_MONTH, sorted; one row with 0 if nothing is in quarantine.

    The month is that of `received_at`, else of a date in the file name.
    """
    received = pd.to_datetime(quarantined["received_at"], utc=True).dt.strftime("%Y-%m")
    sources = quarantined["source"].astype("str")
    in_file_name = sources.str.extract(r"(\d{4}-\d{2})", expand=False)
    months = received.fillna(in_file_name).fillna(UNDATED)
    counts = Counter(
        (month, reason)
        for month, reasons in zip(months, quarantined["reasons"], strict=True)
        for reason in reasons.split(", ")
    )
    rows = [(month, reason, count) for (month, reason), count in sorted(counts.items())]
    return rows or [(UNDATED, "none", 0)]  # DVC draws no plot of an empty table


def validation_figures(findings: Findings) -> dict[str, Figure]:
    """The figures of reports/validate.json: rows kept and quarantined, and breaches by name."""
    kept = findings.kept
    spam_share = (kept["label"] == "spam").mean() if len(kept) else None
    return {
        "rows_kept": Figure(len(kept), n=findings.rows),
        "rows_quarantined": Figure(int((findings.reasons != "").sum()), n=findings.rows),
        "spam_share": Figure(spam_share, n=len(kept)),
        **{f"breaches.{name}": figure for name, figure in findings.breaches.items()},
    }


def validation_verdict(findings: Findings) -> str:
    """One line: how many rows are valid, or which expectations stop the run; then warnings."""
    verdict = f"{len(findings.kept):,} of {findings.rows:,} rows are valid"
    if findings.broken:
        verdict = f"stopped: {', '.join(findings.broken)}"
    if findings.warned:
        verdict += f"; warnings: {', '.join(findings.warned)}"
    return verdict
