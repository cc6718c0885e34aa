"""Answers what a person asks of the guard: what it expects, what it refused, which bounds data keeps to."""

import math
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.cli import argument_parser
from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params
from pipeline.core.schemas import QUARANTINE
from pipeline.core.tables import read_parquet
from pipeline.sources import readers
from pipeline.validation import expectations, runner
from pipeline.validation.expectations import Params
from pipeline.validation.runner import Findings

INGESTED = Path("data/ingested/messages.parquet")  # the default file of --propose
QUARANTINED = Path("data/review/quarantine.parquet")  # the default file to review
EXAMPLE = "python -m pipeline review --propose data/ingested/messages.parquet"
SHOWN = 60  # characters of a refused text
DECIDE = (
    "a line `message_id,release,why` or `message_id,ban,why` in data/reviewed.csv decides about one"
)


# ---- --explain


def explain(params: Params) -> str:
    """Every suite as sentences: its steps, what each asks, and what becomes of what does not hold."""
    lines = list[str]()
    for suite, steps in expectations.SUITES.items():
        lines += [f"{suite}:"]
        for step in steps:
            lines += [f"  {expectations.STEPS[step].partition('. ')[0]}:"]
            lines += [
                f"    - {_sentence(name, params, suite)}" for name in expectations.names_of(step)
            ]
    return "\n".join(lines)


def _sentence(name: str, params: Params, suite: str) -> str:
    asked = expectations.expectation(name, params)
    claim = asked.description.partition(", for at least")[0]
    if name in params.warnings:
        return f"{claim}. Warning: it is reported."
    if suite == "scoring":
        return f"{claim}, or it gets no label."
    if name in expectations.row_level():
        most = expectations.percent(params.budgets[name])
        return f"{claim}, or the row goes to quarantine; above {most} of the rows, the run stops."
    return f"{claim}, or the run stops."


# ---- --review


def review(refused: pd.DataFrame) -> str:
    """The refused rows, a line each, the rarest reasons first; a count of each reason; what one may do."""
    counts = Counter(refused["reasons"])
    rows = sorted(
        refused.to_dict("records"), key=lambda row: (counts[row["reasons"]], row["reasons"])
    )
    return "\n".join(
        [
            *(
                f"{r['message_id']}\t{r['source']}\t{r['row']}\t{r['reasons']}\t{_shown(r['text'])}"
                for r in rows
            ),
            *(f"{n:,} rows: {reasons}" for reasons, n in reversed(counts.most_common())),
            f"{len(refused):,} rows in quarantine; {DECIDE}",
        ]
    )


def _shown(value: Any) -> str:
    """The start of a text as one printable line."""
    if not isinstance(value, str):
        return "(null)"
    shown = "".join(
        c if c.isprintable() else "\ufffd" for c in " ".join(value[: 4 * SHOWN].split())
    )
    return shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 1]}…"


# ---- --propose: bounds for a stranger's data


def propose(messages: pd.DataFrame, place: Path) -> str:
    """Section `validate` of params.yaml that this data keeps to, to be judged. Raises: PipelineError."""
    longest = max((len(t) for t in messages.get("text", []) if isinstance(t, str)), default=1)
    wide = Params(
        row_count=(0, sys.maxsize),
        spam_share=(0, 1),
        text_length=(1, max(1, int(_outward(2, longest, math.ceil)))),
        median_length=(0, sys.maxsize),
        received_years=(1992, 2100),
        warnings=[],
        budgets=dict.fromkeys(expectations.row_level(), 1.0),
    )
    findings = runner.inspect(messages, wide)
    if findings.broken:
        raise PipelineError(
            f"{place}: {', '.join(findings.broken)}: broken within any bounds; mend the data"
        )
    return _section(findings, wide)


def _section(findings: Findings, wide: Params) -> str:
    rows, lengths = len(findings.kept), findings.kept["text"].str.len()
    spam, median = (findings.kept["label"] == "spam").mean(), lengths.median()
    lines = {
        "row_count": (
            _around(rows, 10),
            f"messages that hold, at least and at most; here {rows:,}",
        ),
        "spam_share": (
            _around(spam, 2, most=1),
            f"of the messages that hold; here {expectations.percent(spam)}",
        ),
        "text_length": (wide.text_length, f"characters; here {lengths.min()} to {lengths.max()}"),
        "median_length": (_around(median, 2), f"characters; here {expectations.number(median)}"),
        "received_years": (wide.received_years, "first and last; the first SMS was sent in 1992"),
        "warnings": (
            wide.warnings,
            f"that stop nothing; any of {', '.join(expectations.may_warn())}",
        ),
    }
    section = [
        "validate:",
        *(f"  {name}: {list(value)}  # {why}" for name, (value, why) in lines.items()),
    ]
    section.append("  budgets:  # share of rows that may go to quarantine, from 0 to 1")
    for name, found in findings.breaches.items():
        share = (found.value or 0) / (found.n or 1)
        budget = min(1.0, max(0.01, _outward(1.5, share, math.ceil)))
        section.append(
            f"    {name}: {budget:g}  # here {found.value:,} of {found.n:,} rows break it"
        )
    return "\n".join(section)


def _around(value: float, factor: float, most: float = sys.maxsize) -> tuple[float, float]:
    """Bounds `factor` below and above a value, rounded outward to two digits; whole for whole values."""
    low, high = (
        _outward(1 / factor, value, math.floor),
        min(most, _outward(factor, value, math.ceil)),
    )
    return (int(low), int(high)) if isinstance(value, int) else (low, high)


def _outward(factor: float, value: float, rounding: Callable[[float], int]) -> float:
    if not value:
        return 0.0
    digit: int = math.floor(math.log10(factor * value)) - 1
    return round(float(rounding(factor * value / 10.0**digit)) * 10.0**digit, 12)


# ---- the command


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--explain", action="store_true", help="describe the expectations")
    choice.add_argument(
        "--propose",
        action="store_true",
        help="print a `validate` section of params.yaml that fits FILE",
    )
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE")
    arguments = parser.parse_args(argv)
    if arguments.explain:
        print(explain(read_params(Params, "validate")))
    elif arguments.propose:
        file = arguments.file or INGESTED
        print(propose(readers.read_messages(file), file))
    else:
        print(review(read_parquet(arguments.file or QUARANTINED, QUARANTINE.names).to_pandas()))
