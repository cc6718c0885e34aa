"""A program and all that it started end with the block, an exception, or a killed parent."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
import requests

from pipeline.registry import subprocesses
from pipeline.registry.subprocesses import last_output_line, running_program, running_server
from tests.harness.small_project import ROOT

GRANDCHILD = ["sh", "-c", "(sleep 20; echo outlived) > fifo & wait"]
PARENT = """
import pathlib, sys, time
from pipeline.registry import subprocesses
with subprocesses.running_program(sys.argv[1:], pathlib.Path(), {}):
    time.sleep(60)
"""


@pytest.fixture
def fifo(tmp_path):
    """Its reader sees the end of the file when the last process that may write to it has ended."""
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


def test_grandchild_ends_upon_an_exception(fifo):
    with suppress(KeyboardInterrupt), running_program(GRANDCHILD, fifo.parent, {}) as process:
        grandchild = fifo.open()  # waits until it is there
        raise KeyboardInterrupt
    assert grandchild.read() == ""
    assert process.returncode == -signal.SIGKILL


def test_grandchild_ends_with_a_killed_parent(fifo):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PARENT, *GRANDCHILD]
    parent = subprocess.Popen(command, cwd=fifo.parent, env=environment)
    grandchild = fifo.open()
    parent.kill()
    parent.wait()
    assert grandchild.read() == ""


def test_ended_program_keeps_status_and_output(tmp_path):
    command = ["sh", "-c", "echo first; echo last >&2; echo; exit 3"]
    with running_program(command, tmp_path, {}) as process:
        assert process.wait() == 3
    assert last_output_line(tmp_path) == "last"
    assert last_output_line(tmp_path, before="last") == "first"
    assert last_output_line(tmp_path, before="first") == "no output"


def test_program_gets_our_environment_but_not_our_modules(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OURS", "kept")
    script = 'command -v python; echo "$OURS, $GIVEN, ${PYTHONPATH-none}"; '
    script += 'read -r line; echo "read $line"'
    with running_program(["sh", "-c", script], tmp_path, {"GIVEN": "given"}) as process:
        process.wait()
    python, environment, read = (tmp_path / subprocesses.OUTPUT_FILE).read_text().splitlines()
    assert python.startswith(os.path.dirname(sys.executable))
    assert environment == "kept, given, none"
    assert read == "read "


def test_last_line_is_short_without_folders_and_passwords(tmp_path):
    output = f"OSError: {tmp_path}/model/MLmodel at 'file:///srv/of a/model' "
    output += f"of http://me:secret@host/x, {'y' * 300}"
    (tmp_path / subprocesses.OUTPUT_FILE).write_text(output)
    line = last_output_line(tmp_path)
    assert line.startswith("OSError: MLmodel at 'of a/model' of http://***@host/x, yyy")
    assert len(line) == 200


# ---- servers

SERVER = 'touch ping; exec python -m http.server --bind 127.0.0.1 "$2"'  # $1 is --port


def test_server_answers_in_the_block_and_ends_after_it(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with running_server(["sh", "-c", SERVER, "sh"], {}) as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.address)
        assert server.wait_until_up(60)
        with subprocesses.local_session() as session:
            assert session.get(f"{server.address}/other", timeout=60).status_code == 404
    with subprocesses.local_session() as session, pytest.raises(requests.ConnectionError):
        session.get(server.address, timeout=60)
    assert not server.folder.exists()


def test_ended_server_is_not_waited_for():
    command = ["sh", "-c", 'echo "no such option: $1"; exit 2', "sh"]
    with running_server(command, {}) as server:
        assert not server.wait_until_up(60)
        assert server.process.poll() == 2
        assert last_output_line(server.folder) == "no such option: --port"


def test_silent_server_is_not_up():
    with running_server(["sh", "-c", "sleep 60"], {}) as server:
        assert not server.wait_until_up(0.2)
        assert server.process.poll() is None
