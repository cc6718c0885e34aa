"""Compares new messages with those that the model was trained on, each source with itself.

New messages of a source with too few messages among the known ones are compared with all of these.
It writes drift.json for programs and drift.html for a person. The page shows words of messages, so
both go to data/review, which is not in Git, unless --output names another folder. NEW may be the
folder of a log of predictions that has texts: see `python -m pipeline serve --help`.
"""

import logging
from pathlib import Path

import pandas as pd

from pipeline.core.cli import argument_parser
from pipeline.core.errors import PipelineError
from pipeline.core.files import write_json
from pipeline.core.params import read_params
from pipeline.evaluation.slices import source_name
from pipeline.monitoring.checks import Check, alarm_report, alarm_verdict
from pipeline.monitoring.drift_checks import (
    DRIFT_CHECKS,
    SETS,
    Params,
    compare_sets,
    word_differences,
)
from pipeline.monitoring.html_report import PageTable, write_html_report
from pipeline.monitoring.predictions import check_log, served_messages
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
        reference, new: columns `text`, `label`, which may be null, and `source`.
        folder: where both files go.
    """
    comparisons = {
        name: describe_sets(dict(zip(SETS, pair, strict=True)))
        for name, pair in pairs_by_source(reference, new, params.fewest_rows).items()
    }
    checks = compare_sets({name and f"{name}.": sets for name, sets in comparisons.items()}, params)
    lead = f"{len(new):,} new messages against {len(reference):,}: {alarm_verdict(checks)}."
    made = {check.name.rpartition(".")[2] for check in checks}
    if skipped := ", ".join(name for name in DRIFT_CHECKS if name not in made):
        lead += f" Not checked, as there are too few labels, words or campaigns: {skipped}."
    tables: dict[str, PageTable] = {}
    for name, sets in comparisons.items():
        tables |= _page_tables(name, sets, params)
    write_json(folder / "drift.json", alarm_report(checks, len(new)))
    write_html_report(folder / "drift.html", "Drift", lead, checks, tables)
    log.info("drift: %s", lead)
    return checks


def pairs_by_source(
    reference: pd.DataFrame, new: pd.DataFrame, fewest_rows: int
) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """The pairs of tables to compare, by the name of their source.

    A source is compared with itself, if both tables have enough of its messages. The other new
    messages, if they are enough or all, are compared with the whole reference, under the name "".
    """
    known_name, new_name = source_name(reference), source_name(new)
    is_known, is_new = (
        names.map(names.value_counts()).ge(fewest_rows) for names in (known_name, new_name)
    )
    shared = sorted(set(known_name[is_known]) & set(new_name[is_new]))
    pairs = {name: (reference[known_name == name], new[new_name == name]) for name in shared}
    others = new[~new_name.isin(shared)]
    if not pairs or len(others) >= fewest_rows:
        pairs[""] = reference, others
    return pairs


def _page_tables(name: str, sets: DescribedSets, params: Params) -> dict[str, PageTable]:
    """The figures of both sets, and the words whose shares differ most significantly."""
    figures = profile_figures(sets)
    names = [name.removeprefix("new.") for name in figures if name.startswith("new.")]
    rows = [(name, *(figures[f"{part}.{name}"].value for part in SETS)) for name in names]
    shares = [f"share of messages, {part}" for part in SETS]
    words = word_differences(sets, params)[:WORDS_ON_PAGE]
    of_source = f" of {name}" if name else ""
    return {
        f"Both sets{of_source}": (("figure", *SETS), rows),
        f"Words{of_source}": (("word", *shares, "p, corrected for all words"), words),
    }


def _read_set(path: Path, params: Params, source: str | None = None) -> pd.DataFrame:
    """The messages of a file, or of a log of predictions, with or without labels.

    Raises: PipelineError if too few.
    """
    if path.is_dir():
        check_log(path)
        messages, remedy = served_messages(path), "serve more with --keep-text"
    else:
        messages, remedy = readers.read_messages(path, labels=False), "add messages"
    if len(messages) < params.fewest_rows:
        raise PipelineError(
            f"{path}: {len(messages):,} messages, but drift.fewest_rows is "
            f"{params.fewest_rows:,}; {remedy}"
        )
    return messages if source is None else messages.assign(source=source)


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
        "--source", metavar="NAME", help="the source of NEW, such as files; default: as in the file"
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
    new = _read_set(arguments.new, params, arguments.source)
    detect_drift(reference, new, arguments.output, params)
