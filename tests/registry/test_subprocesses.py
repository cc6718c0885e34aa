"""A program is gone with whatever it started: after the block, upon an exception, with a killed parent."""

import os
import re
import signal
import subprocess
import sys

import pytest
import requests

from pipeline.registry import subprocesses
from tests.harness.small_project import ROOT

GRANDCHILD = ["sh", "-c", "(sleep 20; echo outlived) > fifo & wait"]
PARENT = """
import pathlib, sys, time
from pipeline import child
with child.running(sys.argv[1:], pathlib.Path(), {}):
    time.sleep(60)
"""


@pytest.fixture
def fifo(tmp_path):
    """Its reader gets to the end when the last process that holds it for writing is gone."""
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


def test_whatever_it_started_is_gone_after_the_block(fifo):
    with subprocesses.running(GRANDCHILD, fifo.parent, {}) as process:
        grandchild = fifo.open()  # waits until it is there
    assert grandchild.read() == ""
    assert process.returncode == -signal.SIGKILL


def test_whatever_it_started_is_gone_upon_an_exception(fifo):
    opened = []

    def interrupted():
        with subprocesses.running(GRANDCHILD, fifo.parent, {}):
            opened.append(fifo.open())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert opened[0].read() == ""


def test_whatever_it_started_is_gone_with_a_parent_that_was_killed(fifo):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *GRANDCHILD], cwd=fifo.parent, env=environment
    )
    grandchild = fifo.open()
    parent.kill()
    parent.wait()
    assert grandchild.read() == ""


def test_program_that_came_to_its_end_keeps_its_status(tmp_path):
    with subprocesses.running(
        ["sh", "-c", "echo first; echo last >&2; echo; exit 3"], tmp_path, {}
    ) as process:
        assert process.wait() == 3
    assert process.returncode == 3
    assert subprocesses.last_line(tmp_path) == "last"
    assert subprocesses.last_line(tmp_path, before="last") == "first"


def test_program_that_cannot_be_run_says_so(tmp_path):
    with subprocesses.running(["no-such-program"], tmp_path, {}) as process:
        assert process.wait() == 127
    assert "no-such-program" in subprocesses.last_line(tmp_path)


def test_silence_is_told_as_such(tmp_path):
    with subprocesses.running(["true"], tmp_path, {}) as process:
        process.wait()
    assert subprocesses.last_line(tmp_path) == "it said nothing"


def test_it_has_our_environment_and_python_but_not_our_modules(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OURS", "kept")
    shown = 'command -v python; echo "$OURS, $GIVEN, ${PYTHONPATH-none}"; read -r line; echo "read $line"'
    with subprocesses.running(["sh", "-c", shown], tmp_path, {"GIVEN": "given"}) as process:
        process.wait()
    python, environment, read = (tmp_path / subprocesses.OUTPUT).read_text().splitlines()
    assert python.startswith(os.path.dirname(sys.executable))
    assert environment == "kept, given, none"
    assert read == "read "


def test_last_line_is_short_and_without_folders_and_passwords(tmp_path):
    said = f"OSError: {tmp_path}/model/MLmodel at 'file:///srv/of a/model' of http://me:secret@host/x, "
    with subprocesses.running(["echo", said + "y" * 300], tmp_path, {}) as process:
        process.wait()
    line = subprocesses.last_line(tmp_path)
    assert line.startswith("OSError: MLmodel at 'of a/model' of http://***@host/x, yyy")
    assert len(line) == 200


# ---- servers

SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/ping" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(os.sys.argv[-1])), Handler).serve_forever()
"""


def test_server_is_up_when_it_answers_and_gone_after_the_block(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with subprocesses.serving([sys.executable, "-c", SERVER], {}) as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.address)
        assert server.is_up(60)
        with subprocesses.session() as asking:
            assert asking.get(f"{server.address}/other", timeout=60).status_code == 404
    with subprocesses.session() as asking, pytest.raises(requests.ConnectionError):
        asking.get(server.address, timeout=60)
    assert not server.folder.exists()


def test_server_that_ended_is_not_waited_for():
    with subprocesses.serving(
        ["sh", "-c", 'echo "no such option: $1"; exit 2', "sh"], {}
    ) as server:
        assert not server.is_up(60)
        assert server.process.poll() == 2
        assert subprocesses.last_line(server.folder) == "no such option: --port"


def test_server_that_does_not_answer_in_time_is_not_up():
    with subprocesses.serving(["sh", "-c", "sleep 60"], {}) as server:
        assert not server.is_up(0.2)
        assert server.process.poll() is None
