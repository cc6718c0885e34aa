"""The error type that a user can act on, and text without credentials."""

import errno
import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

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


class PipelineError(Exception):
    """A problem that the user can solve. The message is one line: place, problem, remedy."""


def join_column_names(columns: Iterable[object]) -> str:
    """Column names for an error message, separated by commas.

    A name that is not a short word becomes `…`: without a header it may be a message.
    """
    return ", ".join(
        str(name) if re.fullmatch(r"[\w-]{1,40}", str(name)) else "…" for name in columns
    )


# ---- credentials

URL_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+(?=@)")  # `user:password` in a URL


def redact_credentials(text: str) -> str:
    """The text with `***` in place of user names and passwords in URLs."""
    return URL_CREDENTIALS.sub("***", text)


class RedactingFormatter(logging.Formatter):
    """Removes credentials from log lines of every library."""

    def format(self, record: logging.LogRecord) -> str:
        """The formatted record, with `***` in place of credentials."""
        return redact_credentials(super().format(record))


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
