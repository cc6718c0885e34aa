"""Reads messages from standard input, one a line."""

import io
import sys
from collections.abc import Iterator


def standard_input_lines() -> Iterator[str]:
    """The lines without their ends. Raises: UnicodeDecodeError."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(newline="\n")  # a message may hold a bare carriage return
    return (line.removesuffix("\n").removesuffix("\r") for line in sys.stdin)
