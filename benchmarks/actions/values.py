"""The values of a workflow file, each demanded of one kind; every other is a WorkflowError."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from benchmarks.actions.expressions import WorkflowError, at, to_text

GLOB = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}

Check = Callable[[Any], object]  # raises WorkflowError where the value of a key is not modelled


def mapping(value: Any) -> dict[str, Any]:
    """A mapping; an empty one where the key stands alone."""
    if not isinstance(value, dict | None):
        raise WorkflowError(f"a mapping is needed, not {value!r}")
    return value or {}


def keys(value: Any, table: Mapping[str, Check], needed: Collection[str] = ()) -> None:
    """Checks a mapping that has no key but those of the table, each as the table says."""
    for key, inner in mapping(value).items():
        if key not in table:
            choices = ", ".join(table) or "nothing"
            raise WorkflowError(f"the key '{key}' is not modelled; choose from {choices}")
        with at(key):
            table[key](inner)
    for key in needed:
        if key not in mapping(value):
            raise WorkflowError(f"the key '{key}' is missing")


def entries(value: Any) -> list[Any]:
    """A list that is not empty."""
    if not isinstance(value, list) or not value:
        raise WorkflowError(f"a list is needed, not {value!r}")
    return value


def text(value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise WorkflowError(f"a text is needed, not {value!r}")
    return value


def plain(value: Any) -> str:
    """A text without expressions."""
    if "${{" in text(value):
        raise WorkflowError(f"an expression is not modelled here: {value}")
    return str(value)


def texts(value: Any) -> list[str]:
    """Texts without expressions, of which one may stand alone."""
    return [plain(item) for item in (value if isinstance(value, list) else [value])]


def scalar(value: Any) -> str:
    """A value as a text, as GitHub writes it; a date, which only YAML's reader sees in a text, is none."""
    if type(value) is int:
        value = float(value)
    if value is not None and not isinstance(value, str | bool | float):
        raise WorkflowError(f"a text is needed, not {value!r}; quote it")
    return to_text(value)


def one_of(value: Any, choices: Collection[Any]) -> None:
    """One of the choices, and of their type."""
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        written = ", ".join(scalar(choice) for choice in choices)
        raise WorkflowError(f"'{value}' is not modelled; choose from {written}")


def identifier(value: Any) -> None:
    """A name of a job, a step or an input."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", text(value)):
        raise WorkflowError(f"'{value}' is no name of letters, digits, - and _")


def glob(pattern: str) -> re.Pattern[str]:
    """A pattern of branches or paths: `*` is anything but a slash, `**` is anything."""
    if found := re.search(r"[?+\[\]!\\{}~]", pattern):
        raise WorkflowError(f"'{found[0]}' in the pattern '{pattern}' is not modelled")
    return re.compile(re.sub(r"\*\*/|\*\*|\*|[^*]", lambda m: GLOB.get(m[0]) or re.escape(m[0]), pattern))


def file_glob(pattern: str) -> re.Pattern[str]:
    """A pattern of `hashFiles`, relative to the workspace, in which `**` stands for folders."""
    if re.search(r"[^/]\*\*|\*\*[^/]|^/|^\.\.?/", pattern):
        raise WorkflowError(f"the pattern '{pattern}' of files is not modelled")
    return glob(pattern)
