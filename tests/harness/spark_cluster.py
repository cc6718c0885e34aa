"""A real Spark cluster: a standalone master with two workers, and executors that are killed."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from pipeline.registry.subprocesses import running_program
from tests.harness.servers import SECONDS, free_port

EXECUTOR = "CoarseGrainedExecutorBackend"  # main class of an executor's process
MASTER, WORKER = "org.apache.spark.deploy.master.Master", "org.apache.spark.deploy.worker.Worker"


def missing_spark() -> str | None:
    """Why Spark cannot run here; None if it can."""
    if find_spec("pyspark") is None:
        return "pyspark is not installed; run `make spark`"
    home = os.environ.get("JAVA_HOME")
    if shutil.which(f"{home}/bin/java" if home else "java") is None:
        return "Java is not installed; Spark 4 needs 17 or later"
    return None


@contextmanager
def standalone_master(folder: Path) -> Iterator[str]:
    """The address of a master with two workers of one core, while the block runs."""
    port = free_port()
    address = f"spark://127.0.0.1:{port}"
    host = ["--host", "127.0.0.1", "--webui-port", "0"]
    size = ["--cores", "1", "--memory", "2g"]
    with ExitStack() as started:
        started.enter_context(_running_class(folder / "master", MASTER, *host, "--port", str(port)))
        _wait_for_port(port)
        for name in ("worker1", "worker2"):
            started.enter_context(_running_class(folder / name, WORKER, *host, *size, address))
        yield address


def _running_class(folder: Path, name: str, *arguments: str) -> AbstractContextManager[Any]:
    """A class of Spark as a program, which works in a new folder."""
    folder.mkdir()
    home = Path(str(find_spec("pyspark").origin)).parent
    variables = {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
    variables |= {"SPARK_WORKER_DIR": str(folder), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    return running_program([str(home / "bin" / "spark-class"), name, *arguments], folder, variables)


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        assert time.monotonic() < deadline, "the master does not start"
        time.sleep(0.1)


# ---- kills


def executors() -> list[psutil.Process]:
    """The executors that this process or its children have started."""
    return [one for one in psutil.Process().children(recursive=True) if _is_executor(one)]


def _is_executor(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return any(EXECUTOR in word for word in process.cmdline())
    return False


@contextmanager
def killed_executor(output: Path) -> Iterator[list[int]]:
    """Kills one executor after the first finished task of a job; its process ids so far."""
    killed: list[int] = []
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(0.02):
            if any(output.glob("_temporary/*/task_*")):
                victim = executors()[0]
                victim.kill()
                killed.append(victim.pid)
                return

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()
