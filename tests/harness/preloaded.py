"""Starts `python -m ...` and `dvc` in a process that has imported their libraries already.

Imports are most of the time of a small project's stages: of the 48 seconds of a `dvc repro` on two
cores, 30. A server imports the libraries once; for each command it forks, and the child takes
folder, environment and streams from the client, which stands on PATH as `python` and `dvc`. Our own
code is imported in the child, from its folder. What is killed alone, measured or limited is to be
started without this.
"""

import functools
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CLIENT = Path(__file__).with_name("preloaded_client.py")
LIBRARIES = (
    *("tensorflow", "keras", "sklearn.linear_model", "scipy.stats", "tokenizers", "datasketch"),
    *("pandas", "pyarrow.parquet", "pyarrow.csv", "pyarrow.json", "pydantic", "ruamel.yaml"),
    *("mlflow.pyfunc", "mlflow.tracking", "mlflow.store.tracking.sqlalchemy_store"),
    *("great_expectations", "sqlalchemy", "jinja2", "vl_convert", "tqdm", "filelock", "tenacity"),
    *("dvc.cli", "dvc.commands.repro", "dvc.repo", "dvc_render", "networkx", "scmrepo.git"),
    *("fsspec", "aiohttp", "selectolax.lexbor", "imapclient", "charset_normalizer"),
)
SETTINGS = {  # that the libraries read when they are imported, as pipeline/__init__.py sets them
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "true",
}


@functools.cache
def programs() -> Path:
    """The folder with `python` and `dvc`. All workers of a test run share one server.

    Until the server is ready, and after its worker has ended, the programs start the real ones.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"process {os.getpid()}")
    folder = Path(tempfile.gettempdir()) / f"preloaded of {run}"
    made = Path(tempfile.mkdtemp())
    for name in ("python", "dvc"):
        command = shlex.join([sys.executable, "-IS", str(CLIENT)])
        (made / name).write_text(f'#!/bin/sh\nexec {command} "$0" "$@"\n')
        (made / name).chmod(0o755)
    try:
        made.rename(folder)
    except OSError:  # another worker was first
        shutil.rmtree(made)
    else:
        _start_server(folder)
    return folder


def _start_server(folder: Path) -> None:
    """Starts the server, which ends with this process: then its standard input is closed."""
    with (folder / "log").open("w") as log:
        subprocess.Popen(
            [sys.executable, "-P", __file__, str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=os.environ | SETTINGS,
            start_new_session=True,
        )


def main(folder: Path) -> None:
    """Imports the libraries and serves; goes on here in each child, and runs its command."""
    gc.set_threshold(10_000)
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # so that children share the memory
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(folder / "starting"))
        listener.listen(64)
        (folder / "starting").rename(folder / "socket")
        request = _next_request(listener)
    if request is None:
        shutil.rmtree(folder)
        return
    _run(request)


def _next_request(listener: socket.socket) -> dict[str, Any] | None:
    """In a child: its request, with its streams in place. In the server: None, at its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for supervisors
    while True:
        readable, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in readable:
            return None
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return _receive(connection)
        connection.close()


def _receive(connection: socket.socket) -> dict[str, Any]:
    """Forks the child of a request, which returns from here, and supervises it until its end."""
    content, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return dict(json.loads(content))
    for stream in streams:
        os.close(stream)
    try:
        _supervise(connection, child)
    finally:
        os._exit(0)


def _supervise(connection: socket.socket, child: int) -> None:
    """Passes signals on; kills the group of the child if its client is gone."""
    ended = os.pidfd_open(child)
    while True:
        readable, _, _ = select.select([connection, ended], [], [])
        if ended in readable:
            _, status = os.waitpid(child, 0)
            connection.sendall(struct.pack("i", os.waitstatus_to_exitcode(status)))
            return
        number = connection.recv(1)
        os.killpg(child, number[0] if number else signal.SIGKILL)


def _run(request: dict[str, Any]) -> None:
    """Runs the command of a request in this process, as its interpreter would."""
    os.chdir(request["folder"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 (as long as the process)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    sys.argv = request["command"]
    if sys.argv[0] == "dvc":
        from dvc.cli import main as run_dvc

        sys.exit(run_dvc(sys.argv[1:]))
    sys.path[:0] = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    del sys.argv[:2]  # python -m
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
