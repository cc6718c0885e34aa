"""Lets the server of preloaded.py run a command of `python` or `dvc`.

It starts the real program where the server could not do the same: without a server, for a script
or an option of the interpreter, and with settings of the interpreter in the environment.
"""

import json
import os
import signal
import socket
import struct
import sys

HERE, NAME = os.path.split(sys.argv[1])
ARGUMENTS = sys.argv[2:]
SETTINGS = {name for name in os.environ if name.startswith("PYTHON")}
SETTINGS -= {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}  # the server heeds these


def connected() -> socket.socket | None:
    """A connection to the server, None if the real program is to run."""
    if SETTINGS or (NAME == "python" and ARGUMENTS[:1] != ["-m"]):
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(f"{HERE}/socket")
    except OSError:
        return None
    return connection


def run_by_server(connection: socket.socket) -> int:
    """Runs the command; its exit status, or the negative number of the signal that ended it."""
    umask = os.umask(0)
    os.umask(umask)
    request = {
        "command": [NAME, *ARGUMENTS],
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "umask": umask,
    }
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: connection.sendall(bytes([number])))
    socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
    status = connection.recv(4)
    return struct.unpack("i", status)[0] if status else -signal.SIGKILL


connection = connected()
if connection is None:
    program = os.path.join(os.path.dirname(sys.executable), NAME)
    os.execv(program, [program, *ARGUMENTS])
status = run_by_server(connection)
if status < 0:
    if status != -signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
