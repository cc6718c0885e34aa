"""A workflow file of GitHub Actions, read strictly: whatever is not modelled is refused, and its place named.

Source: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax
"""

import itertools
import re
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ruamel.yaml
import ruamel.yaml.error

from benchmarks.actions import expressions, triggers
from benchmarks.actions.catalogue import ACTIONS
from benchmarks.actions.expressions import (
    OPEN,
    STATUS,
    Call,
    Literal,
    Node,
    Shape,
    WorkflowError,
    at,
    to_text,
)
from benchmarks.actions.triggers import YES_NO
from benchmarks.actions.values import (
    Check,
    entries,
    file_glob,
    identifier,
    keys,
    mapping,
    one_of,
    plain,
    scalar,
    text,
    texts,
)

RUNNERS = ("ubuntu-latest", "ubuntu-24.04", "ubuntu-22.04")
SCOPES = (  # of the token, in `permissions`
    *("actions", "attestations", "checks", "contents", "deployments", "discussions", "id-token", "issues"),
    *("models", "packages", "pages", "pull-requests", "security-events", "statuses"),
)
GITHUB = (  # the properties of the context `github` that are known before a machine is
    *("actor", "base_ref", "event_name", "head_ref", "ref", "ref_name", "ref_type", "repository"),
    *("repository_owner", "run_attempt", "run_id", "run_number", "server_url", "sha", "workflow"),
)
ON_MACHINE = ("job", "token", "workspace")  # and those that only its steps may use
VARIABLES = (  # what a step finds in its environment
    *(f"GITHUB_{name.upper()}" for name in (*GITHUB, "job", "workspace")),
    *("GITHUB_ACTIONS", "GITHUB_ENV", "GITHUB_EVENT_PATH", "GITHUB_OUTPUT", "GITHUB_PATH"),
    *("GITHUB_STEP_SUMMARY", "RUNNER_OS", "RUNNER_TEMP", "RUNNER_TRACKING_ID"),
)


def check(path: Path) -> dict[str, Any]:
    """The workflow in a file, all of which is modelled; nothing is run. Raises: WorkflowError."""
    with at(path.name):
        workflow = _yaml(path.read_text(encoding="utf-8"))
        before = {"github": dict.fromkeys(GITHUB) | {"event": OPEN}, "inputs": OPEN, "vars": OPEN}
        table: dict[str, Check] = {
            "name": plain,
            "on": triggers.check,
            "permissions": _permissions,
            "concurrency": partial(_concurrency, shape=before),
            "env": partial(_env, shape=before | {"secrets": OPEN}),
            "defaults": partial(keys, table={"run": partial(keys, table={"shell": _shell})}),
            "jobs": lambda jobs: _jobs(jobs, before, mapping(workflow.get("env"))),
        }
        keys(workflow, table, needed=("on", "jobs"))
    return workflow


def starts(path: Path, event: triggers.Event, changed: Collection[str] = ()) -> bool:
    """Whether the event starts the workflow; `changed` are the files of a push or of a pull request.

    At GitHub, what is pushed or opened with the token of a workflow starts none.

    Raises: WorkflowError.
    """
    return triggers.started(check(path)["on"], event, changed)


def _yaml(written: str) -> dict[str, Any]:
    """YAML 1.2, in which `on` is a text; without what GitHub refuses, or reads in another way."""
    yaml = ruamel.yaml.YAML(typ="safe", pure=True)
    try:
        for token in yaml.scan(written):
            line = f"line {token.start_mark.line + 1}"
            if isinstance(token, ruamel.yaml.TagToken):
                raise WorkflowError(f"{line}: a tag is not modelled; a text that begins with ! is quoted")
            if isinstance(token, ruamel.yaml.AnchorToken | ruamel.yaml.AliasToken):
                raise WorkflowError(f"{line}: an anchor is not modelled")
            if isinstance(token, ruamel.yaml.ScalarToken) and token.value == "<<":
                raise WorkflowError(f"{line}: '<<' is not modelled")
        return mapping(yaml.load(written))
    except ruamel.yaml.error.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise WorkflowError(f"{line}not YAML: {' '.join(str(error.problem).split())}") from error


# ---- values with expressions


def _template(value: Any, shape: Shape, functions: tuple[str, ...] = ()) -> None:
    for part in expressions.template(scalar(value)):
        if not isinstance(part, str):
            _expression(part, shape, functions)


def _condition(value: Any, shape: Shape, functions: tuple[str, ...]) -> None:
    _expression(expressions.condition(scalar(value)), shape, functions)


def _expression(node: Node, shape: Shape, functions: tuple[str, ...]) -> None:
    expressions.check(node, shape, functions)
    for part in expressions.walk(node):
        if isinstance(part, Call) and part.function == "hashFiles":
            for argument in part.arguments:
                if isinstance(argument, Literal):
                    file_glob(to_text(argument.value))


def _minutes(value: Any, shape: Shape, functions: tuple[str, ...] = ()) -> None:
    if not isinstance(value, str) and (type(value) is not int or value < 1):
        raise WorkflowError(f"whole minutes are needed, not '{value}'")
    _template(value, shape, functions)


def _env(value: Any, shape: Shape, functions: tuple[str, ...] = ()) -> None:
    for name, inner in mapping(value).items():
        with at(name):
            if name in VARIABLES:
                raise WorkflowError("GitHub sets it, and lets nobody else")
            _template(inner, shape, functions)


# ---- the whole file


_shell = partial(one_of, choices=("bash",))


def _permissions(value: Any) -> None:
    keys(value, dict.fromkeys(SCOPES, partial(one_of, choices=("read", "write", "none"))))


def _concurrency(value: Any, shape: Shape) -> None:
    group = partial(_template, shape=shape)
    if isinstance(value, str):
        group(value)
    else:
        keys(value, {"group": group, "cancel-in-progress": YES_NO}, needed=("group",))


# ---- jobs


def _jobs(value: Any, before: Shape, env: Mapping[str, Any]) -> None:
    if not mapping(value):
        raise WorkflowError("there is none")
    for name in value:
        with at(f"'{name}'"):
            identifier(name)
            _job(mapping(value[name]), value, before, env)
    order(value)


def _job(job: dict[str, Any], jobs: Mapping[str, Any], before: Shape, env: Mapping[str, Any]) -> None:
    condition = {**before, "needs": _needs(job, jobs)}
    placed = {**condition, "matrix": dict.fromkeys(_matrix(job))}
    running: dict[str, Any] = {**placed, "secrets": OPEN, "env": OPEN, "steps": {}}
    running["github"] = {**before["github"], **dict.fromkeys(ON_MACHINE)}
    running["runner"] = {"os": None, "temp": None}
    table: dict[str, Check] = {
        "name": partial(_template, shape=placed),
        "runs-on": partial(one_of, choices=RUNNERS),
        "needs": texts,
        "if": partial(_condition, shape=condition, functions=STATUS),
        "permissions": _permissions,
        "timeout-minutes": partial(_minutes, shape=placed),
        "env": partial(_env, shape={**placed, "secrets": OPEN}),
        "strategy": partial(keys, table={"matrix": mapping, "fail-fast": YES_NO}),
        "steps": lambda steps: _steps(steps, running, {*env, *mapping(job.get("env"))}),
        "outputs": mapping,
    }
    keys(job, table, needed=("runs-on", "steps"))
    with at("outputs"):  # after the steps, which they may use
        outputs = mapping(job.get("outputs"))
        keys(outputs, dict.fromkeys(outputs, partial(_template, shape=running)))


def needs(job: Mapping[str, Any]) -> list[str]:
    """The jobs that must have ended before this one."""
    return texts(job["needs"]) if "needs" in job else []


def _needs(job: Mapping[str, Any], jobs: Mapping[str, Any]) -> Shape:
    for name in needs(job):
        if name not in jobs:
            raise WorkflowError(f"needs: there is no job '{name}'")
    return {
        name: {"result": None, "outputs": dict.fromkeys(mapping(jobs[name].get("outputs")))}
        for name in needs(job)
    }


def order(jobs: Mapping[str, Any]) -> list[str]:
    """The names of the jobs, each after those that it needs. Raises: WorkflowError where there is no such."""
    ordered: list[str] = []
    while left := [name for name in jobs if name not in ordered]:
        ready = [name for name in left if set(needs(jobs[name])) <= set(ordered)]
        if not ready:
            raise WorkflowError(f"{', '.join(left)} need one another")
        ordered.append(ready[0])
    return ordered


def _matrix(job: Mapping[str, Any]) -> dict[str, list[Any]]:
    with at("strategy"), at("matrix"):
        matrix = mapping(mapping(job.get("strategy")).get("matrix"))
        for name, values in matrix.items():
            with at(name):
                if name in ("include", "exclude"):
                    raise WorkflowError("it is not modelled")
                for value in entries(values):
                    _template(value, {})
        return matrix


def combinations(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The contexts `matrix` of a job, one for each time that it runs."""
    matrix = _matrix(job)
    return [dict(zip(matrix, values, strict=True)) for values in itertools.product(*matrix.values())]


# ---- steps


def label(step: Mapping[str, Any]) -> str:
    """What a step is called where it is shown."""
    what = str(step.get("run") or step.get("uses")).strip().splitlines()
    return str(step.get("name") or f"Run {what[0] if what else ''}")


def _steps(value: Any, shape: dict[str, Any], names: Collection[str]) -> None:
    """Checks them in their order: a step sees only the ids of those before it."""
    for number, step in enumerate(entries(value), start=1):
        with at(f"step {number} ({label(mapping(step))})"):
            _step(step, shape, names)
            if (name := step.get("id")) in shape["steps"]:
                raise WorkflowError(f"the id '{name}' is given twice")
            if name:
                outputs = dict.fromkeys(ACTIONS[action(step)].outputs) if "uses" in step else OPEN
                shape["steps"][name] = {"outcome": None, "conclusion": None, "outputs": outputs}


def _step(step: dict[str, Any], shape: Shape, names: Collection[str]) -> None:
    anything = partial(_template, shape=shape, functions=("hashFiles",))
    without_secrets = {name: below for name, below in shape.items() if name != "secrets"}
    table: dict[str, Check] = {
        "name": anything,
        "id": identifier,
        "if": partial(_condition, shape=without_secrets, functions=(*STATUS, "hashFiles")),
        "env": partial(_env, shape=shape, functions=("hashFiles",)),
        "continue-on-error": lambda value: YES_NO(value) if not isinstance(value, str) else anything(value),
        "timeout-minutes": partial(_minutes, shape=shape, functions=("hashFiles",)),
    }
    if ("run" in step) == ("uses" in step):
        raise WorkflowError("either 'run' or 'uses' is needed")
    if "run" in step:
        names = {*names, *mapping(step.get("env"))}
        keys(step, table | {"shell": _shell, "run": lambda value: _run(value, anything, names)})
    else:
        used = ACTIONS[action(step)]
        inputs = {name: partial(_input, own=own, template=anything) for name, own in used.inputs.items()}
        given = partial(keys, table=inputs, needed=used.needed)
        keys({"with": {}} | step, table | {"uses": plain, "with": given})


def _input(value: Any, own: Check, template: Check) -> None:
    template(value)
    if "${{" not in scalar(value):
        own(scalar(value))


def action(step: Mapping[str, Any]) -> str:
    """The owner and name of the action that a step uses. Raises: WorkflowError."""
    name, _, commit = plain(step["uses"]).partition("@")
    if name not in ACTIONS:
        raise WorkflowError(f"the action '{name}' is not modelled; choose from {', '.join(ACTIONS)}")
    if not re.fullmatch("[0-9a-f]{40}", commit):
        raise WorkflowError(f"'{name}@{commit}' is not pinned to a commit of 40 hexadecimal digits")
    return name


def _run(value: Any, check_value: Check, names: Collection[str]) -> None:
    check_value(text(value))
    script = "".join(part for part in expressions.template(value) if isinstance(part, str))
    for name in re.findall(r"\b(?:GITHUB|RUNNER|ACTIONS)_[A-Z_]+", script):
        if name not in (*VARIABLES, *names):
            raise WorkflowError(f"the variable '{name}' is not modelled")
