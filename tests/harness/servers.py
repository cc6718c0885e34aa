"""Real servers: PostgreSQL, S3 (moto's) and MLflow with users.

They listen on loopback only, write to temporary folders, and stop with their block.
"""

import logging
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
import sqlalchemy

from pipeline.registry.subprocesses import OUTPUT_FILE, running_program
from tests.harness.small_project import runner

ADMIN = ("admin", "the-password-of-the-admin")  # MLflow takes none shorter than 12
USER = ("pipeline@team", f"s3cret/w:th p%rts & {secrets.token_hex(4)}")  # quoted in an address
BUCKET = "mlflow"
AWS_KEYS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}
REGION = "us-east-1"
SECONDS = 90  # until a server that does not start is given up


def missing() -> str | None:
    """Why these servers cannot be started here; None if they can."""
    if _postgres_programs():
        return None
    return "PostgreSQL's initdb is not installed (Debian: apt-get install postgresql)"


def free_port() -> int:
    """A port that the system gives to nobody else, so that a stopped server can come back to it."""
    while True:
        port = random.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


# ---- PostgreSQL


def _postgres_programs() -> Path | None:
    """The folder of PostgreSQL's programs."""
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")  # on Debian, not in PATH
    initdb = max(installed, default=shutil.which("initdb"))
    return Path(initdb).parent if initdb else None


@dataclass(frozen=True)
class Postgres:
    """A database server; all its databases belong to the user `mlflow`."""

    port: int
    programs: Path
    password: str = "of-the-database"

    def address(self, database: str) -> str:
        """The URL of a database, for SQLAlchemy."""
        return f"postgresql+psycopg2://mlflow:{self.password}@127.0.0.1:{self.port}/{database}"

    def copy(self, database: str, to: str) -> None:
        """Replaces the database `to` with a copy, and closes all connections to both."""
        statements = (
            f"DROP DATABASE IF EXISTS {to} WITH (FORCE)",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'",
            f"CREATE DATABASE {to} TEMPLATE {database}",
        )
        engine = sqlalchemy.create_engine(self.address("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def dump(self, database: str) -> str:
        """Everything in a database, as SQL."""
        address = self.address(database).replace("+psycopg2", "")
        return runner(self.programs)(str(self.programs / "pg_dump"), address).stdout


@contextmanager
def postgres() -> Iterator[Postgres]:
    """PostgreSQL for the length of the block; root starts it as Debian's user postgres."""
    programs = _postgres_programs()
    assert programs, missing()
    server = Postgres(free_port(), programs)
    user = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()  # it refuses to be root
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:  # short: a socket is in it

        def run(program: str, *arguments: str) -> None:
            command = [str(programs / program), "--pgdata", f"{folder}/data", *arguments]
            runner(Path(folder))(*user, *command)

        password = Path(folder) / "password"
        password.write_text(server.password)
        if user:
            shutil.chown(folder, "postgres")
        login = ("--username=mlflow", "--pwfile", str(password), "--auth=scram-sha-256")
        run("initdb", *login, "--no-sync", "--encoding=UTF8", "--locale=C")
        options = f"-h 127.0.0.1 -p {server.port} -k {folder} -F"  # -F: no fsync
        run("pg_ctl", "--log", f"{folder}/log", "--options", options, "--wait", "start")
        try:
            yield server
        finally:
            run("pg_ctl", "--mode=immediate", "stop")


# ---- S3


@contextmanager
def s3() -> Iterator[str]:
    """The address of an S3 with an empty bucket, for the length of the block."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line for each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        bucket(address).create()
        yield address
    finally:
        server.stop()


def bucket(address: str) -> Any:
    """boto3's bucket with the artifacts."""
    import boto3

    keys = {name.lower(): value for name, value in AWS_KEYS.items()}
    return boto3.resource("s3", endpoint_url=address, region_name=REGION, **keys).Bucket(BUCKET)


# ---- MLflow


@dataclass
class MLflow:
    """`mlflow server` with users, its data in PostgreSQL and its artifacts in S3."""

    database: Postgres
    artifacts: str  # the address of S3
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None
    running: ExitStack = field(default_factory=ExitStack)  # closing it stops the process

    @property
    def log(self) -> Path:
        return self.folder / OUTPUT_FILE

    def address(self, user: tuple[str, str] | None = USER, port: int | None = None) -> str:
        """The value of MLFLOW_TRACKING_URI, with the user's name and password quoted."""
        login = ":".join(quote(part, safe="") for part in user) + "@" if user else ""
        return f"http://{login}127.0.0.1:{port or self.port}"

    def start(self) -> None:
        """Starts it and waits until it answers; after `stop` it has the same address."""
        (self.folder / "auth.ini").write_text(
            f"[mlflow]\ndefault_permission = READ\n"
            f"database_uri = {self.database.address('users')}\n"
            f"admin_username = {ADMIN[0]}\nadmin_password = {ADMIN[1]}\n"
            "auth_cache_ttl_seconds = 600\n"  # else it hashes the password for 0.25 s a request
        )
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", self.database.address("mlflow")]
        command += ["--serve-artifacts", "--artifacts-destination", f"s3://{BUCKET}"]
        environment = {
            **AWS_KEYS,
            "AWS_DEFAULT_REGION": REGION,
            "MLFLOW_AUTH_CONFIG_PATH": str(self.folder / "auth.ini"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of-the-test",
            "MLFLOW_S3_ENDPOINT_URL": self.artifacts,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # it would start more processes
        }
        program = running_program(command, self.folder, environment)
        self.process = self.running.enter_context(program)
        deadline = time.monotonic() + SECONDS
        while not self._answers():
            assert self.process.poll() is None, f"mlflow server: {self.log.read_text()}"
            assert time.monotonic() < deadline, f"no answer: {self.log.read_text()}"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.address(None)}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def stop(self) -> None:
        """Kills it, whatever it does; its data is in its database."""
        self.running.close()
        self.process = None

    def save(self, name: str) -> None:
        """Saves the registry, with users and permissions, under a name."""
        for database in ("mlflow", "users"):
            self.database.copy(database, f"{database}_{name}")

    def restore(self, name: str) -> None:
        """Restores what was saved; a server that was stopped is started."""
        for database in ("mlflow", "users"):
            self.database.copy(f"{database}_{name}", database)
        if self.process is None:
            self.start()

    def restart(self) -> None:
        """Stops it and returns; it is back some seconds later."""
        self.stop()
        threading.Thread(target=self.start).start()


@contextmanager
def mlflow_server(folder: Path) -> Iterator[MLflow]:
    """MLflow with USER and an empty registry, saved as `empty`, for the length of the block."""
    with postgres() as database, s3() as artifacts:
        for name in ("mlflow", "users"):
            database.copy("template1", name)
        server = MLflow(database, artifacts, folder)
        try:
            server.start()
            url = f"{server.address(None)}/api/2.0/mlflow/users/create"
            user = {"username": USER[0], "password": USER[1]}
            requests.post(url, auth=ADMIN, json=user, timeout=60).raise_for_status()
            server.save("empty")
            yield server
        finally:
            server.stop()
