"""The error type that a user can act on, and text from outside as it may be printed."""

import errno
import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DISK_FULL_REMEDIES = {  # errno: remedy; libraries report these in their own exception types too
    errno.ENOSPC: "free space",
    errno.EDQUOT: "free space",
    errno.EROFS: "give permission",
}
OS_ERROR_REMEDIES = {  # errno: what the user can do about it
    **DISK_FULL_REMEDIES,
    errno.EACCES: "give permission",
    errno.EPERM: "give permission",
    errno.EISDIR: "move it out of the way",
    errno.ENOTDIR: "move what is in the way",
    errno.EEXIST: "move it out of the way",
    errno.EMFILE: "raise `ulimit -n`",
    errno.EIO: "check the disk",
}


MAX_LINE = 300  # characters of a printed line
ERROR_PREFIX = "error: "  # of each line of a PipelineError that is printed


class PipelineError(Exception):
    """A problem that the user can solve. Each line tells place, problem and remedy.

    Lines may contain names and texts from outside: they are cleaned by `clean_line`.
    """

    def __init__(self, *lines: str) -> None:
        limit = MAX_LINE - len(ERROR_PREFIX)
        super().__init__(f"\n{ERROR_PREFIX}".join(clean_line(line, limit) for line in lines))


_COMMON_COLUMN_NAMES = """
text label message messages msg sms mail email e-mail body content comment subject title
kind class category type target tag verdict is_spam split source language lang
id message_id row index n name author user sender from to receiver recipient phone number
date time datetime timestamp received received_at sent sent_at created created_at
probability score threshold model_version scored_at refused reasons why v1 v2
"""
COMMON_COLUMN_NAMES = frozenset(_COMMON_COLUMN_NAMES.split())


def join_column_names(columns: Iterable[object]) -> str:
    """Column names for an error message: the common ones, and the number of the others.

    In a file without a header they are a message, which may be one word, such as a password.
    """
    names = [str(name).strip() for name in columns]
    shown = [name for name in names if name.casefold() in COMMON_COLUMN_NAMES]
    hidden = len(names) - len(shown)
    if not hidden:
        return ", ".join(shown)
    count = f"{hidden:,} {'other' if shown else 'column'}{'s' if hidden > 1 else ''}"
    return f"{', '.join(shown)} and {count}" if shown else count


# ---- text from outside


def clean_line(text: str, limit: int = MAX_LINE) -> str:
    """The text on one line, as it may be printed: escaped, without credentials, shortened."""
    return shorten(redact_credentials(escape(text)), limit)


def escape(text: str) -> str:
    """The text with `\\n`, `\\x1b` and the like for what a terminal would not show as it is.

    These are control characters, line breaks, invisible and bidirectional marks, and the
    surrogates that stand for undecodable bytes in file names.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shorten(text: str, limit: int) -> str:
    """The text with at most `limit` characters: start and end, with the remedy, stay."""
    if len(text) <= limit:
        return text
    remedy = len(text.rpartition("; ")[2])
    end = max(limit * 2 // 5, min(remedy + 2, limit * 3 // 4))
    return f"{text[: limit - end - 3]} … {text[-end:]}"


# ---- credentials

ADDRESS_START = re.compile(r"(?<=[\s'\"(<=,])(?=[A-Za-z][\w+.-]*://)")
USER = re.compile(r"(?<=://)[^\s/?#]+(?=@)")
USER_AND_PASSWORD = re.compile(r"(?<=://)[^\s/?#:]*:.*")  # before the last @ of an address
QUERY_VALUE = re.compile(r"(?<=[?&])([\w.~%+\[\]-]+=)[^\s&'\"<>]*[^\s&'\"<>:;,.)\]}]")
NAMED_SECRET = re.compile(
    r"((?:password|passwd|pwd|secret|token|signature|credential|(?:api|access|account)_?key|sig)=)"
    r"(?:'[^']*'|\"[^\"]*\"|[^\s&;,'\"<>]*[^\s&;,'\"<>:.)\]}])",
    re.IGNORECASE,
)


def redact_credentials(text: str) -> str:
    """The text with `***` in place of secrets in addresses and in `password=...` and the like.

    The secrets of an address are its user name and password, and all values of its query, such as
    tokens and signatures. A password may contain `/`, `@` and blanks: everything up to the last
    `@` of the line, or before the next address, belongs to it.
    """
    return "\n".join(
        "".join(map(_redact_address, ADDRESS_START.split(line))) for line in text.split("\n")
    )


def _redact_address(text: str) -> str:
    """The text, which has one address at most, without its secrets."""
    head, at, tail = text.rpartition("@")
    text = USER.sub("***", USER_AND_PASSWORD.sub("***", head) + at + tail)
    return NAMED_SECRET.sub(r"\1***", QUERY_VALUE.sub(r"\1***", text))


class CleanFormatter(logging.Formatter):
    """Log lines of every library as `clean_line` returns them; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - of the base class
        """The record's line."""
        return clean_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """The traceback."""
        return clean_lines(super().formatException(ei))


def clean_lines(text: str) -> str:
    """A text of several lines, each cleaned."""
    return "\n".join(map(clean_line, text.splitlines()))


# ---- errors of the operating system

TEMPORARY_NAME = re.compile(r"\.([^/]+)\.\d+\.tmp")  # as files.atomic_path makes them


@contextmanager
def convert_os_errors(place: Path | str) -> Iterator[None]:
    """Turns a full disk, missing permissions and the like into one line while the block runs.

    Args:
        place: named in the message if the error itself names no file.
    Raises: PipelineError.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        if message := _os_error_message(error, place):
            raise PipelineError(message) from error
        raise


def _os_error_message(error: Exception, place: Path | str) -> str | None:
    """Place, problem and remedy; None if the error is not one of OS_ERROR_REMEDIES."""
    text = str(error)
    if "No usable temporary directory" in text:
        problem = getattr(error, "strerror", text)
        return f"{problem}; free space or give permission, then run it again"
    # a rename names its target in filename2
    file = getattr(error, "filename2", None) or getattr(error, "filename", None)
    for number, remedy in OS_ERROR_REMEDIES.items():
        problem = os.strerror(number)
        in_text = number in DISK_FULL_REMEDIES and problem in text
        if getattr(error, "errno", None) == number or in_text:
            where = TEMPORARY_NAME.sub(r"\1", str(file or place))
            return f"{where}: {problem}; {remedy}, then run it again"
    return None
