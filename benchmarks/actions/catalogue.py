"""What is modelled of the actions that a workflow may use: their inputs, as far as they are, and outputs.

A value is checked as it stands in the file where no expression is in it, and again when the step runs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from benchmarks.actions.expressions import WorkflowError
from benchmarks.actions.values import Check, file_glob, one_of, text

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


@dataclass(frozen=True)
class Action:
    inputs: Mapping[str, Check]
    needed: tuple[str, ...]
    outputs: tuple[str, ...]


def lines(value: str) -> list[str]:
    """The lines of an input that takes several, without those that are blank."""
    return [line.strip() for line in value.splitlines() if line.strip()]


def _choice(*choices: str) -> Check:
    return partial(one_of, choices=choices)


def _paths(value: str) -> None:
    if found := re.search(r"[*?\[\]!$]", text(value)):
        raise WorkflowError(f"'{found[0]}' in the path '{value.strip()}' is not modelled")


def _patterns(value: str) -> None:
    for line in lines(value):
        file_glob(line)


def _number(value: str) -> None:
    if not value.isdecimal():
        raise WorkflowError(f"a number is needed, not '{value}'")


def _python(value: str) -> None:
    one_of(re.sub(r"^(3\.\d+)\.\d+$", r"\1", value), PYTHONS)  # 3.10 without quotes is 3.1


ACTIONS = {
    "actions/cache": Action(
        {"key": text, "path": _paths, "restore-keys": str},
        needed=("key", "path"),
        outputs=("cache-hit",),
    ),
    "actions/checkout": Action(
        {
            "fetch-depth": _number,
            "persist-credentials": partial(one_of, choices=("true", "false")),
            "ref": str,
        },
        needed=(),
        outputs=("commit", "ref"),
    ),
    "actions/setup-python": Action(
        {
            "cache": _choice("pip"),
            "cache-dependency-path": _patterns,
            "python-version": _python,
        },
        needed=("python-version",),
        outputs=("python-version",),
    ),
    "actions/upload-artifact": Action(
        {
            "if-no-files-found": _choice("warn", "error", "ignore"),
            "name": text,
            "path": _paths,
            "retention-days": _choice(*map(str, range(1, 91))),
        },
        needed=("name", "path"),
        outputs=("artifact-url",),
    ),
}
