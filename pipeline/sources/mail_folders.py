"""Lists and opens the mails of a folder: a Maildir, or a folder of .eml files.

Strangers may write into such a folder. Only regular files are opened: a link may lead out of it,
and a pipe or a device may never end.
"""

import hashlib
import io
import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.core.errors import PipelineError, escape
from pipeline.sources.inbox_copies import REGULAR_ONLY

MAILDIR_FOLDERS = ("cur", "new")  # that hold mails; `tmp` holds those that are being delivered
MAIL_SUFFIX = ".eml"
NOT_REGULAR = "not a regular file; remove it"


@dataclass(frozen=True)
class MailFile:
    """A file of mail, as it was when the folder was listed."""

    path: Path
    name: str  # relative to the folder, such as cur/1.M2.host:2,S
    size: int  # bytes
    changed: int  # time of change, ns


def list_mail(path: Path, others: Counter[str] | None = None) -> list[MailFile]:
    """The mails of a folder, in the order of their names, or the one file at the path.

    Of a Maildir these are the files in `cur` and `new`, of another folder those that end in .eml.

    Args:
        others: receives the number of entries that are no mails, by kind.

    Raises: PipelineError for a link, a pipe or a device, and for a folder that holds no mail.
    """
    if not path.is_dir():
        return [_mail_file(path.resolve(), path.name, path.stat())]  # the user may name a link
    folders = maildir_folders(path)
    others = Counter() if others is None else others
    files = []
    for folder in folders or [path]:
        files += _mails_in(path, folder, others, suffix="" if folders else MAIL_SUFFIX)
    if not folders and not files:
        raise PipelineError(
            f"{path}: neither a Maildir (folders `cur` and `new`) nor a folder with files that end "
            f"in {MAIL_SUFFIX}; name a folder of mails"
        )
    return sorted(files, key=lambda file: file.name)


def maildir_folders(path: Path) -> list[Path]:
    """The folders `cur` and `new` of a Maildir; none if it is not one. Raises: PipelineError."""
    folders = [path / name for name in MAILDIR_FOLDERS]
    if not all(folder.is_dir() for folder in folders):
        return []
    for folder in folders:
        if folder.is_symlink():
            raise PipelineError(f"{folder}: a link; put a folder there")
    return folders


def _mails_in(root: Path, folder: Path, others: Counter[str], suffix: str) -> list[MailFile]:
    """The mails in one folder. Args: others: receives the number of other entries by kind."""
    files = []
    for entry in os.scandir(folder):
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            others["folders"] += 1
        elif entry.name.startswith("."):
            others["hidden files"] += 1
        elif not entry.name.lower().endswith(suffix):
            others["files with another ending"] += 1
        else:
            name = path.relative_to(root).as_posix()
            files.append(_mail_file(path, name, entry.stat(follow_symlinks=False)))
    return files


def _mail_file(path: Path, name: str, status: os.stat_result) -> MailFile:
    if stat.S_ISLNK(status.st_mode):
        raise PipelineError(f"{path}: a link; put a file there, or remove it")
    if not stat.S_ISREG(status.st_mode):
        raise PipelineError(f"{path}: {NOT_REGULAR}")
    return MailFile(path, escape(name), status.st_size, status.st_mtime_ns)


@contextmanager
def open_regular(path: Path) -> Iterator[io.BufferedReader]:
    """The file, opened without following a link or waiting for a pipe. Raises: PipelineError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | REGULAR_ONLY)
    except FileNotFoundError:
        raise PipelineError(changed_meanwhile(path)) from None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise PipelineError(f"{path}: {NOT_REGULAR}")
        yield file


def check_unchanged(listed: MailFile, file: IO[bytes]) -> None:
    """Raises: PipelineError if the opened file is not as it was when it was listed."""
    status = os.fstat(file.fileno())
    if (status.st_size, status.st_mtime_ns) != (listed.size, listed.changed):
        raise PipelineError(changed_meanwhile(listed.path))


def changed_meanwhile(place: Path) -> str:
    """What to tell of mail that others change while it is read."""
    return f"{place}: it changed meanwhile; run again"


def mail_sha256(folder: Path) -> str:
    """The sha256 of the names and the contents of a folder's mails, in hexadecimal digits."""
    digest = hashlib.sha256()
    for mail in list_mail(folder):
        with open_regular(mail.path) as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{content} {mail.name}\n".encode())
    return digest.hexdigest()
