"""Copies mails with the verdict on each in its headers, to mail of the same form."""

import itertools
import os
import shutil
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path

import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.core.files import atomic_path
from pipeline.serving.mail_headers import MailVerdict, file_lines, marked_lines
from pipeline.sources.file_formats import MAIL_FORMATS, convert_format_errors
from pipeline.sources.mail import mbox_lines
from pipeline.sources.mail_folders import (
    MailFile,
    changed_meanwhile,
    check_unchanged,
    maildir_folders,
    open_regular,
)

MBOX = ".mbox"
OWNER_ONLY = 0o600  # of a copy until it has the permissions of its mail
FOLDER_OF_OWNER = 0o700


def check_mail_output(given: Path, output: Path) -> None:
    """Raises: PipelineError if the input is no mail, or the output is not of the same form."""
    suffix = given.suffix.lower()
    if given.is_dir():
        if os.path.lexists(output):
            raise PipelineError(f"{output}: exists; name a folder that --headers can make")
    elif suffix not in MAIL_FORMATS:
        raise PipelineError(
            f"{given}: --headers: not mail; name an {' or '.join(MAIL_FORMATS)} file, a Maildir or "
            f"a folder of {MAIL_FORMATS[0]} files"
        )
    elif output.suffix.lower() != suffix:
        raise PipelineError(
            f"{output}: --headers: not of the form of {given}; name a {suffix} file"
        )


def mail_verdicts(tables: Iterable[pd.DataFrame]) -> Iterator[MailVerdict]:
    """The verdict of each row. Args: tables: with ANSWER_COLUMNS."""
    for table in tables:
        refused = table["refused"].astype(object).where(table["refused"].notna(), None)
        for row in table.assign(refused=refused).to_dict("records"):
            yield MailVerdict(
                is_spam=row["label"] == "spam",
                probability=row["probability"],
                threshold=row["threshold"],
                confident=row["confident"],
                model_version=row["model_version"],
                refused=row["refused"],
            )


def write_marked(
    given: Path, mails: list[MailFile], output: Path, verdicts: Iterable[MailVerdict]
) -> None:
    """Writes the mails with their verdicts, all at once. In memory is one line at a time.

    Args:
        given: the file, or the folder of `mails`.
        mails: as `list_mail` listed them before the first of `verdicts`.

    Raises: PipelineError, also if a mail changed since it was listed.
    """
    waiting = iter(verdicts)
    suffix = given.suffix.lower()
    with atomic_path(output) as temporary:
        if given.is_dir():
            _make_folders(given, temporary)
        for mail in mails:
            copy = temporary / mail.path.relative_to(given) if given.is_dir() else temporary
            _write_copy(mail, copy, waiting, is_mbox=given.is_file() and suffix == MBOX)
        if next(waiting, None) is not None:
            raise PipelineError(changed_meanwhile(given))


def _make_folders(given: Path, output: Path) -> None:
    """Makes an empty Maildir if the input is one, else a folder."""
    output.mkdir(FOLDER_OF_OWNER)
    if folders := maildir_folders(given):
        for name in (*(folder.name for folder in folders), "tmp"):
            (output / name).mkdir(FOLDER_OF_OWNER)


def _write_copy(mail: MailFile, to: Path, verdicts: Iterator[MailVerdict], is_mbox: bool) -> None:
    """Writes the mails of one file, with the times and the permissions of the file."""
    with open(to, "xb", opener=_open_for_owner) as copy:
        for number, lines in _mails_of(mail, is_mbox):
            if number:
                verdict = next(verdicts, None)
                if verdict is None:
                    raise PipelineError(changed_meanwhile(mail.path))
                lines = marked_lines(lines, verdict)
            copy.writelines(lines)
        copy.flush()
        os.fsync(copy.fileno())
    shutil.copystat(mail.path, to)


def _open_for_owner(name: str, flags: int) -> int:
    return os.open(name, flags, OWNER_ONLY)


def _mails_of(mail: MailFile, is_mbox: bool) -> Iterator[tuple[int, Iterator[bytes]]]:
    """The lines of each mail of a file with its number, from 1; blank lines before it have 0.

    Raises: PipelineError, also if the file is not as it was when it was listed.
    """
    with convert_format_errors(str(mail.path)), open_regular(mail.path) as file:
        if is_mbox:
            for number, lines in itertools.groupby(mbox_lines(file), itemgetter(0)):
                yield number, map(itemgetter(1), lines)
        else:
            yield 1, file_lines(file)
        check_unchanged(mail, file)
