"""The expressions of GitHub Actions that the workflows use: texts, names, `==`, `!=`, `&&` and `||`.

All else is refused as it is parsed, functions too. Without `always()` and `failure()`, a step runs only while
the job succeeds.

Source: https://docs.github.com/en/actions/reference/workflows-and-actions/expressions
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

Value = str | bool | None
Expression = list[list[list[str]]]  # what || joins, of what && joins, of a value or two around == or !=

NAME = r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*"
TOKEN = re.compile(rf"\s*('(?:[^']|'')*'|{NAME}|==|!=|&&|\|\|)\s*", re.ASCII)


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


def parse(text: str, names: Collection[str] = ("*",)) -> Expression:
    """An expression, as it stands between the braces and in an `if:`, in which these names may stand.

    Raises: WorkflowError.
    """
    with at(f"expression '{' '.join(text.split())}'"):
        tokens = list(_tokens(text.strip()))
        terms = [_split(part, "&&") for part in _split(tokens, "||")]
        for term in (term for part in terms for term in part):
            if [token in ("==", "!=") for token in term] not in ([False], [False, True, False]):
                raise WorkflowError("a value is missing, or too many are compared")
            for value in term[::2]:
                if not value.startswith("'") and not any(fnmatchcase(value, name) for name in names):
                    raise WorkflowError(f"'{value}' is not modelled here; choose from {', '.join(names)}")
        return terms


def template(text: str, names: Collection[str] = ("*",)) -> list[str | Expression]:
    """A text with `${{ }}` in it, in parts. Raises: WorkflowError."""
    parts = re.split(r"\$\{\{(.*?)\}\}", text, flags=re.DOTALL)
    if any("${{" in part for part in parts):
        raise WorkflowError(f"an expression in {text!r} is not closed")
    return [parse(part, names) if number % 2 else part for number, part in enumerate(parts)]


def _tokens(text: str) -> Iterator[str]:
    end, token = 0, ""
    while end < len(text):
        match = TOKEN.match(text, end)
        if not match:
            function = text[end] == "(" and re.fullmatch(NAME, token)
            raise WorkflowError(f"{f'the function {token}' if function else text[end]} is not modelled")
        token, end = match[1], match.end()
        yield token


def _split(tokens: list[str], operator: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token == operator:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


# ---- evaluating


def evaluate(expression: Expression, contexts: Mapping[str, Any]) -> Value:
    """The value of an expression, as in JavaScript one of its operands. Raises: WorkflowError."""
    value: Value = None
    for part in expression:
        for first, *other in part:
            value = _value(first, contexts)
            if other:
                value = _equal(value, _value(other[1], contexts)) == (other[0] == "==")
            if not value:
                break
        if value:
            break
    return value


def fill(text: str, contexts: Mapping[str, Any]) -> str:
    """A template's value: true and false as words, and nothing for null."""
    values = [part if isinstance(part, str) else evaluate(part, contexts) for part in template(text)]
    return "".join(str(value).lower() if isinstance(value, bool) else value or "" for value in values)


def _value(token: str, contexts: Mapping[str, Any]) -> Value:
    """A text, or what a name stands for, null where there is none. Names have no case, variables have."""
    if token.startswith("'"):
        return token[1:-1].replace("''", "'")
    found: Any = contexts
    for name in token.split("."):
        below = found if isinstance(found, Mapping) else {}
        if not token.startswith("env."):
            name = next((key for key in below if key.lower() == name.lower()), name)
        found = below.get(name)
    if not isinstance(found, Value):
        raise WorkflowError(f"'{token}' is neither a text nor true or false, which is not modelled")
    return found


def _equal(left: Value, right: Value) -> bool:
    """Texts without their case; null is as good as ''. What GitHub compares as numbers is refused."""
    texts = [side or "" for side in (left, right) if not isinstance(side, bool)]
    numbers = None in (left, right) and any(re.match(r"\s*[-+.\d]", text) for text in texts)
    if numbers or len(texts) < 2:
        raise WorkflowError(f"comparing {left!r} with {right!r} is not modelled")
    return texts[0].upper() == texts[1].upper()
