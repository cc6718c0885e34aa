"""Downloads files from any address that fsspec can open, with retries and one-line errors."""

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp  # fsspec raises FileNotFoundError for any failure of HTTP; its cause is aiohttp's
import fsspec
import tenacity
from fsspec.callbacks import TqdmCallback

from pipeline.core.errors import PipelineError, redact_credentials

log = logging.getLogger(__name__)
Result = TypeVar("Result")

PROGRESS_BAR = {"unit": "B", "unit_scale": True, "disable": None, "leave": False}
ATTEMPTS = 4
PAUSE = tenacity.wait_exponential_jitter(initial=1, max=30)  # seconds between attempts
CONNECT_TIMEOUT = 30  # seconds until a connection
READ_TIMEOUT = 60  # seconds without a byte
CLOUD_LIBRARIES = ("aiohttp", "aiobotocore", "botocore", "gcsfs", "google", "azure")
VERSION_KEYS = (  # of what fsspec's file systems know of a file, the best first
    "ETag",
    "etag",
    "content_hash",
    "Content-MD5",
    "Last-Modified",
    "LastModified",
    "mtime",
)
VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


@dataclass(frozen=True)
class RemoteFile:
    """What a server says about one file.

    path: as its file system names it; size: bytes, if known; version: an ETag, checksum or time.
    """

    path: str
    size: int | None
    version: str | None


def expand_variables(address: str, place: str) -> str:
    """The address with the value of each $NAME in the environment, such as a password.

    Raises: PipelineError, with `place`, for a variable that is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise PipelineError(f"{place}: ${name} is not set in the environment; set it")
        return os.environ[name]

    return VARIABLE.sub(value, address)


def remote_file(address: str) -> RemoteFile:
    """Size and version of a file, without its content. Raises: PipelineError."""
    files, path = _open_file_system(address)
    return with_retries(address, lambda: _as_remote_file(files.info(path), path))


def list_files(address: str) -> dict[str, RemoteFile]:
    """The files in a folder or of a pattern, by their names below it; not the hidden ones.

    Raises: PipelineError.
    """
    files, path = _open_file_system(address)
    is_pattern = "*" in path

    def find() -> dict[str, Any]:
        files.invalidate_cache()
        return dict(files.glob(path, detail=True) if is_pattern else files.find(path, detail=True))

    entries = with_retries(address, find)
    if not entries and not is_pattern and not with_retries(address, lambda: files.exists(path)):
        raise PipelineError(f"{_without_secrets(address)}: no such folder; correct the address")
    folder = path.partition("*")[0].rpartition("/")[0] if is_pattern else path.rstrip("/")
    by_name = {name.removeprefix(f"{folder}/"): entry for name, entry in entries.items()}
    return {
        name: _as_remote_file(entry, entry["name"])
        for name, entry in sorted(by_name.items())
        if entry["type"] == "file" and not re.search(r"(^|/)\.(?!\./)", name)  # hidden
    }


def download(address: str, to: Path, name: str | None = None) -> int:
    """Downloads one file to a local path. Returns its bytes.

    Args:
        name: path of a file that `list_files` returned for this address.

    Raises: PipelineError, also if the size differs from what the server announced.
    """
    files, path = _open_file_system(address)
    path = name or path
    announced = with_retries(address, lambda: _as_remote_file(files.info(path), path)).size

    def transfer() -> int:
        with TqdmCallback(tqdm_kwargs=PROGRESS_BAR) as bar:
            files.get_file(path, str(to), callback=bar)
        received = to.stat().st_size
        if announced is not None and received != announced:
            raise OSError(f"received {received:,} bytes of {announced:,}")
        return received

    return with_retries(address, transfer)


# ---- retries and errors


def with_retries(address: str, call: Callable[[], Result]) -> Result:
    """The result of a call that is tried again after errors that may pass.

    Raises: PipelineError after the last attempt.
    """
    attempts = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=PAUSE,
        retry=tenacity.retry_if_exception(_may_pass),
        before_sleep=lambda _: log.warning(
            "%s does not answer: trying again", _without_secrets(address)
        ),
        reraise=True,
    )
    with _convert_download_errors(address):
        return attempts(call)


def _may_pass(error: BaseException) -> bool:
    """Whether another attempt may succeed."""
    match _http_cause(error):
        case aiohttp.ClientResponseError(status=status):
            return status >= 500 or status in (408, 429)
        case aiohttp.TooManyRedirects() | aiohttp.InvalidURL():
            return False
        case FileNotFoundError() | IsADirectoryError() | PermissionError():
            return False
        case OSError() | aiohttp.ClientError() | TimeoutError():
            return True
    return False


def _without_secrets(address: str) -> str:
    """The address for messages; in a text, a blank in its query would be the end of it."""
    path, mark, query = address.partition("?")
    return redact_credentials(f"{path}{mark}{query.replace(' ', '%20')}")


@contextmanager
def _convert_download_errors(address: str) -> Iterator[None]:
    """Turns what fsspec and its file systems raise into one line. Raises: PipelineError."""
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        if message := _error_message(_http_cause(error)):
            raise PipelineError(f"{_without_secrets(address)}: {message}") from error
        raise


def _http_cause(error: BaseException) -> BaseException:
    """The error of HTTP behind fsspec's FileNotFoundError; any other error as it is."""
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and isinstance(
        cause, aiohttp.ClientError | TimeoutError
    ):
        return cause
    return error


def _error_message(error: BaseException) -> str | None:
    """Problem and way out; None for a bug."""
    match error:
        case aiohttp.TooManyRedirects():
            return "too many redirects; correct the address"
        case aiohttp.InvalidURL():
            return "not a valid address; correct it"
        case FileNotFoundError() | aiohttp.ClientResponseError(status=404):
            return "no such file; correct the address"
        case aiohttp.ClientResponseError(status=status, message=message):
            return f"the server answers {status} {message}; try again later, or correct the address"
        case IsADirectoryError():
            return "a folder; name a file in it"
        case PermissionError():
            return "access denied; check the credentials in the environment"
        case TimeoutError():
            return "timed out; check the network"
    if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in CLOUD_LIBRARIES:
        problem = " ".join(str(error).split()) or type(error).__name__
        return f"{problem}; check the network, the address and the credentials in the environment"
    return None


# ---- fsspec


def _open_file_system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it. Raises: PipelineError."""
    options: dict[str, Any] = {"skip_instance_cache": True}
    if address.startswith(("http://", "https://")):
        options |= {  # no limit on the whole time; bytes as they are, so that their number is known
            "client_kwargs": {
                "timeout": aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT
                )
            },
            "headers": {"Accept-Encoding": "identity"},
        }
    try:
        files, path = fsspec.url_to_fs(address, **options)
    except ImportError as error:  # s3fs, gcsfs, adlfs: fsspec says which to install
        raise PipelineError(f"{_without_secrets(address)}: {error}") from error
    except ValueError as error:
        raise PipelineError(f"{_without_secrets(address)}: {error}; correct the address") from error
    return files, path


def _as_remote_file(entry: dict[str, Any], path: str) -> RemoteFile:
    if entry["type"] != "file":
        raise IsADirectoryError(path)
    version = next((str(entry[key]) for key in VERSION_KEYS if entry.get(key)), None)
    return RemoteFile(path, entry.get("size"), version)
