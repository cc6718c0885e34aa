"""The one error type, and messages without credentials."""

import errno
import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

URL_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+(?=@)")  # the `user:password` of an address
TEMPORARY_NAME = re.compile(r"\.([^/]+)\.\d+\.tmp")  # a temporary name, and in it what it will be
DISK_FULL_REMEDIES = {
    errno.ENOSPC: "free space",
    errno.EDQUOT: "free space",
    errno.EROFS: "give permission",
}
OS_ERROR_REMEDIES = {  # what the machine may refuse, and the way out
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
    """Something that the person at the keyboard can put right: place, problem and way out."""


def join_column_names(columns: Iterable[object]) -> str:
    """Column names for an error line; `…` for what may be a message, where a file has no header."""
    return ", ".join(
        str(name) if re.fullmatch(r"[\w-]{1,40}", str(name)) else "…" for name in columns
    )


def redact_credentials(text: str) -> str:
    """The text without the user names and passwords that addresses in it hold."""
    return URL_CREDENTIALS.sub("***", text)


class RedactingFormatter(logging.Formatter):
    """Log lines without credentials, whichever library wrote them."""

    def format(self, record: logging.LogRecord) -> str:
        return redact_credentials(super().format(record))


@contextmanager
def convert_os_errors(place: Path | str) -> Iterator[None]:
    """A full disk, a folder that may not be written, whichever library says so: one line.

    Raises: PipelineError.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        if refused := _disk_error_message(error, place):
            raise PipelineError(refused) from error
        raise


def _disk_error_message(error: Exception, place: Path | str) -> str | None:
    """What the machine would not do: place, problem, way out; None where it is a bug."""
    said = str(error)
    named = getattr(error, "filename2", None) or getattr(
        error, "filename", None
    )  # where to, or where
    if "No usable temporary directory" in said:
        return (
            f"{getattr(error, 'strerror', said)}; free space or give permission, then run it again"
        )
    for number, way_out in OS_ERROR_REMEDIES.items():
        problem = os.strerror(number)
        if getattr(error, "errno", None) == number or (
            number in DISK_FULL_REMEDIES and problem in said
        ):
            where = TEMPORARY_NAME.sub(r"\1", str(named or place))
            return f"{where}: {problem}; {way_out}, then run it again"
    return None
