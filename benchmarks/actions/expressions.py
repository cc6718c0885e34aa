"""The expressions of GitHub Actions, in `${{ }}` and in `if:`: parsed, checked, evaluated.

What is left out is refused as it is parsed: indexing with `[ ]`, the filter `*`, and every function that is
not in FUNCTIONS. Names must be spelled as GitHub's documentation spells them; GitHub ignores their case.

Source: https://docs.github.com/en/actions/reference/workflows-and-actions/expressions
"""

import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Value = str | float | bool | None
Shape = Mapping[str, Any]  # every name that may be used: of a name to what is below it, None where nothing is

OPEN = object()  # below it is any name: at GitHub, one that is not there is null
STATUS = ("always", "cancelled", "failure", "success")  # in an `if:` only
FUNCTIONS = {  # the fewest and the most arguments
    **dict.fromkeys(STATUS, (0, 0)),
    "contains": (2, 2),
    "format": (2, 255),
    "hashFiles": (1, 255),
    "startsWith": (2, 2),
}
LEVELS = (("||",), ("&&",), ("==", "!="), ("<", "<=", ">", ">="))  # what binds least comes first
KEYWORDS: dict[str, Value] = {"null": None, "true": True, "false": False}
DECIMAL = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
NUMBER = re.compile(rf"0x[0-9a-fA-F]+|0o[0-7]+|{DECIMAL}", re.ASCII)
NAME = re.compile(r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*", re.ASCII)
TOKEN = re.compile(
    rf"\s*('(?:[^']|'')*'|{NUMBER.pattern}|{NAME.pattern}|==|!=|<=|>=|&&|\|\||[!<>(),]|\}}\}})", re.ASCII
)


class WorkflowError(Exception):
    """What this runner does not model, or GitHub would not take: place and problem, on one line."""


@contextmanager
def at(place: object) -> Iterator[None]:
    """Says where, in front of every WorkflowError of the block."""
    try:
        yield
    except WorkflowError as error:
        raise WorkflowError(f"{place}: {error}") from None


# ---- parsing


@dataclass(frozen=True)
class Literal:
    value: Value


@dataclass(frozen=True)
class Reference:
    path: tuple[str, ...]  # as in github, event, inputs


@dataclass(frozen=True)
class Call:
    function: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True)
class Operation:
    operator: str
    operands: tuple["Node", ...]


Node = Literal | Reference | Call | Operation


def parse(text: str) -> Node:
    """One expression, as it stands between the braces. Raises: WorkflowError."""
    with at(f"expression '{' '.join(text.split())}'"):
        tokens, _ = _tokens(text)
        return _whole(tokens)


def template(text: str) -> list[str | Node]:
    """A text with `${{ }}` in it, in parts. Raises: WorkflowError."""
    parts: list[str | Node] = []
    start = 0
    while (opening := text.find("${{", start)) >= 0:
        parts.append(text[start:opening])
        with at(f"expression '{' '.join(text[opening + 3 :].partition('}}')[0].split())}'"):
            tokens, start = _tokens(text, opening + 3)
            if not tokens or tokens.pop() != "}}":
                raise WorkflowError("it is not closed")
            parts.append(_whole(tokens))
    return [part for part in [*parts, text[start:]] if part != ""]


def condition(text: str) -> Node:
    """The expression of an `if:`; one that names no status has `success() &&` before it.

    Raises: WorkflowError.
    """
    parts = template(text.strip())
    if any(not isinstance(part, str) for part in parts):
        if len(parts) != 1:  # GitHub takes it for a text, which is true
            raise WorkflowError(f"'{text.strip()}' is more than one ${{{{ }}}}, and so always true")
        node: Any = parts[0]
    else:
        node = parse(text)
    named = any(isinstance(part, Call) and part.function in STATUS for part in walk(node))
    return node if named else Operation("&&", (Call("success", ()), node))


def _tokens(text: str, start: int = 0) -> tuple[deque[str], int]:
    """The tokens up to and with `}}`, or up to the end; and where they end."""
    tokens = deque[str]()
    while (match := TOKEN.match(text, start)) and (not tokens or tokens[-1] != "}}"):
        tokens.append(match[1])
        start = match.end()
    if text[start:].strip() and (not tokens or tokens[-1] != "}}"):
        raise WorkflowError(f"'{text[start:].strip()[0]}' is not modelled")
    return tokens, start


def _whole(tokens: deque[str]) -> Node:
    node = _operation(tokens)
    if tokens:
        raise WorkflowError(f"'{tokens[0]}' is not expected there")
    return node


def _operation(tokens: deque[str], level: int = 0) -> Node:
    if level == len(LEVELS):
        return _operand(tokens)
    left = _operation(tokens, level + 1)
    while tokens and tokens[0] in LEVELS[level]:
        left = Operation(tokens.popleft(), (left, _operation(tokens, level + 1)))
    return left


def _operand(tokens: deque[str]) -> Node:
    token = tokens.popleft() if tokens else ""
    if token == "!":
        return Operation("!", (_operand(tokens),))
    if token == "(":
        inner = _operation(tokens)
        _expect(tokens, ")")
        return inner
    if token.startswith("'"):
        return Literal(token[1:-1].replace("''", "'"))
    if token in KEYWORDS:
        return Literal(KEYWORDS[token])
    if NUMBER.fullmatch(token):
        return Literal(to_number(token))
    if not NAME.fullmatch(token):
        raise WorkflowError(f"a value is missing before {token or 'its end'}")
    return _call(token, tokens) if tokens and tokens[0] == "(" else Reference(tuple(token.split(".")))


def _call(name: str, tokens: deque[str]) -> Node:
    if name not in FUNCTIONS:
        raise WorkflowError(f"the function '{name}' is not modelled; choose from {', '.join(FUNCTIONS)}")
    arguments: list[Node] = []
    tokens.popleft()
    while tokens and tokens[0] != ")":
        if arguments:
            _expect(tokens, ",")
        arguments.append(_operation(tokens))
    _expect(tokens, ")")
    fewest, most = FUNCTIONS[name]
    if not fewest <= len(arguments) <= most:
        raise WorkflowError(f"{name}() with {len(arguments)} arguments")
    return Call(name, tuple(arguments))


def _expect(tokens: deque[str], token: str) -> None:
    if not tokens or tokens.popleft() != token:
        raise WorkflowError(f"'{token}' is missing")


def walk(node: Node) -> Iterator[Node]:
    """The expression and all that are in it."""
    yield node
    below = node.arguments if isinstance(node, Call) else node.operands if isinstance(node, Operation) else ()
    for inner in below:
        yield from walk(inner)


# ---- checking


def check(node: Node, shape: Shape, functions: tuple[str, ...] = ()) -> None:
    """Each name is one of `shape`, each special function one of `functions`. Raises: WorkflowError."""
    for part in walk(node):
        if isinstance(part, Reference):
            _known(part.path, shape)
        if isinstance(part, Call) and part.function not in (*PURE, *functions):
            raise WorkflowError(f"the function '{part.function}' may not be used here")


def _known(path: tuple[str, ...], shape: Any) -> None:
    for depth, name in enumerate(path):
        if shape is OPEN:
            return
        if shape is None or name not in shape:
            choices = ", ".join(shape or ()) or "nothing"
            raise WorkflowError(f"'{'.'.join(path[: depth + 1])}' is not known here; choose from {choices}")
        shape = shape[name]
    if shape is not None:
        raise WorkflowError(f"'{'.'.join(path)}' is an object, which is not modelled")


# ---- evaluating


def evaluate(node: Node, contexts: Mapping[str, Any], functions: Mapping[str, Callable[..., Value]]) -> Value:
    """The value of an expression; `functions` are those that depend on the job. Raises: WorkflowError."""
    match node:
        case Literal(value):
            return value
        case Reference(path):
            return _found(path, contexts)
        case Call(name, arguments):
            return {**PURE, **functions}[name](*(evaluate(part, contexts, functions) for part in arguments))
        case Operation("!", (operand,)):
            return not truth(evaluate(operand, contexts, functions))
        case Operation("&&" | "||" as operator, (left, right)):
            value = evaluate(left, contexts, functions)
            return value if truth(value) == (operator == "||") else evaluate(right, contexts, functions)
        case Operation(operator, (left, right)):
            sides = evaluate(left, contexts, functions), evaluate(right, contexts, functions)
            return COMPARISONS[operator](*sides)
    raise AssertionError(node)


def fill(
    parts: list[str | Node], contexts: Mapping[str, Any], functions: Mapping[str, Callable[..., Value]]
) -> Value:
    """A template's value: a text, or what its only expression yields."""
    values = [part if isinstance(part, str) else evaluate(part, contexts, functions) for part in parts]
    return values[0] if len(values) == 1 else "".join(map(to_text, values))


def _found(path: tuple[str, ...], contexts: Mapping[str, Any]) -> Value:
    found: Any = contexts
    for name in path:
        below = found if isinstance(found, Mapping) else {}
        if path[0] == "env":  # as on Linux
            found = below.get(name)
        else:
            found = next((value for key, value in below.items() if key.lower() == name.lower()), None)
    if isinstance(found, Mapping | list):
        raise WorkflowError(f"'{'.'.join(path)}' is an object, which is not modelled")
    return float(found) if isinstance(found, int) and not isinstance(found, bool) else found


def truth(value: Value) -> bool:
    """False for null, '', 0 and NaN."""
    return bool(value) and value == value


def to_text(value: Value) -> str:
    """A value as it stands in a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.15G}" if isinstance(value, float) else value or ""


def to_number(value: Value) -> float:
    """A value as a comparison of two types takes it; NaN for a text that is none."""
    if not isinstance(value, str):
        return float(value or 0)
    text = value.strip() or "0"
    if not NUMBER.fullmatch(text):
        return math.nan
    return float(int(text, 0)) if text[1:2] in ("x", "o") else float(text)


def _alike(left: Value, right: Value) -> tuple[Any, Any]:
    """Both as one type: texts without their case, or numbers."""
    if isinstance(left, str) and isinstance(right, str):
        return left.upper(), right.upper()
    return to_number(left), to_number(right)


def _equal(left: Value, right: Value) -> bool:
    one, other = _alike(left, right)
    return bool(one == other)


def _less(left: Value, right: Value) -> bool:
    one, other = _alike(left, right)
    return bool(one < other)


COMPARISONS: dict[str, Callable[[Value, Value], bool]] = {
    "==": _equal,
    "!=": lambda left, right: not _equal(left, right),
    "<": _less,
    "<=": lambda left, right: _equal(left, right) or _less(left, right),
    ">": lambda left, right: _less(right, left),
    ">=": lambda left, right: _equal(left, right) or _less(right, left),
}


def _contains(search: Value, item: Value) -> bool:
    return to_text(item).upper() in to_text(search).upper()


def _starts_with(search: Value, start: Value) -> bool:
    return to_text(search).upper().startswith(to_text(start).upper())


def _format(text: Value, *values: Value) -> str:
    def replaced(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        if match[1] is None or int(match[1]) >= len(values):
            raise WorkflowError(f"format('{to_text(text)}') with {len(values)} values")
        return to_text(values[int(match[1])])

    return re.sub(r"\{\{|\}\}|\{(\d+)\}|[{}]", replaced, to_text(text))


PURE: dict[str, Callable[..., Value]] = {
    "contains": _contains,
    "format": _format,
    "startsWith": _starts_with,
}
