"""Writes a page of all champions from the ledger: who served when, for how long, and why."""

import itertools
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pipeline.core.cli import argument_parser
from pipeline.core.errors import clean_line
from pipeline.core.files import write_text
from pipeline.registry.ledger import (
    BEGIN_ANEW,
    PROMOTION_VERDICTS,
    LedgerEntry,
    champion_entry,
    read_entries,
)
from pipeline.registry.pages.answers import HASH_DIGITS
from pipeline.registry.pages.wording import figure_label, interval_text, number_text
from pipeline.validation.html_page import page_environment, render_page

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline history"
HISTORY_FILE = Path("reports/history.html")
BY_A_PERSON = ("forced", "rollback", BEGIN_ANEW)  # verdicts that stand out on the page
FIGURES_SHOWN = 3  # of an entry, the criteria first
HISTORY_BODY = """<main>
{% if terms %}
<div class="scroll" role="region" tabindex="0" aria-label="Champions">
<table>
<thead><tr><th>From (UTC)</th><th>Served</th><th>Version</th><th>Why</th><th>Who</th>
<th>Figures (95 % interval)</th></tr></thead>
<tbody>
{% for term in terms %}
<tr>
<td>{{ term.start }}</td><td>{{ term.duration }}</td>
<td>{{ term.version }}<br><span class="muted">{{ term.model }}</span></td>
<td><i{% if term.by_a_person %} class="text-warning"{% endif %}>
{{- "⚠ " if term.by_a_person }}{{ term.verdict }}</i><br>{{ term.reason }}</td>
<td>{{ term.actor }}</td>
<td>{% for figure in term.figures %}{{ figure }}<br>{% endfor %}</td>
</tr>
{% endfor %}
</tbody></table></div>
{% endif %}
</main>
"""
HISTORY_STYLE = """
td:nth-child(4) { min-width: 11rem }
td:last-child { min-width: 13rem; overflow-wrap: normal }
"""


class Term(NamedTuple):
    """The time that a champion served, or that none did, as the page shows it."""

    start: str  # UTC, to the minute
    duration: str
    version: str
    model: str  # the first digits of its hash
    verdict: str
    by_a_person: bool
    reason: str
    actor: str
    figures: Sequence[str]


def history_terms(entries: Sequence[LedgerEntry]) -> list[Term]:
    """A term for each entry, the newest first. Args: entries: by time."""
    ends: list[LedgerEntry | None] = [*entries, None][1:]
    pairs = list(zip(entries, ends, strict=True))
    return [_term(entry, end) for entry, end in reversed(pairs)]


def _term(entry: LedgerEntry, end: LedgerEntry | None) -> Term:
    serves = entry.verdict in PROMOTION_VERDICTS
    still = "in service" if serves else "until now"
    figures = itertools.islice(entry.figures.items(), FIGURES_SHOWN if serves else 0)
    return Term(
        start=f"{_utc(entry.time):%Y-%m-%d %H:%M}",
        duration=duration_text(entry.time, end.time) if end else still,
        version=entry.version if serves else "none",
        model=entry.model_hash[:HASH_DIGITS] if serves else "",
        verdict=entry.verdict,
        by_a_person=entry.verdict in BY_A_PERSON,
        reason=clean_line(entry.reason),
        actor=clean_line(entry.actor),
        figures=[
            f"{figure_label(name)} {number_text(name, figure['value'])}"
            + (f" ({interval})" if (interval := interval_text(name, figure)) else "")
            for name, figure in figures
        ],
    )


def duration_text(start: str, end: str) -> str:
    """`12 days`, or `5 hours` below two days, or `7 minutes` below two hours."""
    seconds = (_utc(end) - _utc(start)).total_seconds()
    for unit, length in (("days", 86_400), ("hours", 3_600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 60:.0f} minutes"


def _utc(time: str) -> datetime:
    return datetime.fromisoformat(time).astimezone(UTC)


def history_page(entries: Sequence[LedgerEntry]) -> str:
    """The page as HTML, which needs no network and runs no script."""
    body = page_environment().from_string(HISTORY_BODY).render(terms=history_terms(entries))
    return render_page("Champions", _history_lead(entries), body, HISTORY_STYLE)


def _history_lead(entries: Sequence[LedgerEntry]) -> str:
    if not entries:
        return "No model has been promoted yet."
    champion = champion_entry(entries)
    changes = f"{len(entries)} change{'s' if len(entries) > 1 else ''}"
    if champion is None:
        return f"There is no champion now, after {changes}."
    since = f"{_utc(champion.time):%Y-%m-%d}"
    return f"Version {champion.version} is the champion since {since}, after {changes}."


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument(
        "--output",
        type=Path,
        default=HISTORY_FILE,
        metavar="FILE",
        help=f"default: {HISTORY_FILE}",
    )
    output = parser.parse_args(argv).output
    entries = read_entries()
    write_text(output, history_page(entries))
    log.info("history: %s: %s", output, _history_lead(entries))
