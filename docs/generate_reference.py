"""Writes the pages of docs/reference from the code: `python -m docs.generate_reference`.

Stages come from dvc.yaml, params from the `Params` classes and params.yaml, commands from `--help`,
reports from the registries and core/schemas.py, errors from the calls of `PipelineError` and from
the bad inputs that the tests try.
"""

import ast
import contextlib
import importlib
import inspect
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import pyarrow as pa
import pydantic

from pipeline.__main__ import COMMANDS
from pipeline.__main__ import main as run_pipeline_command
from pipeline.core import schemas
from pipeline.core.params import read_yaml

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Made by `python -m docs.generate_reference`: edit the code, not this page. -->"
PARAMS = {  # section of params.yaml: where its class is
    "ingest": "pipeline.ingest:Params",
    "validate": "pipeline.validate:Params",
    "vectorize": "pipeline.vectorize:Params",
    "train": "pipeline.train:Params",
    "evaluate": "pipeline.evaluate:Params",
    "register": "pipeline.register:Params",
    "drift": "pipeline.monitoring.drift_checks:Params",
    "poisoning": "pipeline.monitoring.poisoning_checks:Params",
    "retrain": "pipeline.retraining.triggers:Params",
}
REGISTRIES = {  # heading: where the registry is
    "Metrics": "pipeline.evaluation.metrics:METRICS",
    "Slices": "pipeline.evaluation.slices:SLICES",
    "Attacks": "pipeline.evaluation.attacks:ATTACKS",
    "Behavioural tests": "pipeline.evaluation.behavioural_tests:BEHAVIOURS",
    "Networks": "pipeline.models.architectures:MODELS",
    "Corruptions of training messages": "pipeline.models.augmentation:CORRUPTIONS",
    "Expectations": "pipeline.validation.expectations:EXPECTATIONS",
    "Drift checks": "pipeline.monitoring.drift_checks:DRIFT_CHECKS",
    "Poisoning checks": "pipeline.monitoring.poisoning_checks:POISONING_CHECKS",
    "Reasons to retrain": "pipeline.retraining.triggers:REASONS",
    "Blocks against retraining": "pipeline.retraining.triggers:BLOCKS",
}


# ---- Markdown


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; line breaks in cells become `<br>`."""

    def row(cells: list[str]) -> str:
        escaped = [re.sub(r"(?<!\\)\|", r"\\|", cell).replace("\n", "<br>") for cell in cells]
        return f"| {' | '.join(escaped)} |"

    return "\n".join([row(header), row(["---"] * len(header)), *map(row, rows)])


def head(title: str, introduction: str) -> list[str]:
    """The first paragraphs of a page."""
    return [f"# {title}", NOTE, introduction.strip()]


def code(text: object) -> str:
    """Text as inline code; empty stays empty."""
    return f"`{text}`" if str(text) else ""


def load(place: str) -> Any:
    """The object at `module:NAME`."""
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


# ---- stages


def stages_page() -> str:
    """One section per stage: sentence, inputs, outputs, params, command."""
    parts = head("Stages", "`dvc repro` runs these stages in order. DVC skips what is current.")
    for name, stage in read_yaml(ROOT / "dvc.yaml")["stages"].items():
        rows = [
            ["reads", "\n".join(code(path) for path in stage["deps"])],
            ["params", ", ".join(f"[{p}](params.md#{p})" for p in stage["params"])],
            ["writes", "\n".join(code(path) for path in _outputs(stage))],
        ]
        if stage.get("always_changed"):
            rows.append(["runs", "every time, as the registry is not a file"])
        parts += [f"## {name}", stage["desc"], table(["", ""], rows)]
        command = stage["cmd"].replace(" --", " \\\n  --")
        parts.append(f"```sh\n{command}\n```")
    return "\n\n".join(parts)


def _outputs(stage: dict[str, Any]) -> list[str]:
    entries = stage.get("outs", []) + stage.get("metrics", [])
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


# ---- params


def params_page() -> str:
    """One table per section of params.yaml: key, value, range, meaning."""
    values = read_yaml(ROOT / "params.yaml")
    parts = head("Params", "Unknown, missing and mistyped keys are refused.")
    for section, place in PARAMS.items():
        params = load(place)
        parts += [f"## {section}", (inspect.getdoc(params) or "").split("\n\n")[0]]
        parts.append(
            table(["key", "value", "range", "meaning"], list(_fields(params, values[section])))
        )
    return "\n\n".join(parts)


def _fields(params: type[pydantic.BaseModel], values: Any, prefix: str = "") -> Iterator[list[str]]:
    for key, field in params.model_fields.items():
        value = values.get(key, field.default)
        nested = _params_class(field.annotation)
        if nested and isinstance(value, dict) and set(value) <= set(nested.model_fields):
            yield [code(prefix + key), "", "", field.description or ""]
            yield from _fields(nested, value, f"{prefix}{key}.")
        else:
            shown = json.dumps(value, ensure_ascii=False, default=str)
            yield [code(prefix + key), code(shown), _range(field), field.description or ""]


def _params_class(annotation: Any) -> type[pydantic.BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if inspect.isclass(candidate) and issubclass(candidate, pydantic.BaseModel):
            return candidate
    return None


def _range(field: pydantic.fields.FieldInfo) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "min_length": "length >="}
    bounds = [
        f"{sign} {getattr(rule, name):,}"
        for rule in field.metadata
        for name, sign in signs.items()
        if getattr(rule, name, None) is not None
    ]
    choices = [repr(choice) for choice in get_args(field.annotation) if isinstance(choice, str)]
    return ", ".join(bounds or choices)


# ---- commands


def commands_page() -> str:
    """The `--help` of every command, with those of its own subcommands."""
    rows = [[f"[`{name}`](#{name})", summary] for name, (_, summary) in COMMANDS.items()]
    parts = head("Commands", "`python -m pipeline` lists these commands.")
    parts.append(table(["command", "what it does"], rows))
    for name in COMMANDS:
        text = help_text(name)
        parts += [f"## {name}", f"```text\n{text}\n```"]
        subcommands = re.search(r"\{([a-z,]+)\} \.\.\.", text)
        for subcommand in subcommands[1].split(",") if subcommands else ():
            parts += [f"### {name} {subcommand}", f"```text\n{help_text(name, subcommand)}\n```"]
    return "\n\n".join(parts)


def help_text(*words: str) -> str:
    """What `python -m pipeline WORDS --help` prints, 100 columns wide."""
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, COLUMNS="100"),
        mock.patch.object(sys, "argv", list(sys.argv)),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        run_pipeline_command([*words, "--help"])
    return printed.getvalue().strip()


# ---- reports


def reports_page() -> str:
    """What the figures of reports are called, by registry; and the columns of every table."""
    parts = head("Reports and tables", (REFERENCE / "reports_head.txt").read_text(encoding="utf-8"))
    for heading, place in REGISTRIES.items():
        module, name = place.split(":")
        path = f"{module.replace('.', '/')}.py"
        rows = [[code(key), _summary(entry)] for key, entry in load(place).items()]
        header = ["name", "meaning"] if any(meaning for _, meaning in rows) else ["name"]
        parts += [f"## {heading}", f"`{name}` in `{path}`."]
        parts.append(table(header, [row[: len(header)] for row in rows]))
    return "\n\n".join([*parts, "## Tables", *_tables()])


def _summary(entry: Any) -> str:
    """The first line of the docstring of the entry's function, with the direction of a metric."""
    functions = [entry, *getattr(entry, "__dict__", {}).values()]
    docs = [inspect.getdoc(f) for f in functions if inspect.isfunction(f) or inspect.isclass(f)]
    first = next((doc.split("\n\n")[0] for doc in docs if doc), getattr(entry, "description", ""))
    greater = getattr(entry, "greater_is_better", None)
    direction = {True: " Greater is better.", False: " Less is better.", None: ""}[greater]
    return " ".join(first.split()) + direction


def _tables() -> Iterator[str]:
    """Every schema of core/schemas.py, with its comments."""
    source = inspect.getsource(schemas)
    blocks = re.findall(r"^([A-Z_]+) = pa\.schema\((.*?)^\)", source, re.DOTALL | re.MULTILINE)
    comments = dict(re.findall(r"^_\w+ = pa\.field\(\"(\w+)\".*?\)  # (.*)$", source, re.MULTILINE))
    for name, block in blocks:
        title = re.match(r"\s*# (.*)", block)
        own = re.findall(r"\"(\w+)\"[:,] pa\..*?,  # (.*)$", block, re.MULTILINE)
        comments |= dict(own)
        schema: pa.Schema = getattr(schemas, name)
        rows = [[code(f.name), str(f.type), comments.get(f.name, "")] for f in schema]
        path, _, note = (title[1] if title else "").partition(": ")
        yield f"### {name}\n\n{path}{': ' + note if note else ''}"
        yield table(["column", "type", "meaning"], rows)


# ---- errors


def errors_page() -> str:
    """Messages of every `PipelineError`, by module; and the bad inputs that the tests try."""
    from tests.harness.bad_input import CASES  # here, as only this page needs the test harness

    parts = head("Errors", (REFERENCE / "errors_head.txt").read_text(encoding="utf-8"))
    tried = [[f"{_runs(case)}: {case.tried}", code(_inline(case.said))] for case in CASES]
    parts += ["## What was tried", table(["tried", "what the user sees"], tried)]
    parts += ["## All messages", "`{name}` stands for a value, `…` for other text."]
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        messages = list(dict.fromkeys(_messages(path)))
        if messages:
            parts.append(f"### {path.relative_to(ROOT)}")
            parts.append("\n".join(f"- {code(_inline(message))}" for message in messages))
    return "\n\n".join(parts)


def _runs(case: Any) -> str:
    return case.runs if isinstance(case.runs, str) else "dvc repro"


def _inline(text: str) -> str:
    """Text that may stand between backticks; lines are joined by ` / `."""
    return " / ".join(text.replace("`", "'").splitlines())


def _messages(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "PipelineError":
            text = _text(node.args[0]) if node.args else ""
            if re.search(r"[a-z]{3}", re.sub(r"\{.*?\}", "", text)):
                yield text


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(map(_text, values))
        case ast.FormattedValue(value=ast.Name(id=name) | ast.Attribute(attr=name)):
            return f"{{{name}}}"
        case _:
            return "…"


PAGES: dict[str, Callable[[], str]] = {
    "stages.md": stages_page,
    "params.md": params_page,
    "commands.md": commands_page,
    "reports.md": reports_page,
    "errors.md": errors_page,
}


def main() -> None:
    """Writes all pages."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(f"{page()}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
