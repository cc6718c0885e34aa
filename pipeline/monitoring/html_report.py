"""Writes the checks of a command as an HTML page for a person."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.files import write_text
from pipeline.monitoring.checks import Check
from pipeline.validation.html_page import page_environment, render_page

PageTable = tuple[Sequence[str], Sequence[Sequence[Any]]]  # columns, rows

REPORT_BODY = """<div class="scroll" role="region" tabindex="0" aria-label="Checks">
<table>
<tr><th>Status</th><th>Check</th><th>Result</th><th>Effect (95 % interval)</th>
<th>p, corrected</th></tr>
{% for check in checks %}
<tr>
<td><i class="{{ 'text-danger' if check.alarm else 'text-success' }}">
{{- "✗" if check.alarm else "✓" }}</i></td>
<td>{{ check.name }}</td>
<td>{{ check.sentence }}</td>
<td>{{ check.effect|cell }}
{% if check.low is not none %}({{ check.low|cell }} to {{ check.high|cell }}){% endif %}
<br>{{ check.measure }}{{ "" if check.matters else ", too small to matter" }}</td>
<td>{{ check.corrected|cell }}</td>
</tr>
{% endfor %}
</table></div>
{% for heading, (columns, rows) in tables.items() %}
<h2>{{ heading }}</h2>
<div class="scroll" role="region" tabindex="0" aria-label="{{ heading }}">
<table>
<tr>{% for column in columns %}<th>{{ column }}</th>{% endfor %}</tr>
{% for row in rows %}
<tr>{% for value in row %}<td>{{ value|cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% endfor %}
"""


def write_html_report(
    path: Path, title: str, lead: str, checks: Sequence[Check], tables: Mapping[str, PageTable]
) -> None:
    """Writes one page that needs no network and runs no script. All texts are escaped.

    Args:
        checks: as `decide_alarms` returns them.
        tables: shown below the checks, by heading.

    Raises: PipelineError.
    """
    environment = page_environment()
    environment.filters["cell"] = _format_cell
    body = environment.from_string(REPORT_BODY).render(checks=checks, tables=tables)
    write_text(path, render_page(title, lead, body))


def _format_cell(value: Any) -> Any:
    """Counts with commas, fractions with three significant digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) else value
