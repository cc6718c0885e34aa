"""Runs a program or a server, and sees to it that whatever it starts does not outlive who asked for it."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import requests

from pipeline.core.errors import redact_credentials

OUTPUT = "output"  # the file in its folder that holds all it said
LEASH = (  # we hold the other end of its standard input: when we are gone, however, so is its group
    'exec 3<&0 0</dev/null; (read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 & exec "$@" 3<&-'
)
FOLDERS = re.compile(r"(?:file://|(?<![\w:/]))/(?:[^/\s'\"]+/)+")  # of an absolute path


@contextmanager
def running(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """The program, with our environment and this, while the block runs; without PYTHONPATH."""
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    path = os.pathsep.join([str(Path(sys.executable).parent), ours.get("PATH", os.defpath)])
    with (folder / OUTPUT).open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", LEASH, "sh", *command],
            cwd=folder,
            env={**ours, "PATH": path, **environment},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def last_line(folder: Path, before: str = "") -> str:
    """The last thing that it said, or said before these words came for the last time.

    It is short, and without folders, which may be gone by the time it is read.
    """
    said = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace")
    lines = (said.rpartition(before)[0] if before else said).split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    return redact_credentials(FOLDERS.sub("", " ".join(last.split())))[:200]


# ---- servers


@dataclass(frozen=True)
class Server:
    """A server on this machine, which may still be starting."""

    process: "subprocess.Popen[bytes]"
    folder: Path  # with its OUTPUT
    address: str

    def is_up(self, seconds: float) -> bool:
        """Waits until it answers: not longer than this, nor once it has ended."""
        until = time.monotonic() + seconds
        with session() as asking:
            while self.process.poll() is None and time.monotonic() < until:
                try:
                    if asking.get(f"{self.address}/ping", timeout=seconds).ok:
                        return True
                except requests.RequestException:
                    time.sleep(0.1)
        return False


def session() -> requests.Session:
    """A client of this machine's servers, between which no proxy stands."""
    asking = requests.Session()
    asking.trust_env = False
    return asking


@contextmanager
def serving(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Server]:
    """A server, on a free port that its command is told, and in a folder of its own, while the block runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        process = stack.enter_context(running([*command, "--port", str(port)], folder, environment))
        yield Server(process, folder, f"http://127.0.0.1:{port}")
