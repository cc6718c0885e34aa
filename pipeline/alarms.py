"""What a comparison of two sets of messages found: checks, corrected for their number, and two reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2

from pipeline import stage

Table = tuple[Sequence[str], Sequence[Sequence[Any]]]  # columns, rows


@dataclass(frozen=True)
class Check:
    """One question asked of two sets of messages, with its answer."""

    name: str  # `label_share`
    measure: str  # what the effect is: "difference of shares", "Kolmogorov-Smirnov distance", "AUC"
    effect: float
    low: float | None  # 95 % interval of the effect
    high: float | None
    p_value: float  # before judge corrects it
    sentence: str  # for a person, with both values: "spam share 24.1 % against 12.4 %"
    matters: bool = True  # whether the effect is large enough to care for, whatever p says
    n: int | None = None  # rows behind it
    corrected: float | None = None  # p among all checks; set by judge
    alarm: bool = False  # set by judge


def judge(checks: Sequence[Check], alpha: float) -> list[Check]:
    """The checks with their corrected p, and alarm where it is below alpha and the effect matters.

    alpha: the chance that any of them alarms where nothing has changed, in (0, 1).
    """
    corrected = holm([check.p_value for check in checks])
    return [
        replace(check, corrected=p, alarm=check.matters and p < alpha)
        for check, p in zip(checks, corrected, strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p as it counts beside the others, at most 1; holds however the tests depend on one another.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    corrected, floor = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = floor
    return corrected


def verdict(checks: Sequence[Check]) -> str:
    """One line: which of the judged checks alarm."""
    if alarming := [check for check in checks if check.alarm]:
        found = "; ".join(f"{check.name} (p {check.corrected:.1g}): {check.sentence}" for check in alarming)
        return f"alarm: {found}"
    return f"no alarm from {len(checks)} checks"


# ---- the reports


def write_json(path: Path, rows: int, checks: Sequence[Check]) -> None:
    """The report for programs: the schema of every stage's, with `alarm` and the checks that raise it.

    rows: those of the new set.
    """
    figures = {
        check.name: {key: _rounded(value) for key, value in _figure(check).items() if value is not None}
        for check in checks
    }
    alarms = {check.name: _short(check.corrected) for check in checks if check.alarm}
    report = {"rows": rows, "figures": figures, "verdict": verdict(checks)}
    stage.write_json(path, report | {"alarm": bool(alarms), "alarms": alarms})


def _figure(check: Check) -> dict[str, float | int | None]:
    return {"value": check.effect, "low": check.low, "high": check.high, "n": check.n}


def _rounded(value: float | int) -> float | int:
    return value if isinstance(value, int) else round(float(value), stage.DECIMALS) + 0.0


def _short(p_value: float | None) -> float | None:
    """A p-value of two digits that count, as the smallest ones would all round to 0."""
    return None if p_value is None else float(f"{p_value:.1e}")


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
    path: Path, title: str, lead: str, checks: Sequence[Check], tables: Mapping[str, Table] | None = None
) -> None:
    """The report for a person: one page that needs no network and runs no script; texts are escaped.

    checks: judged ones; tables: what else there is to see, by its heading.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["number"] = _shown
    page = environment.from_string(PAGE).render(
        title=title, lead=lead, checks=checks, tables=tables or {}, style=STYLE
    )
    stage.write_text(path, page)


def _shown(cell: Any) -> Any:
    """A cell as a person reads it: fractions of three digits that count, counts with commas, else as is."""
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:.3g}" if isinstance(cell, float) else "" if cell is None else cell
