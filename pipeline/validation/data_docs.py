"""Writes Data Docs: pages that show each expectation and its result."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from great_expectations.core import expectationSuiteValidationResultSchema
from great_expectations.render.renderer.content_block import (
    ValidationResultsTableContentBlockRenderer,
)
from great_expectations.render.view import DefaultJinjaPageView

from pipeline.core.files import atomic_path, write_text
from pipeline.validation.html_page import page_environment, render_page

DATA_DOCS_STYLE = """
td:first-child, th:first-child { width: 3.5rem }
.table th:last-child { width: 30% }
.badge { background: #eef2f6; border-radius: 4px; padding: 0 .3rem }
.text-danger br:first-child { display: none }
.fa-check-circle::before { content: "\\2713" }
.fa-times::before { content: "\\2717" }
.fa-exclamation-triangle::before { content: "\\26a0" }
"""
INDEX = """<table>
<tr><th>Status</th><th>Step</th><th>Passed</th><th>What it checks</th></tr>
{% for name, about in steps.items() %}
<tr>
{% if name in results %}
{% set result = results[name] %}
<td><i class="{{ icons[worst(result)] }}"></i></td>
<td><a href="{{ name }}.html">{{ name }}</a></td>
<td>{{ passed(result) }}</td>
<td>{{ about }}
{% for one in result.results if not one.success %}
<br><strong class="{{ icons[severity(one)].split()[-1] }}">
{{- one.expectation_config.description }}</strong>
{% endfor %}
{% if broken_rows(result) %}
<br><a href="{{ name }}.html#rows">{{ counted(result) }}</a>
{% endif %}</td>
{% else %}
<td></td><td>{{ name }}</td><td>not run</td><td>{{ about }}</td>
{% endif %}
</tr>
{% endfor %}
</table>
"""
ROWS = """<h2 id="rows">{{ counted(result) }}</h2>
<p>Rows are numbered from 0, in the order of ingest. <code>python -m pipeline review</code> lists
the rows in quarantine with their source and the start of their text, which these pages leave
out.</p>
<table>
<tr><th>Rows</th><th>Expectation</th><th>Numbers</th></tr>
{% for one, numbers in broken %}
<tr><td>{{ "{:,}".format(numbers|length) }}</td>
<td>{{ one.expectation_config.description }}</td>
<td>{{ numbers[:most]|join(", ") }}{{ " and more" if numbers|length > most else "" }}</td></tr>
{% endfor %}
</table>
"""
MOST_NUMBERS = 20  # of the rows that break an expectation
STEP = '{{ table | render_content_block(content_block_id="result") | safe }}'
STATUS_ICONS = {  # CSS classes, as in Great Expectations' own tables
    "passed": "fa-check-circle text-success",
    "warning": "fa-exclamation-triangle text-warning",
    "critical": "fa-times text-danger",
}


def write_data_docs(folder: Path, steps: Mapping[str, str], results: Mapping[str, Any]) -> None:
    """Writes index.html and one page for each step that ran. Equal results give equal bytes.

    Args:
        folder: is replaced.
        steps: what each step checks, by its name.
        results: the suite result of Great Expectations, by step that ran.

    Raises: PipelineError.
    """
    index = page_environment().from_string(INDEX)
    functions: dict[str, Callable[[Any], Any]] = {
        "worst": _worst,
        "severity": _severity,
        "passed": _passed,
        "broken_rows": _broken_rows,
        "counted": _counted,
    }
    body = index.render(steps=steps, results=results, icons=STATUS_ICONS, **functions)
    pages = {"index": render_page("Data Docs", _lead(results), body, DATA_DOCS_STYLE)}
    for name, result in results.items():
        body = _step_table(result) + _row_table(result)
        pages[name] = render_page(name, steps[name], body, DATA_DOCS_STYLE, parent="Data Docs")
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for name, page in pages.items():
            write_text(temporary / f"{name}.html", page)


def _severity(result: Any) -> str:
    """`critical` or `warning`."""
    severity = result.expectation_config.severity
    return str(getattr(severity, "value", severity))


def _worst(result: Any) -> str:
    """The worst outcome in a step: `critical`, `warning` or `passed`."""
    severities = {_severity(one) for one in result.results if not one.success}
    return next((one for one in ("critical", "warning") if one in severities), "passed")


def _passed(result: Any) -> str:
    """Such as `4 of 5`."""
    statistics = result.statistics
    return f"{statistics['successful_expectations']} of {statistics['evaluated_expectations']}"


def _broken_rows(result: Any) -> list[tuple[Any, list[int]]]:
    """The expectations in a step that rows break, each with the numbers of the rows."""
    found = [(one, sorted(one.result.get("unexpected_index_list") or [])) for one in result.results]
    return [(one, numbers) for one, numbers in found if numbers]


def _counted(result: Any) -> str:
    """Such as `5 of 90 rows break an expectation`."""
    broken = _broken_rows(result)
    rows = {number for _, numbers in broken for number in numbers}
    checked = max((one.result["element_count"] for one, _ in broken), default=0)
    return f"{len(rows):,} of {checked:,} rows break an expectation"


def _row_table(result: Any) -> str:
    """The numbers of the rows that break an expectation, as HTML; empty if there are none."""
    broken = _broken_rows(result)
    if not broken:
        return ""
    template = page_environment().from_string(ROWS)
    return template.render(result=result, broken=broken, most=MOST_NUMBERS, counted=_counted)


def _lead(results: Mapping[str, Any]) -> str:
    worst = {name: _worst(result) for name, result in results.items()}
    stopped = [name for name, status in worst.items() if status == "critical"]
    warned = [name for name, status in worst.items() if status == "warning"]
    if stopped:
        return f"Stopped by {', '.join(stopped)}."
    if warned:
        return f"All steps passed, with warnings in {', '.join(warned)}."
    return "All steps passed."


def _step_table(result: Any) -> str:
    """Great Expectations' own table of the results in one step, as HTML."""
    # read back from JSON, as NumPy numbers would be shown as `--`
    plain = expectationSuiteValidationResultSchema.loads(str(result))
    rendered = ValidationResultsTableContentBlockRenderer.render(plain.results)
    table = _without_collapsibles(rendered.to_json_dict())
    return str(DefaultJinjaPageView().env.from_string(STEP).render(table=table))


def _without_collapsibles(content: Any) -> Any:
    """The content without tracebacks, which need a script to open."""
    if isinstance(content, dict):
        return {key: _without_collapsibles(value) for key, value in content.items()}
    if isinstance(content, list):
        return [
            _without_collapsibles(block)
            for block in content
            if not (isinstance(block, dict) and block.get("content_block_type") == "collapse")
        ]
    return content
