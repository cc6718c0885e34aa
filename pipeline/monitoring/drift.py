"""Compares new messages with those that the model was trained on.

It writes drift.json for programs and drift.html for a person. The page shows words of messages, so
both go to data/review, which is not in Git, unless --output names another folder.
"""

import logging
from pathlib import Path

import pandas as pd

from pipeline.core.cli import argument_parser
from pipeline.core.errors import PipelineError
from pipeline.core.files import write_json
from pipeline.core.params import read_params
from pipeline.monitoring.checks import Check, alarm_report, alarm_verdict
from pipeline.monitoring.drift_checks import (
    DRIFT_CHECKS,
    SETS,
    Params,
    compare_sets,
    word_differences,
)
from pipeline.monitoring.html_report import PageTable, write_html_report
from pipeline.preprocessing.profile import DescribedSets, describe_sets, profile_figures
from pipeline.sources import readers

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline drift data/validated/messages.parquet data/inbox/week.parquet"
WORDS_ON_PAGE = 20


def detect_drift(
    reference: pd.DataFrame, new: pd.DataFrame, folder: Path, params: Params
) -> list[Check]:
    """Compares the messages, writes `drift.json` and `drift.html`, and logs the verdict.

    Args:
        reference, new: columns `text` and `label`, which may be null.
        folder: where both files go.
    """
    sets = describe_sets(dict(zip(SETS, (reference, new), strict=True)))
    checks = compare_sets(sets, params)
    lead = f"{len(new):,} new messages against {len(reference):,}: {alarm_verdict(checks)}."
    skipped = DRIFT_CHECKS.keys() - {check.name for check in checks}
    if skipped:
        names = ", ".join(name for name in DRIFT_CHECKS if name in skipped)
        lead += f" Not checked, as there are too few labels, words or campaigns: {names}."
    write_json(folder / "drift.json", alarm_report(checks, len(new)))
    tables = _page_tables(sets, params)
    write_html_report(folder / "drift.html", "Drift", lead, checks, tables)
    log.info("drift: %s", lead)
    return checks


def _page_tables(sets: DescribedSets, params: Params) -> dict[str, PageTable]:
    """The figures of both sets, and the words whose shares differ most significantly."""
    figures = profile_figures(sets)
    names = [name.removeprefix("new.") for name in figures if name.startswith("new.")]
    rows = [(name, *(figures[f"{part}.{name}"].value for part in SETS)) for name in names]
    shares = [f"share of messages, {part}" for part in SETS]
    words = word_differences(sets, params)[:WORDS_ON_PAGE]
    return {
        "Both sets": (("figure", *SETS), rows),
        "Words": (("word", *shares, "p, corrected for all words"), words),
    }


def _read_set(path: Path, params: Params) -> pd.DataFrame:
    """The messages of a file, with or without labels. Raises: PipelineError if too few."""
    messages = readers.read_messages(path, labels=False)
    if len(messages) < params.fewest_rows:
        problem = f"{len(messages):,} messages, but drift.fewest_rows is {params.fewest_rows:,}"
        raise PipelineError(f"{path}: {problem}; add messages")
    return messages


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument(
        "reference", type=Path, metavar="REFERENCE", help="messages that the model knows"
    )
    parser.add_argument(
        "new", type=Path, metavar="NEW", help="messages to compare with them; labels are optional"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("data/review"),
        metavar="FOLDER",
        help="default: data/review",
    )
    arguments = parser.parse_args(argv)
    params = read_params(Params, "drift")
    reference = _read_set(arguments.reference, params)
    new = _read_set(arguments.new, params)
    detect_drift(reference, new, arguments.output, params)
