"""The command that serves the review page, in a process of its own."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.registry.subprocesses import Server, last_output_line, running_program
from tests.harness.servers import SECONDS
from tests.harness.small_project import ROOT


@contextmanager
def running_review(folder: Path) -> Iterator[Server]:
    """The page of the project in a folder, while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pipeline", "review-page", "--port", str(port)]
    with running_program(command, folder, {"PYTHONPATH": str(ROOT)}) as process:
        server = Server(process, folder, f"http://127.0.0.1:{port}")
        assert server.wait_until_up(SECONDS), last_output_line(folder)
        yield server
