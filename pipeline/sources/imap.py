"""Reads the new mails of a mailbox on an IMAP server, and leaves the mailbox as it is.

Folders are opened read-only, and mails are fetched without marking them as read.
"""

import ipaddress
import logging
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import imapclient
import pydantic
from imapclient.exceptions import IMAPClientError, LoginError
from tqdm import tqdm

from pipeline.core.errors import PipelineError
from pipeline.core.params import ParamsSection
from pipeline.sources import download
from pipeline.sources.mail import MAX_MAIL_BYTES

log = logging.getLogger(__name__)

FETCHED_AT_ONCE = 25  # mails in memory at once, each of at most MAX_MAIL_BYTES
# UIDs a search: imaplib refuses a line of over 1,000,000 bytes, and a UID has up to ten digits
SEARCHED_UIDS = 50_000
MAIL_BYTES = f"BODY.PEEK[]<0.{MAX_MAIL_BYTES}>"  # PEEK: the mail is not marked as read
MAILBOX_REMEDY = "check the mailbox, and its entry in data/sources.yaml"

Position = dict[str, list[int]]  # by folder: its UIDVALIDITY, and the last UID that was read


class ImapDeclaration(ParamsSection):
    """A mailbox whose folders give the labels."""

    host: str = pydantic.Field(description="name of the IMAP server")
    port: int = pydantic.Field(default=993, ge=1, le=65535, description="port of imaps")
    user: str = pydantic.Field(description="name to log in with; $NAME as above")
    password: str = pydantic.Field(description="$NAME: the variable of the environment that has it")
    folders: dict[str, Literal["ham", "spam"]] = pydantic.Field(
        min_length=1, description="the label of each folder to read: {Junk: spam, Archive: ham}"
    )
    tls: bool = pydantic.Field(
        default=True, description="false only for a server on this machine, such as a tunnel"
    )
    ca_file: str | None = pydantic.Field(
        default=None, description="certificates to trust in place of the system's"
    )

    @pydantic.field_validator("password", mode="before")
    @classmethod
    def _password_is_a_variable(cls, password: object) -> object:
        if not isinstance(password, str) or not download.VARIABLE.fullmatch(password):
            raise ValueError(
                "not the name of a variable; write $NAME, and set NAME to the password"
            )
        return password

    @pydantic.field_validator("tls")
    @classmethod
    def _password_is_encrypted(cls, tls: bool, info: pydantic.ValidationInfo) -> bool:
        host = info.data.get("host", "")
        if not tls and not _is_loopback(host):
            raise ValueError(f"anybody between here and {host} could read the password; remove it")
        return tls


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name
        return False


# ---- the server


@dataclass(frozen=True)
class Folder:
    """A folder, and what is new in it."""

    name: str
    label: str
    uid_validity: int  # UIDs stay the same as long as this number does
    last_uid: int
    uids: list[int]  # of new mails


@dataclass(frozen=True)
class Mailbox:
    """A mailbox that is logged in to."""

    name: str  # of the source, for errors
    folders: dict[str, Any]  # their labels
    client: imapclient.IMAPClient


@contextmanager
def open_mailbox(name: str, declared: ImapDeclaration) -> Iterator[Mailbox]:
    """The mailbox of a source, inside the block.

    Raises: PipelineError, also for what the server does to the block.
    """
    with _convert_imap_errors(name, declared), _connect(declared) as client:
        _log_in(client, name, declared)
        yield Mailbox(name, declared.folders, client)


def _connect(declared: ImapDeclaration) -> imapclient.IMAPClient:
    context = ssl.create_default_context(cafile=declared.ca_file) if declared.tls else None
    timeout = imapclient.SocketTimeout(download.CONNECT_TIMEOUT, download.READ_TIMEOUT)
    return imapclient.IMAPClient(
        declared.host, declared.port, ssl=declared.tls, ssl_context=context, timeout=timeout
    )


def _log_in(client: imapclient.IMAPClient, name: str, declared: ImapDeclaration) -> None:
    user = download.expand_variables(declared.user, f"{name}.user")
    password = download.expand_variables(declared.password, f"{name}.password")
    # LOGIN takes ASCII only
    log_in = client.plain_login if client.has_capability("AUTH=PLAIN") else client.login
    try:
        log_in(user, password)
    except LoginError as error:
        answer = _answer(error).replace(password, "***")
        raise PipelineError(
            f"{name}: {declared.host} refuses the login ({answer}); correct {declared.user} and "
            f"{declared.password}"
        ) from None


def find_new_mails(mailbox: Mailbox, position: Position) -> list[Folder]:
    """The folders with the mails that are new in them. Raises: PipelineError if one is missing."""
    listed = mailbox.client.list_folders()
    existing = [name for flags, _, name in listed if b"\\Noselect" not in flags]
    for name in mailbox.folders:
        if name not in existing and name.upper() != "INBOX":
            choices = ", ".join(existing)
            raise PipelineError(f"{mailbox.name}.folders: unknown {name!r}; choose from {choices}")
    return [_new_in_folder(mailbox, name, position.get(name)) for name in mailbox.folders]


def _new_in_folder(mailbox: Mailbox, name: str, earlier: list[int] | None) -> Folder:
    uid_validity = _open_folder(mailbox, name)
    earlier_validity, last_uid = earlier or [uid_validity, 0]
    if earlier_validity != uid_validity:
        log.info("%s: %s has new UIDs: reading all of it again", mailbox.name, name)
        last_uid = 0
    uids = _uids_after(mailbox.client, last_uid)
    return Folder(name, mailbox.folders[name], uid_validity, max([last_uid, *uids]), uids)


def _open_folder(mailbox: Mailbox, name: str) -> int:
    """Opens a folder read-only; returns its UIDVALIDITY."""
    return mailbox.client.select_folder(name, readonly=True)[b"UIDVALIDITY"]


def _uids_after(client: imapclient.IMAPClient, last_uid: int) -> list[int]:
    """The UIDs above one in the open folder."""
    newest = max(client.search(["UID", "*"]), default=0)
    starts = range(last_uid + 1, newest + 1, SEARCHED_UIDS)
    windows = [(start, min(start + SEARCHED_UIDS - 1, newest)) for start in starts]
    found = [client.search(["UID", f"{first}:{last}"]) for first, last in windows]
    return sorted(uid for uids in found for uid in uids)


def fetch_mails(mailbox: Mailbox, folders: list[Folder]) -> Iterator[tuple[str, list[bytes]]]:
    """A label and the new mails that have it, FETCHED_AT_ONCE at once, cut at MAX_MAIL_BYTES.

    Raises: PipelineError.
    """
    total = sum(len(folder.uids) for folder in folders)
    with tqdm(total=total, unit=" mails", disable=None) as bar:
        for folder in folders:
            if _open_folder(mailbox, folder.name) != folder.uid_validity:
                place = f"{mailbox.name}: {folder.name}"
                raise PipelineError(f"{place}: was made anew meanwhile; run it again")
            for start in range(0, len(folder.uids), FETCHED_AT_ONCE):
                uids = folder.uids[start : start + FETCHED_AT_ONCE]
                mails = _bodies(mailbox.client.fetch(uids, [MAIL_BYTES]))
                if gone := len(uids) - len(mails):
                    place = f"{mailbox.name}: {folder.name}"
                    log.warning(
                        "warning: %s: %s mails were deleted or moved meanwhile", place, gone
                    )
                yield folder.label, mails
                bar.update(len(uids))


def _bodies(responses: dict[int, dict[bytes, Any]]) -> list[bytes]:
    """The mails in the answer to FETCH, which calls them `BODY[]<0>`."""
    return [
        value
        for _, response in sorted(responses.items())
        for key, value in response.items()
        if key.startswith(b"BODY[]") and value is not None
    ]


# ---- errors


@contextmanager
def _convert_imap_errors(name: str, declared: ImapDeclaration) -> Iterator[None]:
    """Turns what the network, the certificate and the server raise into one line."""
    try:
        yield
    except (OSError, IMAPClientError) as error:
        place = f"{name}: {declared.host}:{declared.port}"
        raise PipelineError(f"{place}: {_problem(error, declared)}") from error


def _problem(error: Exception, declared: ImapDeclaration) -> str:
    """Problem and way out."""
    match error:
        case ssl.SSLCertVerificationError():
            reason = error.verify_message.rstrip(".")
            return f"certificate not trusted ({reason}); correct host, or set ca_file to your own"
        case ssl.SSLError():
            return "TLS fails; correct port (imaps has 993) and ca_file"
        case FileNotFoundError():
            return f"no file {declared.ca_file}; correct ca_file"
        case socket.gaierror():
            return "no such host; correct host, or check the network"
        case ConnectionRefusedError():
            return "connection refused; correct host and port, or start the server"
        case TimeoutError():
            return "no answer in time; check the network, and run it again"
        case _:
            return f"{_answer(error)}; {MAILBOX_REMEDY}"


def _answer(error: Exception) -> str:
    """The text of an error; imaplib gives that of the server as `b'...'`."""
    text = re.sub(r"^(?:.*: )?b(['\"])(.*)\1$", r"\2", str(error), flags=re.DOTALL)
    return text.rstrip(".") or type(error).__name__
