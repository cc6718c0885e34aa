"""Writes a monitoring report as one HTML page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from pipeline.core.files import write_text
from pipeline.monitoring.checks import Check

Table = tuple[Sequence[str], Sequence[Sequence[Any]]]  # columns, rows


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; margin: 2rem max(1rem, 50% - 31rem) }
h1 { font-size: 1.6rem; margin: .2rem 0 }
h2 { font-size: 1.15rem; margin: 1.6rem 0 .3rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .45rem .7rem; border-bottom: 1px solid #dde3e9 }
th { font-size: .8rem; color: #5a6773; font-weight: 600 }
td:last-child { overflow-wrap: anywhere }
.success { color: #1a7f37 }
.danger { color: #b42318 }
i { font-style: normal; font-weight: 700 }
tr:has(.danger) { background: #fdf1f0 }
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ style|safe }}</style>
</head>
<body>
<h1>{{ title }}</h1>
<p>{{ lead }}</p>
<table>
<tr><th>Status</th><th>Check</th><th>What it found</th><th>Effect (95 % interval)</th>
<th>p, corrected</th></tr>
{% for check in checks %}
<tr>
<td><i class="{{ 'danger' if check.alarm else 'success' }}">{{ "✗" if check.alarm else "✓" }}</i></td>
<td>{{ check.name }}</td>
<td>{{ check.sentence }}</td>
<td>{{ check.effect|number }}
{% if check.low is not none %}({{ check.low|number }} to {{ check.high|number }}){% endif %}
<br>{{ check.measure }}{{ "" if check.matters else ", too small to matter" }}</td>
<td>{{ check.corrected|number }}</td>
</tr>
{% endfor %}
</table>
{% for heading, (columns, rows) in tables.items() %}
<h2>{{ heading }}</h2>
<table>
<tr>{% for column in columns %}<th>{{ column }}</th>{% endfor %}</tr>
{% for row in rows %}
<tr>{% for cell in row %}<td>{{ cell|number }}</td>{% endfor %}</tr>
{% endfor %}
</table>
{% endfor %}
</body>
</html>
"""


def write_html(
    path: Path,
    title: str,
    lead: str,
    checks: Sequence[Check],
    tables: Mapping[str, Table] | None = None,
) -> None:
    """The report for a person: one page that needs no network and runs no script; texts are escaped.

    checks: judged ones; tables: what else there is to see, by its heading.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["number"] = _shown
    page = environment.from_string(PAGE).render(
        title=title, lead=lead, checks=checks, tables=tables or {}, style=STYLE
    )
    write_text(path, page)


def _shown(cell: Any) -> Any:
    """A cell as a person reads it: fractions of three digits that count, counts with commas, else as is."""
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:.3g}" if isinstance(cell, float) else "" if cell is None else cell
