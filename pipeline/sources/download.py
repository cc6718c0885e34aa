"""Brings files from any address that fsspec knows, patiently, and says in one line what went wrong."""

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import aiohttp
import fsspec
import tenacity
from fsspec.callbacks import TqdmCallback

from pipeline.core.errors import PipelineError, redact_credentials

log = logging.getLogger(__name__)
T = TypeVar("T")

BAR = {"unit": "B", "unit_scale": True, "disable": None, "leave": False}
TRIES = 4
PAUSE = tenacity.wait_exponential_jitter(initial=1, max=30)  # seconds between tries
CONNECT, READ = 30, 60  # seconds without an answer, or without a byte, after which a try has failed
FOREIGN = (
    "aiohttp",
    "aiobotocore",
    "botocore",
    "gcsfs",
    "google",
    "azure",
)  # of what fsspec stands on
VERSIONS = ("ETag", "etag", "content_hash", "Content-MD5", "Last-Modified", "LastModified", "mtime")
VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


@dataclass(frozen=True)
class Remote:
    """One file as its server tells of it."""

    path: str  # as its filesystem names it
    size: int | None  # bytes, where the server says
    version: str | None  # an ETag or the like: another one is another file


def expanded(address: str, place: str) -> str:
    """The address with each $NAME from the environment, where passwords belong. Raises: PipelineError."""

    def value(name: re.Match[str]) -> str:
        found = os.environ.get(name[1] or name[2])
        if found is None:
            raise PipelineError(
                f"{place}: ${name[1] or name[2]} is not set in the environment; set it"
            )
        return found

    return VARIABLE.sub(value, address)


def describe(address: str) -> Remote:
    """What the server tells of a file without sending it. Raises: PipelineError."""
    files, path = _opened(address)
    return persistently(address, lambda: _remote(files.info(path), path))


def listing(address: str) -> dict[str, Remote]:
    """The files of a folder or of a pattern, by their names below it. Raises: PipelineError."""
    files, path = _opened(address)

    def found() -> dict[str, Any]:
        files.invalidate_cache()
        return dict(files.glob(path, detail=True) if "*" in path else files.find(path, detail=True))

    entries = persistently(address, found)
    if not entries and "*" not in path and not persistently(address, lambda: files.exists(path)):
        raise PipelineError(redact_credentials(f"{address}: no such folder; mend the address"))
    folder = path.partition("*")[0].rpartition("/")[0] if "*" in path else path.rstrip("/")
    names = {name.removeprefix(f"{folder}/"): entry for name, entry in entries.items()}
    return {
        name: _remote(entry, entry["name"])
        for name, entry in sorted(names.items())
        if _is_file(entry)
    }


def download(address: str, to: Path, name: str | None = None) -> int:
    """Brings one file, or one that `listing` named, to a local path; returns its bytes.

    Raises: PipelineError, also when other bytes came than the server had promised.
    """
    files, path = _opened(address)
    path = name or path
    promised = persistently(address, lambda: _remote(files.info(path), path)).size

    def came() -> int:
        with TqdmCallback(tqdm_kwargs=BAR) as bar:
            files.get_file(path, str(to), callback=bar)
        if promised is not None and to.stat().st_size != promised:
            raise OSError(f"{to.stat().st_size:,} bytes came of {promised:,}")
        return to.stat().st_size

    return persistently(address, came)


# ---- patience, and what is said when it ends


def persistently(address: str, call: Callable[[], T]) -> T:
    """What a call returns, tried again with growing pauses. Raises: PipelineError."""
    tries = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(TRIES),
        wait=PAUSE,
        retry=tenacity.retry_if_exception(_is_passing),
        before_sleep=lambda _: log.warning(
            "%s does not answer: trying again", redact_credentials(address)
        ),
        reraise=True,
    )
    with reached(address):
        return tries(call)


def _is_passing(error: BaseException) -> bool:
    """Whether another try may help."""
    match _root(error):
        case aiohttp.ClientResponseError(status=status):
            return status >= 500 or status in (408, 429)
        case aiohttp.TooManyRedirects() | aiohttp.InvalidURL():
            return False
        case FileNotFoundError() | IsADirectoryError() | PermissionError():
            return False
        case OSError() | aiohttp.ClientError() | TimeoutError():
            return True
    return False


@contextmanager
def reached(address: str) -> Iterator[None]:
    """Turns what fsspec and its filesystems raise into one line. Raises: PipelineError."""
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        if said := _said(_root(error)):
            raise PipelineError(redact_credentials(f"{address}: {said}")) from error
        raise


def _root(error: BaseException) -> BaseException:
    """What went wrong, where fsspec calls every failure of HTTP a missing file."""
    cause = error.__cause__
    hidden = isinstance(error, FileNotFoundError) and isinstance(
        cause, aiohttp.ClientError | TimeoutError
    )
    return cause if hidden and cause else error


def _said(error: BaseException) -> str | None:
    """Problem and way out; None for a bug."""
    match error:
        case aiohttp.TooManyRedirects():
            return "redirects without end; mend the address"
        case aiohttp.InvalidURL():
            return "not an address; mend it"
        case FileNotFoundError() | aiohttp.ClientResponseError(status=404):
            return "no such file; mend the address"
        case aiohttp.ClientResponseError(status=status, message=message):
            return f"the server says {status} {message}; try again later, or mend the address"
        case IsADirectoryError():
            return "a folder; name a file in it"
        case PermissionError():
            return "refused; check the credentials in the environment"
        case TimeoutError():
            return "timed out; check the network"
    if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in FOREIGN:
        problem = " ".join(str(error).split()) or type(error).__name__
        return f"{problem}; check the network, the address and the credentials in the environment"
    return None


# ---- fsspec


def _opened(address: str) -> tuple[Any, str]:
    """The filesystem of an address, and the path in it. Raises: PipelineError."""
    options: dict[str, Any] = {"skip_instance_cache": True}
    if address.startswith(
        ("http://", "https://")
    ):  # whole bytes, and no limit on their time but on silence
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=READ)
        options |= {
            "client_kwargs": {"timeout": timeout},
            "headers": {"Accept-Encoding": "identity"},
        }
    try:
        files, path = fsspec.url_to_fs(address, **options)
    except ImportError as error:  # s3fs, gcsfs, adlfs: fsspec says which to install
        raise PipelineError(f"{redact_credentials(address)}: {error}") from error
    except ValueError as error:
        raise PipelineError(redact_credentials(f"{address}: {error}; mend the address")) from error
    return files, path


def _remote(entry: dict[str, Any], path: str) -> Remote:
    if entry["type"] != "file":
        raise IsADirectoryError(path)
    version = next((str(entry[name]) for name in VERSIONS if entry.get(name)), None)
    return Remote(path, entry.get("size"), version)


def _is_file(entry: dict[str, Any]) -> bool:
    return entry["type"] == "file" and not PurePosixPath(entry["name"]).name.startswith(".")
