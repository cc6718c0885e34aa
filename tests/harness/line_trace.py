"""The lines of a module that a call runs, and those that it has."""

import sys
from collections.abc import Callable
from inspect import CO_NEWLOCALS
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any


def run_lines(module: ModuleType, call: Callable[..., object], *arguments: object) -> set[int]:
    """The numbers of the module's lines that run in a call."""
    lines: set[int] = set()

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename != module.__file__:
            return None
        lines.add(frame.f_lineno)
        return trace

    sys.settrace(trace)
    try:
        call(*arguments)
    finally:
        sys.settrace(None)
    return lines


def function_lines(module: ModuleType) -> set[int]:
    """The numbers of the lines with code in the functions of a module, without `def` lines."""
    path = str(module.__file__)
    return _lines_of(compile(Path(path).read_text("utf-8"), path, "exec"))


def _lines_of(code: CodeType) -> set[int]:
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    own = {line for _, _, line in code.co_lines() if line} - {code.co_firstlineno}
    is_function = bool(code.co_flags & CO_NEWLOCALS)  # not a module or a class
    return (own if is_function else set[int]()).union(*map(_lines_of, inner))
