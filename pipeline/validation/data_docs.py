"""Data Docs: what the guard asked and found, as pages that need no network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from great_expectations.core import expectationSuiteValidationResultSchema
from great_expectations.render.renderer.content_block import (
    ValidationResultsTableContentBlockRenderer,
)
from great_expectations.render.view import DefaultJinjaPageView

from pipeline.core.files import atomic_path, write_text

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; margin: 2rem max(1rem, 50% - 31rem) }
h1 { font-size: 1.6rem; margin: .2rem 0 }
a { color: #0b5cad }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .45rem .7rem; border-bottom: 1px solid #dde3e9 }
th { font-size: .8rem; color: #5a6773; font-weight: 600 }
td:first-child, th:first-child { width: 3.5rem }
td:last-child { overflow-wrap: anywhere }
.table th:last-child { width: 30% }
.badge { background: #eef2f6; border-radius: 4px; padding: 0 .3rem }
.text-success { color: #1a7f37 }
.text-danger { color: #b42318 }
.text-warning { color: #9a6700 }
.text-danger br:first-child { display: none }
i { font-style: normal; font-weight: 700 }
.fa-check-circle::before { content: "\\2713" }
.fa-times::before { content: "\\2717" }
.fa-exclamation-triangle::before { content: "\\26a0" }
tr:has(.fa-times, .fa-exclamation-triangle) { background: #fdf1f0 }
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
{% if table %}<a href="index.html">Data Docs</a>{% endif %}
<h1>{{ title }}</h1>
<p>{{ lead }}</p>
{% if steps %}
<table>
<tr><th>Status</th><th>Step</th><th>Held</th><th>What it asks</th></tr>
{% for name, asks in steps.items() %}
<tr>
{% if name in results %}
{% set found = results[name] %}
<td><i class="{{ icons[status(found)] }}"></i></td>
<td><a href="{{ name }}.html">{{ name }}</a></td>
<td>{{ found.statistics.successful_expectations }} of {{ found.statistics.evaluated_expectations }}</td>
<td>{{ asks }}
{% for one in found.results if not one.success %}
<br><strong class="{{ icons[severity(one)].split()[-1] }}">{{ one.expectation_config.description }}</strong>
{% endfor %}</td>
{% else %}
<td></td><td>{{ name }}</td><td>not asked</td><td>{{ asks }}</td>
{% endif %}
</tr>
{% endfor %}
</table>
{% endif %}
{{ table | render_content_block(content_block_id="found") | safe if table }}
</body>
</html>
"""
ICONS = {
    "held": "fa-check-circle text-success",
    "warning": "fa-exclamation-triangle text-warning",
    "critical": "fa-times text-danger",
}


def write(folder: Path, steps: Mapping[str, str], results: Mapping[str, Any]) -> None:
    """Writes index.html and a page for each step that was asked; equal findings, equal bytes.

    steps: what each asks; results: what Great Expectations found.
    """
    page = DefaultJinjaPageView().env.from_string(PAGE, {"style": STYLE})
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        lead = _lead({name: _status(result) for name, result in results.items()})
        tools = {"icons": ICONS, "status": _status, "severity": _severity}
        index = page.render(title="Data Docs", lead=lead, steps=steps, results=results, **tools)
        write_text(temporary / "index.html", index)
        for name, result in results.items():
            step = page.render(title=name, lead=steps[name], table=_table(result))
            write_text(temporary / f"{name}.html", step)


def _severity(result: Any) -> str:
    """`critical` or `warning`."""
    return str(
        getattr(result.expectation_config.severity, "value", result.expectation_config.severity)
    )


def _status(result: Any) -> str:
    """The worst that one step found: `held`, `warning` or `critical`."""
    return min((_severity(one) for one in result.results if not one.success), default="held")


def _lead(statuses: Mapping[str, str]) -> str:
    stopped, warned = (
        [n for n, s in statuses.items() if s == of] for of in ("critical", "warning")
    )
    if stopped:
        return f"Stopped by {', '.join(stopped)}."
    return (
        f"Every step held, with a warning of {', '.join(warned)}." if warned else "Every step held."
    )


def _table(result: Any) -> Any:
    """Great Expectations' own rendering of what one step found."""
    plain = expectationSuiteValidationResultSchema.loads(
        str(result)
    )  # NumPy's numbers it shows as `--`
    rendered = ValidationResultsTableContentBlockRenderer.render(plain.results)
    return _without_collapsibles(rendered.to_json_dict())  # tracebacks, which a script opens


def _without_collapsibles(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_collapsibles(value) for key, value in content.items()}
    if isinstance(content, list):
        return [
            _without_collapsibles(block)
            for block in content
            if not (isinstance(block, dict) and block.get("content_block_type") == "collapse")
        ]
    return content
