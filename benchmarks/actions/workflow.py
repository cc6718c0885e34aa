"""A workflow file of GitHub Actions, read strictly: whatever is not modelled is refused, and its place named.

Source: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import ruamel.yaml
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.tokens import AliasToken, AnchorToken, TagToken

from benchmarks.actions.expressions import WorkflowError, at, parse, template

MAIN = "refs/heads/main"
GITHUB = (  # of the context `github`, and as GITHUB_ACTOR and so on in the environment of a step
    *("actor", "event_name", "ref", "ref_name", "repository", "run_attempt", "run_id", "server_url", "sha"),
)
VARIABLES = (  # which a line of a step may name
    *(f"GITHUB_{name.upper()}" for name in GITHUB),
    *("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"),
)


@dataclass(frozen=True)
class Event:
    """What happened at GitHub."""

    name: str
    ref: str = MAIN
    inputs: Mapping[str, str | bool] = field(default_factory=dict)  # of a workflow_dispatch
    payload: Mapping[str, Any] = field(default_factory=dict)  # action, client_payload: repository_dispatch


# ---- what a value must be


def fit(value: Any, schema: Any) -> None:
    """Refuses what is not as the schema says.

    schema: a type, a tuple of choices, a list of one schema, a function that checks, None for anything, or a
    mapping: of its keys, those with `?` may be absent, and `*` is any.
    """
    if isinstance(schema, dict):
        _keys(value, schema)
    elif isinstance(schema, list):
        if not isinstance(value, list) or not value:
            raise WorkflowError(f"a list is needed, not {value!r}")
        for number, item in enumerate(value, start=1):
            with at(number):
                fit(item, schema[0])
    elif isinstance(schema, tuple):
        if (type(value), value) not in [(type(choice), choice) for choice in schema]:
            raise WorkflowError(f"{value!r} is not modelled; choose from {', '.join(map(repr, schema))}")
    elif isinstance(schema, type):
        if type(value) is not schema or "${{" in str(value):
            raise WorkflowError(f"a plain {schema.__name__} is needed, not {value!r}")
    elif schema:
        schema(value)


def _keys(value: Any, schema: Mapping[str, Any]) -> None:
    if value is None and not schema:
        return
    if not isinstance(value, Mapping):
        raise WorkflowError(f"a mapping is needed, not {value!r}")
    known = {key.rstrip("?"): inner for key, inner in schema.items()}
    for key, inner in value.items():
        if key not in known and "*" not in known:
            choices = ", ".join(known) or "nothing"
            raise WorkflowError(f"the key '{key}' is not modelled; choose from {choices}")
        with at(key):
            fit(inner, known.get(key, known.get("*")))
    for key in schema:
        if not key.endswith(("?", "*")) and key not in value:
            raise WorkflowError(f"the key '{key}' is missing")


def text(names: Collection[str], value: Any) -> None:
    """A text, with expressions of these names."""
    if not isinstance(value, str):
        raise WorkflowError(f"a text is needed, not {value!r}")
    template(value, names)


def condition(names: Collection[str], value: Any) -> None:
    """An `if:`, without braces."""
    fit(value, str)
    parse(value, names)


def paths(value: Any) -> None:
    """Lines of paths, or of names of branches, relative and without patterns."""
    fit(value, str)
    for line in lines(value):
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", line) or ".." in line.split("/"):
            raise WorkflowError(f"{line!r} is not modelled; choose a name without patterns, / before or ..")


def lines(value: str) -> list[str]:
    """The lines of an input that takes several."""
    return [line.strip() for line in value.splitlines() if line.strip()]


# ---- steps


def label(step: Mapping[str, Any]) -> str:
    """What a step is called where it is shown."""
    return f"Run {step.get('run') or step.get('uses')}".splitlines()[0]


def action(step: Mapping[str, Any]) -> str:
    """The owner and name of the action that a step uses."""
    return str(step["uses"]).partition("@")[0]


def _step(step: Any) -> None:
    fit(step, {"*": None})
    common = {"if?": partial(condition, STEP), "env?": {"*": partial(text, (*STEP, "secrets.*"))}}
    with at(label(step)):
        if "uses" in step and action(step) not in ACTIONS:
            raise WorkflowError(f"this action is not modelled; choose from {', '.join(ACTIONS)}")
        if "uses" in step:
            fit({"with": {}} | step, common | {"uses": str, "with": ACTIONS[action(step)]})
        else:
            fit(step, common | {"id?": str, "run": _run})


def _run(value: Any) -> None:
    fit(value, str)
    for name in re.findall(r"\b(?:GITHUB|RUNNER|ACTIONS)_[A-Z_]+", value):
        if name not in VARIABLES:
            raise WorkflowError(f"the variable '{name}' is not modelled")


# ---- the schema of a workflow

EVENT = ("github.event.client_payload.*", "github.event.repository.private")
BEFORE = (*(f"github.{name}" for name in GITHUB), *EVENT, "inputs.*")
STEP = (*BEFORE, "github.token", "env.*", "matrix.*", "steps.*.outputs.*")
PERMISSIONS = dict.fromkeys(("contents?", "issues?", "pull-requests?"), ("read", "write"))
ACTIONS = {
    "actions/cache/restore": {"path": paths, "key": partial(text, STEP), "restore-keys": paths},
    "actions/cache/save": {"path": paths, "key": partial(text, STEP)},
    "actions/checkout": {"fetch-depth?": (0, 1), "persist-credentials?": bool},
    "actions/setup-python": {
        "python-version": partial(text, STEP),
        "cache": ("pip",),
        "cache-dependency-path": paths,
    },
    "actions/upload-artifact": {"name": paths, "path": paths, "retention-days": int},
}
TYPES = {"string": str, "boolean": bool}
INPUT = {"description?": str, "type": tuple(TYPES), "default": None}
JOB = {
    "if?": partial(condition, BEFORE),
    "runs-on": ("ubuntu-24.04",),
    "timeout-minutes?": int,
    "permissions?": PERMISSIONS,
    "strategy?": {"fail-fast": bool, "matrix": {"*": [str]}},
    "steps": [_step],
}
SCHEMA = {
    "name?": str,
    "on": {
        "schedule?": [{"cron": str}],
        "workflow_dispatch?": {"inputs": {"*": INPUT}},
        "repository_dispatch?": {"types": [paths]},
        "push?": {"branches": [paths], "paths?": [paths]},
        "pull_request?": {},
    },
    "permissions": PERMISSIONS,
    "concurrency?": {"group": partial(text, BEFORE), "cancel-in-progress": bool},
    "env?": {"*": partial(text, (*BEFORE, "secrets.*"))},
    "jobs": {"*": JOB},
}


def check(path: Path) -> Mapping[str, Any]:
    """The workflow in a file, all of which is modelled; nothing is run. Raises: WorkflowError."""
    with at(path.name):
        workflow: Mapping[str, Any] = _yaml(path.read_text(encoding="utf-8"))
        fit(workflow, SCHEMA)
    return workflow


def _yaml(written: str) -> Any:
    """YAML 1.2, in which `on` is a text; without what GitHub refuses, or reads in another way."""
    yaml = ruamel.yaml.YAML(typ="safe", pure=True)
    try:
        for token in yaml.scan(written):
            if isinstance(token, AliasToken | AnchorToken | TagToken) or getattr(token, "value", "") == "<<":
                line = token.start_mark.line + 1
                raise WorkflowError(f"line {line}: anchors, << and tags are not modelled; quote what is none")
        return yaml.load(written)
    except MarkedYAMLError as error:
        raise WorkflowError(f"not YAML: {' '.join(str(error).split())}") from error


# ---- what starts it


def starts(path: Path, event: Event, changed: Collection[str] = ()) -> bool:
    """Whether the event starts the workflow; `changed` are the files of a push.

    At GitHub, what is pushed or opened with the token of a workflow starts none.

    Raises: WorkflowError.
    """
    return started(check(path)["on"], event, changed)


def started(on: Mapping[str, Any], event: Event, changed: Collection[str] | None = None) -> bool:
    """As `starts`; where it is not known what has changed, a push has changed what it should."""
    if event.name not in on:
        return False
    narrowed = on[event.name]
    if event.name == "repository_dispatch":
        return event.payload.get("action") in narrowed["types"]
    if event.name == "push":
        touched = changed is None or "paths" not in narrowed or {*narrowed["paths"]} & {*changed}
        return event.ref.removeprefix("refs/heads/") in narrowed["branches"] and bool(touched)
    return True


def chosen(on: Mapping[str, Any], event: Event) -> dict[str, str | bool]:
    """The context `inputs`: what a person chose, and defaults; empty where nobody was asked.

    Raises: WorkflowError where GitHub would not take what was chosen.
    """
    if event.name != "workflow_dispatch":
        return {}
    declared = on["workflow_dispatch"]["inputs"]
    values = {name: entry["default"] for name, entry in declared.items()} | dict(event.inputs)
    with at("inputs"):
        fit(values, {name: TYPES[entry["type"]] for name, entry in declared.items()})
    return values
