"""Reads messages from standard input, one a line."""

import io
import sys
from collections.abc import Iterator

from pipeline.core.errors import PipelineError


def standard_input_lines() -> Iterator[str]:
    """The lines without their ends. Raises: UnicodeDecodeError; PipelineError if it is closed."""
    if sys.stdin is None:
        raise PipelineError("-: standard input is closed; give messages to it, or name a file")
    if isinstance(sys.stdin, io.TextIOWrapper):
        # A message may hold a bare carriage return. Without a locale, Python would take any bytes.
        sys.stdin.reconfigure(newline="\n", errors="strict")
    return (line.removesuffix("\n").removesuffix("\r") for line in sys.stdin)
