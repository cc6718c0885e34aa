"""Writes the pages of docs/reference from the code: `python -m docs.generate_reference`.

Stages come from dvc.yaml, params from params.yaml and its classes, commands from `--help`, reports
from the registries and core/schemas.py, errors from `PipelineError` and the tested bad inputs.
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

import pydantic

from pipeline.__main__ import COMMANDS
from pipeline.__main__ import main as run_pipeline_command
from pipeline.core import schemas
from pipeline.core.params import read_params, read_yaml

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Made by `python -m docs.generate_reference`: edit the code, not this page. -->"
PARAMS = {  # section of params.yaml: its class; other sections have pipeline.SECTION:Params
    "drift": "pipeline.monitoring.drift_checks:Params",
    "poisoning": "pipeline.monitoring.poisoning_checks:Params",
    "retrain": "pipeline.retraining.triggers:Params",
}
REGISTRIES = {  # heading: where the registry is
    "Metrics": "pipeline.evaluation.metrics:METRICS",
    "Slices": "pipeline.evaluation.slices:SLICES",
    "Attacks": "pipeline.evaluation.attacks:ATTACKS",
    "Behavioural tests": "pipeline.evaluation.behavioural_tests:BEHAVIOURAL_TESTS",
    "Networks": "pipeline.models.architectures:MODELS",
    "Corruptions of training messages": "pipeline.models.augmentation:CORRUPTIONS",
    "Drift checks": "pipeline.monitoring.drift_checks:DRIFT_CHECKS",
    "Poisoning checks": "pipeline.monitoring.poisoning_checks:POISONING_CHECKS",
    "Reasons to retrain": "pipeline.retraining.triggers:REASONS",
    "Blocks against retraining": "pipeline.retraining.triggers:BLOCKS",
}


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; line breaks in cells become `<br>`."""
    lines = [header, ["---"] * len(header), *rows]
    cells = [[re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |".replace("\n", "<br>") for line in cells)


def code(text: object) -> str:
    """Text as inline code on one line; empty stays empty."""
    return f"`{' / '.join(str(text).replace('`', chr(39)).splitlines())}`" if str(text) else ""


def head(title: str, introduction: str) -> list[str]:
    """The first paragraphs of a page."""
    return [f"# {title}", NOTE, introduction.strip()]


def load(place: str) -> Any:
    """The object at `module:NAME`."""
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


def stages_page() -> str:
    """One section per stage: sentence, inputs, outputs, params, command."""
    parts = head("Stages", "`dvc repro` runs these stages in order. DVC skips what is current.")
    for name, stage in read_yaml(ROOT / "dvc.yaml")["stages"].items():
        entries = stage.get("outs", []) + stage.get("metrics", [])
        outputs = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
        rows = [
            ["reads", "\n".join(map(code, stage.get("deps", ["data/inbox"])))],
            ["params", ", ".join(f"[{p}](params.md#{p.split('.')[0]})" for p in stage["params"])],
            ["writes", "\n".join(map(code, outputs))],
        ]
        command = stage["cmd"].replace(" --", " \\\n  --")
        parts += [f"## {name}", stage["desc"], table(["", ""], rows), f"```sh\n{command}\n```"]
    return "\n\n".join(parts)


# ---- params


def params_page() -> str:
    """One table per section of params.yaml: key, value, range, meaning."""
    parts = head("Params", "Unknown, missing and mistyped keys are refused.")
    comments = _comments((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for section, values in read_yaml(ROOT / "params.yaml").items():
        params = load(PARAMS.get(section, f"pipeline.{section}:Params"))
        rows = list(_keys(values, params, f"{section}.", comments))
        parts += [f"## {section}", table(["key", "value", "range", "meaning"], rows)]
    return "\n\n".join(parts)


def _comments(content: str) -> dict[str, str]:
    """The comment of each dotted key of a YAML file: behind the key, or above it as `# key: ...`.

    DVC writes lists anew, and loses what stands behind their keys.
    """
    comments, path = dict[str, str](), list[str]()
    line = re.compile(r"^( *)(# )?(\w+):(?(2) (.*)|[^#\n]*(?:# (.*))?)$", re.M)
    for indent, _, key, above, behind in line.findall(content):
        path = [*path[: len(indent) // 2], key]
        name = ".".join(path)
        comments[name] = above or behind or comments.get(name, "")
    return comments


def _keys(values: Any, params: Any, prefix: str, comments: dict[str, str]) -> Iterator[list[str]]:
    fields = params.model_fields if params else {}
    for key, value in values.items():
        field = fields.get(key, pydantic.fields.FieldInfo())
        classes = [c for c in (field.annotation, *get_args(field.annotation)) if inspect.isclass(c)]
        nested = next((c for c in classes if issubclass(c, pydantic.BaseModel)), None)
        name = f"{prefix}{key}"
        clauses = (comments.get(name) or "").split("; ")
        if field.description:  # which says what the comment says, and may say more
            clauses = [field.description, *(c for c in clauses[1:] if c not in field.description)]
        split = isinstance(value, dict) and (nested or f"{name}.{next(iter(value))}" in comments)
        shown = "" if split else code(json.dumps(value, ensure_ascii=False, default=str))
        yield [code(name.split(".", 1)[1]), shown, _range(field), "; ".join(clauses)]
        if split:
            yield from _keys(value, nested, f"{name}.", comments)


def _range(field: pydantic.fields.FieldInfo) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    rules = [(sign, getattr(rule, n, None)) for rule in field.metadata for n, sign in signs.items()]
    choices = [repr(choice) for choice in get_args(field.annotation) if isinstance(choice, str)]
    return ", ".join([f"{sign} {bound:,}" for sign, bound in rules if bound is not None] or choices)


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


def reports_page() -> str:
    """The registries behind the names of figures, the expectations, and every table."""
    parts = head("Reports and tables", (REFERENCE / "reports_head.txt").read_text("utf-8"))
    for heading, place in REGISTRIES.items():
        module, name = place.split(":")
        rows = [[code(key), _summary(entry)] for key, entry in load(place).items()]
        parts += [f"## {heading}", f"`{name}` in `{module.replace('.', '/')}.py`."]
        parts.append(table(["name", "meaning"], rows))
    params = read_params(load("pipeline.validate:Params"), "validate", ROOT / "params.yaml")
    expectations = load("pipeline.validation.review:explain")(params)
    parts += ["## Expectations", "`EXPECTATIONS` in `pipeline/validation/expectations.py`."]
    parts += [f"```text\n{expectations}\n```", "## Tables", *_tables()]
    return "\n\n".join(parts)


def _summary(entry: Any) -> str:
    """The first sentence of the docstring of the entry's function; the direction of a metric."""
    functions = [entry, *getattr(entry, "__dict__", {}).values()]
    docs = [inspect.getdoc(f) for f in functions if inspect.isfunction(f)]
    summary = " ".join(next(filter(None, docs), "").split("\n\n")[0].split())
    directions = {True: " Greater is better.", False: " Less is better."}
    return summary + directions.get(getattr(entry, "greater_is_better", None), "")


def _tables() -> Iterator[str]:
    """Every schema of core/schemas.py, with its comments."""
    source = inspect.getsource(schemas)
    shared = dict(re.findall(r"^_\w+ = pa\.field\(\"(\w+)\".*?\)  # (.*)$", source, re.M))
    blocks = re.findall(r"^([A-Z_]+) = pa\.schema\((.*?)^\)", source, re.S | re.M)
    for name, block in blocks:
        own = dict(re.findall(r"\"(\w+)\"[:,] pa\..*?,  # (.*)$", block, re.M))
        own |= {n.lower(): note for n, note in re.findall(r"^ +_(\w+),  # (.*)$", block, re.M)}
        comments = {**shared, **own}
        fields = getattr(schemas, name)
        columns = [[code(f.name), str(f.type), comments.get(f.name, "")] for f in fields]
        title = re.match(r"\s*# (.*)", block)
        yield f"### {name}\n\n{title[1] if title else ''}"
        yield table(["column", "type", "meaning"], columns)


def errors_page() -> str:
    """The bad inputs that the tests try, and the messages of every `PipelineError` by module."""
    from tests.harness.bad_input import CASES, DVC_CASES, FULL_DISKS  # not for other pages

    parts = head("Errors", (REFERENCE / "errors_head.txt").read_text("utf-8"))
    cases = CASES + FULL_DISKS + DVC_CASES
    tried = [[f"{case.runs}: {case.name}", code(case.line)] for case in cases]
    parts += ["## What was tried", table(["tried", "what the user sees"], tried)]
    parts += ["## All messages", "`{name}` stands for a value, `…` for other text."]
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        if messages := list(dict.fromkeys(_messages(path))):
            parts.append(f"### {path.relative_to(ROOT)}")
            parts.append("\n".join(f"- {code(message)}" for message in messages))
    return "\n\n".join(parts)


def _messages(path: Path) -> Iterator[str]:
    """The first argument of each `PipelineError(...)`, where it is one string."""
    calls = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
    for call in calls:
        is_error = getattr(call.func, "id", "") == "PipelineError"
        literal = is_error and re.fullmatch(r"f?(['\"]+)(.*)\1", ast.unparse(call.args[0]))
        if literal and re.search(r"[a-z]{3}", re.sub(r"\{.*?\}", "", literal[2])):
            yield re.sub(r"\{(?!\w+\})[^{}]*\}", "…", literal[2])


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
