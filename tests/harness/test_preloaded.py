"""A preloaded program does what the real one does."""

import signal
import subprocess
import time

import psutil
import pytest

from tests.harness.preloaded import programs
from tests.harness.small_project import environment, preloaded_environment

pytestmark = pytest.mark.slow  # the server imports all libraries

PROGRAM = """
import os, signal, sys, time
print(sys.argv, os.getcwd(), __name__, os.environ["GREETING"], sys.stdin.read())
print("error", file=sys.stderr)
if sys.argv[1] == "sleep":
    print(os.getpid(), "asleep", flush=True)
    time.sleep(600)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGTERM)
if sys.argv[1] == "raises":
    raise KeyError("why")
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def variables():
    """The environment of preloaded programs, once their server is ready."""
    while not (programs() / "socket").exists():
        assert "Traceback" not in (programs() / "log").read_text()
        time.sleep(0.1)
    return preloaded_environment() | {"GREETING": "good day"}


@pytest.fixture
def start(tmp_path, variables):
    """Starts a module that does what its argument says."""
    (tmp_path / "program.py").write_text(PROGRAM)

    def started(*command, env=variables):
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(command, cwd=tmp_path, env=env, text=True, **streams)

    return started


@pytest.mark.parametrize("does", ["0", "3", "killed", "raises"])
def test_it_ends_and_prints_as_the_real_one(start, variables, does):
    command = ("python", "-m", "program", does)
    preloaded, real = start(*command), start(*command, env=variables | environment())
    said, said_by_real = preloaded.communicate("a line"), real.communicate("a line")
    assert said[0] == said_by_real[0] != ""
    assert said[1].splitlines()[::100] == said_by_real[1].splitlines()[::100]
    assert said[1].splitlines()[-1] == said_by_real[1].splitlines()[-1]
    assert preloaded.returncode == real.returncode


def test_libraries_are_there_before_the_program(start, tmp_path):
    (tmp_path / "loaded.py").write_text("import sys\nprint('tensorflow' in sys.modules)")
    assert start("python", "-m", "loaded").communicate()[0] == "True\n"
    assert start("python", "loaded.py").communicate()[0] == "False\n"


def test_dvc_runs_stages_with_the_libraries(start, tmp_path):
    (tmp_path / "loaded.py").write_text("import sys\nprint('tensorflow' in sys.modules)")
    (tmp_path / "dvc.yaml").write_text("stages: {only: {cmd: python -m loaded}}")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    start("dvc", "init", "--quiet").communicate()
    done = start("dvc", "repro")
    printed = done.communicate()
    assert "True" in printed[0].splitlines()
    assert done.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_the_whole_program(start, number):
    process = start("python", "-m", "program", "sleep")
    process.stdin.close()
    words = process.stdout.readline().split() + process.stdout.readline().split()
    assert words[-1] == "asleep"
    child = psutil.Process(int(words[-2]))
    process.send_signal(number)
    assert process.wait(60) == -number
    assert psutil.wait_procs([child], 60)[0] == [child]
