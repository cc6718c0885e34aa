"""Runs programs and servers that end, with all that they started, when this process ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import requests

from pipeline.core.errors import escape, redact_credentials
from pipeline.registry.compile_cache import FLAGS_VARIABLE

NOT_INHERITED = ("PYTHONPATH", FLAGS_VARIABLE)  # variables that a program does not get
OUTPUT_FILE = "output"  # stdout and stderr, in the program's folder
# Kills the process group when its standard input closes, which happens whenever we end.
KILL_WITH_PARENT = (
    'exec 3<&0 0</dev/null; (read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 & exec "$@" 3<&-'
)
FOLDERS = re.compile(r"(?:file://|(?<![\w:/]))/(?:[^/\s'\"]+/)+")  # of an absolute path


@contextmanager
def running_program(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """A program that runs for the length of the block at most.

    Args:
        folder: its working directory, where OUTPUT_FILE is written.
        environment: added to ours, which it gets without NOT_INHERITED.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    path = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)])
    with (folder / OUTPUT_FILE).open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", KILL_WITH_PARENT, "sh", *command],
            cwd=folder,
            env={**inherited, "PATH": path, **environment},
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


def last_output_line(folder: Path, before: str = "") -> str:
    """The last line of a program's output, at most 200 characters, without folders and passwords.

    Args:
        before: if given, the last line before the last occurrence of this text.
    """
    output = (folder / OUTPUT_FILE).read_text(encoding="utf-8", errors="replace")
    if before:
        output = output.rpartition(before)[0]
    lines = [line for line in output.split("\n") if line.strip()]
    last = " ".join(lines[-1].split()) if lines else "no output"
    return FOLDERS.sub("", redact_credentials(escape(last)))[:200]


# ---- servers


@dataclass(frozen=True)
class Server:
    """A server on this machine, which may still be starting."""

    process: "subprocess.Popen[bytes]"
    folder: Path  # with OUTPUT_FILE
    address: str

    def wait_until_up(self, seconds: float) -> bool:
        """Whether it answers `/ping` within these seconds; False as soon as it has ended."""
        deadline = time.monotonic() + seconds
        with local_session() as session:
            while self.process.poll() is None and time.monotonic() < deadline:
                try:
                    if session.get(f"{self.address}/ping", timeout=seconds).ok:
                        return True
                except requests.RequestException:
                    time.sleep(0.1)
        return False


def local_session() -> requests.Session:
    """A client for servers of this machine, which ignores HTTP_PROXY and the like."""
    session = requests.Session()
    session.trust_env = False
    return session


@contextmanager
def running_server(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Server]:
    """A server for the length of the block, in a temporary folder.

    Args:
        command: gets `--port` and a free port as its last arguments.
        environment: as in `running_program`.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [*command, "--port", str(port)]
        with running_program(command, folder, environment) as process:
            yield Server(process, folder, f"http://127.0.0.1:{port}")
