"""What starts a workflow of GitHub Actions: the key `on`, checked, and asked about an event.

Source: https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.actions.expressions import WorkflowError, at
from benchmarks.actions.values import Check, glob, identifier, keys, mapping, one_of, plain, scalar, texts

CRON = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))  # minute, hour, day, month, day of the week
YES_NO = partial(one_of, choices=(True, False))


@dataclass(frozen=True)
class Event:
    """What happened at GitHub; `sha` is the commit that it is about, the tip of `ref` where there is none."""

    name: str
    ref: str = "refs/heads/main"
    inputs: Mapping[str, str | bool] = field(default_factory=dict)  # of a workflow_dispatch
    payload: Mapping[str, Any] = field(default_factory=dict)  # the context `github.event`
    sha: str | None = None


def named(on: Any) -> dict[str, Any]:
    """The events of an `on:`, and how each is narrowed down."""
    return dict.fromkeys(texts(on)) if isinstance(on, str | list) else dict(mapping(on))


def check(on: Any) -> None:
    """Raises: WorkflowError where an `on:` is not modelled."""
    filters: dict[str, Check] = {"branches": _patterns, "paths": _patterns}
    table: dict[str, Check] = {
        "schedule": _schedule,
        "workflow_dispatch": lambda value: keys(value or {}, {"inputs": _inputs}),
        "repository_dispatch": lambda value: keys(value or {}, {"types": texts}),
        "push": lambda value: keys(value or {}, filters),
        "pull_request": lambda value: keys(value or {}, filters),
    }
    keys(named(on), table)


def _schedule(value: Any) -> None:
    for entry in value if isinstance(value, list) else [value]:
        keys(entry, {"cron": _cron}, needed=("cron",))


def _cron(value: Any) -> None:
    fields = plain(value).split()
    if len(fields) != len(CRON):
        raise WorkflowError(f"'{value}' has {len(fields)} fields, not {len(CRON)}")
    for text, (low, high) in zip(fields, CRON, strict=True):
        for part in text.split(","):
            match = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?", part)
            if not match or any(n and not low <= int(n) <= high for n in match.groups()[:2]):
                raise WorkflowError(f"'{part}' in '{value}' is not modelled; choose from {low} to {high}")


def _inputs(value: Any) -> None:
    for name, entry in mapping(value).items():
        with at(name):
            identifier(name)
            table: dict[str, Check] = {"description": plain, "required": YES_NO, "type": lambda kind: None}
            match mapping(entry).get("type", "string"):
                case "string":
                    keys(entry, table | {"default": scalar})
                case "boolean":
                    keys(entry, table | {"default": YES_NO}, needed=("default",))
                case "choice":
                    options = texts(entry.get("options"))
                    choose = partial(one_of, choices=options)
                    keys(entry, table | {"options": texts, "default": choose}, needed=("options", "default"))
                case kind:
                    one_of(kind, ("string", "boolean", "choice"))


def _patterns(value: Any) -> list[re.Pattern[str]]:
    return [glob(pattern) for pattern in texts(value)]


# ---- asked about an event


def started(on: Any, event: Event, changed: Collection[str] = ()) -> bool:
    """Whether the event starts what has this `on:`; `changed` are the files of a push or a pull request."""
    if event.name not in named(on):
        return False
    narrowed = named(on)[event.name] or {}
    match event.name:
        case "schedule":
            crons = [entry["cron"] for entry in narrowed]
            return event.payload.get("schedule", crons[0]) in crons
        case "repository_dispatch":
            return "types" not in narrowed or event.payload.get("action") in texts(narrowed["types"])
        case "push" if not event.ref.startswith("refs/heads/"):  # a tag: `paths` are not asked
            return "branches" not in narrowed
        case "push":
            return all(_passed(narrowed, event.ref.removeprefix("refs/heads/"), changed))
        case "pull_request":
            return all(_passed(narrowed, event.payload["pull_request"]["base"]["ref"], changed))
    return True


def _passed(narrowed: Mapping[str, Any], branch: str, changed: Collection[str]) -> Iterator[bool]:
    for key, names in (("branches", [branch]), ("paths", changed)):
        if key in narrowed:
            yield any(pattern.fullmatch(name) for pattern in _patterns(narrowed[key]) for name in names)


def inputs(on: Any, event: Event) -> dict[str, str | bool]:
    """The context `inputs`: what a person chose, and defaults; empty where none was asked.

    Raises: WorkflowError where GitHub would not take what was chosen.
    """
    if event.name != "workflow_dispatch":
        return {}
    declared = (named(on)["workflow_dispatch"] or {}).get("inputs") or {}
    if unknown := event.inputs.keys() - declared.keys():
        choices = ", ".join(declared) or "nothing"
        raise WorkflowError(f"'{min(unknown)}' is not expected; choose from {choices}")
    chosen = {}
    for name, entry in declared.items():
        with at(name):
            chosen[name] = _chosen(mapping(entry), event.inputs.get(name))
    return chosen


def _chosen(entry: Mapping[str, Any], given: Any) -> str | bool:
    value: Any = given if given is not None else entry.get("default")
    if value is None and entry.get("required"):
        raise WorkflowError("it is required")
    if entry.get("type") == "boolean":
        value = {"true": True, "false": False}.get(value, value)
        YES_NO(value)
        return bool(value)
    if entry.get("type") == "choice":
        one_of(value, texts(entry["options"]))
    return scalar(value)
