"""Shows the rows in quarantine, explains the expectations, or suggests params for your data.

Without an option it lists the rows in FILE (default: data/review/quarantine.parquet), the rarest
reasons first. With --explain it prints each expectation as a sentence. With --propose it prints a
section `validate` of params.yaml that the labelled messages in FILE (default:
data/ingested/messages.parquet) fulfil.
"""

import math
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.cli import argument_parser
from pipeline.core.errors import PipelineError, escape
from pipeline.core.params import read_params
from pipeline.core.schemas import QUARANTINE
from pipeline.core.tables import read_parquet
from pipeline.sources import catalogue, readers
from pipeline.sources.encodings import other_encoding
from pipeline.sources.fetch import INBOX_PATH
from pipeline.validation.expectations import (
    EXPECTATIONS,
    STEPS,
    SUITES,
    Params,
    build_expectation,
    format_number,
    format_share,
    names_in,
    possible_warnings,
    row_level_names,
)
from pipeline.validation.problems import ENCODING_EXPECTATIONS, REMEDIES, describe_problem
from pipeline.validation.runner import Findings, run_suite

EXAMPLE = "python -m pipeline review --propose data/inbox/messages.csv"
INGESTED_FILE = Path("data/ingested/messages.parquet")
QUARANTINE_FILE = Path("data/review/quarantine.parquet")
TEXT_WIDTH = 60  # characters shown of a text in quarantine


# ---- --explain


def explain(params: Params) -> str:
    """Every suite as lines of text: its steps, what each expects, and what a breach does."""
    lines: list[str] = []
    for suite, steps in SUITES.items():
        lines.append(f"{suite}:")
        for step in steps:
            lines.append(f"  {STEPS[step].partition('. ')[0]}:")
            lines += [f"    - {_sentence(name, params, suite)}" for name in names_in(step)]
    return "\n".join(lines)


def _sentence(name: str, params: Params, suite: str) -> str:
    claim = build_expectation(name, params).description.partition(", for at least")[0]
    budget = params.budget(name)
    if name in params.warnings:
        return f"{claim}; otherwise there is a warning."
    if suite == "scoring":
        return f"{claim}; otherwise the message gets no label."
    if budget is None:
        return f"{claim}; otherwise the run stops."
    limit = f"more than {format_share(budget)} of the rows stop the run"
    return f"{claim}; otherwise the row goes to quarantine, and {limit}."


# ---- the rows in quarantine


def list_quarantine(quarantined: pd.DataFrame) -> str:
    """A line for each row of QUARANTINE, the rarest reasons first; a count of each reason; a hint.

    The columns are message_id, source, row, reasons and the start of the text, with tabs between.
    """
    counts = Counter(quarantined["reasons"])
    rows = sorted(
        quarantined.to_dict("records"), key=lambda row: (counts[row["reasons"]], row["reasons"])
    )
    lines = [
        f"{row['message_id']}\t{row['source']}\t{row['row']}\t{row['reasons']}\t"
        f"{_one_line(row['text'])}"
        for row in rows
    ]
    lines += [f"{count:,} rows: {reasons}" for reasons, count in reversed(counts.most_common())]
    lines.append(
        f"{len(quarantined):,} rows in quarantine; to decide about one, add a line "
        "`message_id,release,why` or `message_id,ban,why` to data/reviewed.csv"
    )
    return "\n".join(lines)


def _one_line(text: object) -> str:
    """The start of a text, printable and on one line."""
    if not isinstance(text, str):
        return "(null)"
    start = " ".join(text[: 4 * TEXT_WIDTH].split())
    printable = "".join(c if c.isprintable() else "\ufffd" for c in start)
    return printable if len(printable) <= TEXT_WIDTH else f"{printable[: TEXT_WIDTH - 1]}…"


# ---- --propose


def propose_params(messages: pd.DataFrame, place: Path) -> str:
    """Section `validate` of params.yaml, as text, that these messages fulfil.

    Args:
        messages: columns MESSAGES.
        place: the file that an error names.

    Raises: PipelineError if no bounds let the messages through.
    """
    lengths = [len(text) for text in messages.get("text", []) if isinstance(text, str)]
    longest = max(lengths, default=1)
    widest = Params(
        row_count=(0, sys.maxsize),
        spam_share=(0, 1),
        text_length=(1, max(1, int(_scale(longest, 2, math.ceil)))),
        median_length=(0, sys.maxsize),
        received_years=(1992, 2100),
        warnings=[],
        budgets={name: _widest_budget(name) for name in row_level_names()},
    )
    findings = run_suite(messages, widest)
    if findings.broken:
        lines = [
            f"{place}: {name}: {describe_problem(name, result)}; "
            f"{_way_out(name, result, messages, place)}"
            for name, result in findings.broken.items()
        ]
        raise PipelineError(*lines)
    return "\n".join(["validate:", *_bound_lines(findings, widest), *_budget_lines(findings)])


def _widest_budget(name: str) -> float:
    entry = EXPECTATIONS[name]
    return entry.default_budget or 0.0 if entry.fixed_budget else 1.0


def _way_out(name: str, result: Any, messages: pd.DataFrame, place: Path) -> str:
    """What to do about data that no proposal lets through."""
    if name in ENCODING_EXPECTATIONS:
        source = messages.loc[result.result["unexpected_index_list"][0], "source"]
        is_ingested = source != escape(place.name)
        file = INBOX_PATH / source.removeprefix("files/") if is_ingested else place
        used = read_params(catalogue.Params, "ingest").files.encoding
        if encoding := other_encoding(file, used):
            return f"set ingest.files.encoding to {encoding}, in which all of {file} can be read"
    if name in REMEDIES:
        return f"{REMEDIES[name]}, or correct the data"
    return "no bounds allow this data; correct the data"


def _bound_lines(findings: Findings, widest: Params) -> list[str]:
    rows, lengths = len(findings.kept), findings.kept["text"].str.len()
    spam, median = (findings.kept["label"] == "spam").mean(), lengths.median()
    entries = {
        "row_count": (_around(rows, 10), f"valid messages; here {rows:,}"),
        "spam_share": (
            _around(spam, 2, maximum=1),
            f"of the valid messages; here {format_share(spam)}",
        ),
        "text_length": (widest.text_length, f"characters; here {lengths.min()} to {lengths.max()}"),
        "median_length": (_around(median, 2), f"characters; here {format_number(median)}"),
        "received_years": (widest.received_years, "the first SMS was sent in 1992"),
    }
    lines = [f"  {name}: {list(bounds)}  # {why}" for name, (bounds, why) in entries.items()]
    return [*lines, f"  warnings: []  # these may be warnings: {', '.join(possible_warnings())}"]


def _budget_lines(findings: Findings) -> list[str]:
    lines = ["  budgets:  # share of rows that may go to quarantine, in [0, 1]"]
    for name, breaches in findings.breaches.items():
        share = (breaches.value or 0) / (breaches.n or 1)
        default = EXPECTATIONS[name].default_budget or 0.0
        budget = min(_widest_budget(name), max(default, _scale(share, 1.5, math.ceil)))
        here = f"here {breaches.value:,} of {breaches.n:,} rows break it"
        lines.append(f"    {name}: {budget:g}  # {here}")
    return lines


def _around(value: float, factor: float, maximum: float = sys.maxsize) -> tuple[float, float]:
    """Bounds `factor` below and above a value, rounded outward to two digits; int for int."""
    low = _scale(value, 1 / factor, math.floor)
    high = min(maximum, _scale(value, factor, math.ceil))
    return (int(low), int(high)) if isinstance(value, int) else (low, high)


def _scale(value: float, factor: float, rounding: Callable[[float], int]) -> float:
    """The product, rounded to two digits by `rounding`."""
    if not value:
        return 0.0
    unit: float = 10.0 ** (math.floor(math.log10(factor * value)) - 1)
    return round(float(rounding(factor * value / unit)) * unit, 12)


# ---- the command


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argument_parser(__doc__, EXAMPLE)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--explain", action="store_true", help="print the expectations")
    choice.add_argument("--propose", action="store_true", help="print params that FILE fulfils")
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="a quarantine file; with --propose, any file of messages that ingest can read",
    )
    arguments = parser.parse_args(argv)
    if arguments.explain:
        print(explain(read_params(Params, "validate")))
    elif arguments.propose:
        file = arguments.file or INGESTED_FILE
        print(propose_params(readers.read_messages(file), file))
    else:
        table = read_parquet(arguments.file or QUARANTINE_FILE, QUARANTINE.names)
        print(list_quarantine(table.to_pandas()))
