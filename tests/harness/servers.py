"""Real servers: PostgreSQL, S3 (moto's), MLflow with users, and a proxy that fails as it is told.

All of them listen on loopback only, keep what they write in a temporary folder, and are gone at the end.
"""

import http.client
import importlib.util
import logging
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests

ADMIN = ("admin", "the-password-of-the-admin")  # MLflow takes none shorter than 12
USER = (
    "pipeline@team",
    f"s3cret/w:th p%rts & {secrets.token_hex(4)}",
)  # in an address it is quoted
BUCKET = "mlflow"
KEYS = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_DEFAULT_REGION": "us-east-1",
}
SECONDS = 90  # until a server that does not start is given up


def missing() -> str | None:
    """Why these servers cannot be started here; None where they can."""
    if _programs() is None:
        return "PostgreSQL's initdb is not installed (Debian: apt-get install postgresql)"
    for module in ("moto", "boto3", "psycopg2", "flask_wtf"):  # the last is of mlflow[auth]
        if importlib.util.find_spec(module) is None:
            return f"the Python module {module} is not installed"
    return None


def free_port() -> int:
    """A port outside of the range from which the system picks: nobody takes it while its server is down."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


# ---- PostgreSQL


def _programs() -> Path | None:
    """The folder of PostgreSQL's programs, the newest where there are several."""
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4])
    )
    found = debian[-1] if debian else shutil.which("initdb")
    return Path(found).parent if found else None


@dataclass(frozen=True)
class Postgres:
    """A database server; all its databases belong to one user."""

    port: int
    password: str

    def address(self, database: str) -> str:
        """As SQLAlchemy wants it; without the driver's name it takes psycopg 3."""
        return f"postgresql+psycopg2://mlflow:{self.password}@127.0.0.1:{self.port}/{database}"

    def copy(self, database: str, to: str) -> None:
        """Replaces the database `to` by a copy of `database`; whoever is connected to either loses it."""
        self._do(
            f"DROP DATABASE IF EXISTS {to} WITH (FORCE)",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'",
            f"CREATE DATABASE {to} TEMPLATE {database}",
        )

    def dump(self, database: str) -> str:
        """All that a database holds, as SQL."""
        programs = _programs()
        assert programs, missing()
        command = [str(programs / "pg_dump"), self.address(database).replace("+psycopg2", "")]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def _do(self, *statements: str) -> None:
        import psycopg2

        connection = psycopg2.connect(self.address("postgres").replace("+psycopg2", ""))
        connection.autocommit = True
        for statement in statements:
            connection.cursor().execute(statement)
        connection.close()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """PostgreSQL while the block runs; it refuses to be root, so root starts it as Debian's user postgres."""
    programs = _programs()
    assert programs, missing()
    as_root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # short, as a socket's path must be
    data = ("--pgdata", str(folder / "data"))
    server = Postgres(free_port(), password="of-the-database")

    def run(program: str, *arguments: str) -> None:
        command = [
            *(["runuser", "-u", "postgres", "--"] if as_root else []),
            str(programs / program),
        ]
        done = subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{program}: {done.stdout}\n{done.stderr}"

    try:
        (folder / "password").write_text(server.password)
        if as_root:
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres")
        secret = ("--pwfile", str(folder / "password"), "--auth=scram-sha-256")
        run(
            "initdb",
            *data,
            *secret,
            "--username=mlflow",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        )
        options = f"-h 127.0.0.1 -p {server.port} -k {folder} -F"  # -F: no fsync
        run("pg_ctl", *data, "--log", str(folder / "log"), "--options", options, "--wait", "start")
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            run("pg_ctl", *data, "--mode=immediate", "stop")
        shutil.rmtree(folder)


# ---- S3


@contextmanager
def s3() -> Iterator[str]:
    """The address of an S3 with an empty bucket, while the block runs."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it tells of every request
    server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        bucket(address).create()
        yield address
    finally:
        server.stop()


def bucket(address: str) -> Any:
    """boto3's view of the bucket in which the artifacts lie."""
    import boto3

    keys = {
        "aws_access_key_id": KEYS["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": KEYS["AWS_SECRET_ACCESS_KEY"],
    }
    return boto3.resource("s3", endpoint_url=address, region_name="us-east-1", **keys).Bucket(
        BUCKET
    )


# ---- MLflow


@dataclass
class MLflow:
    """`mlflow server` with users, its data in PostgreSQL and its artifacts in S3."""

    database: Postgres
    artifacts: str  # S3's address
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    def __post_init__(self) -> None:
        self.folder.joinpath("auth.ini").write_text(
            f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {self.database.address('users')}\n"
            f"admin_username = {ADMIN[0]}\nadmin_password = {ADMIN[1]}\n"
            "auth_cache_ttl_seconds = 600\n"  # else it hashes the password at every request, for 0.25 s
        )

    @property
    def log(self) -> Path:
        return self.folder / "mlflow.log"

    def address(self, user: tuple[str, str] | None = USER, port: int | None = None) -> str:
        """What MLFLOW_TRACKING_URI is set to: with the user's name and password, quoted."""
        who = ":".join(quote(part, safe="") for part in user) + "@" if user else ""
        return f"http://{who}127.0.0.1:{port or self.port}"

    def start(self) -> None:
        """Starts it and waits until it answers; after `stop`, it is there again at the same address."""
        options = [
            *(
                "--app-name",
                "basic-auth",
                "--host",
                "127.0.0.1",
                "--port",
                str(self.port),
                "--workers",
                "1",
            ),
            *("--backend-store-uri", self.database.address("mlflow")),
            *("--serve-artifacts", "--artifacts-destination", f"s3://{BUCKET}"),
        ]
        environment = {
            "MLFLOW_AUTH_CONFIG_PATH": str(self.folder / "auth.ini"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of-the-test",
            "MLFLOW_S3_ENDPOINT_URL": self.artifacts,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its runners are processes of their own
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *options],
                cwd=self.folder,
                env={**os.environ, **KEYS, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until = time.monotonic() + SECONDS
        while not self._answers():
            assert self.process.poll() is None, f"mlflow server: {self.log.read_text()}"
            assert time.monotonic() < until, (
                f"mlflow server does not answer: {self.log.read_text()}"
            )
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.address(None)}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def stop(self) -> None:
        """Stops it, whatever it is at; what it has taken lies in its database."""
        if self.process is None:
            return
        os.killpg(self.process.pid, signal.SIGKILL)  # its workers are in its group
        self.process.wait()
        self.process = None

    def ask(self, method: str, path: str, **keywords: Any) -> requests.Response:
        """A request as the admin."""
        return requests.request(
            method, f"{self.address(None)}{path}", auth=ADMIN, timeout=60, **keywords
        )

    def save(self, name: str) -> None:
        """Keeps what the registry holds now, users and permissions included, under a name."""
        for database in ("mlflow", "users"):
            self.database.copy(database, f"{database}_{name}")

    def restore(self, name: str) -> None:
        """Brings back what was saved; the server goes on, or is started where a test left it stopped."""
        for database in ("mlflow", "users"):
            self.database.copy(f"{database}_{name}", database)
        if self.process is None:
            self.start()

    def restart(self) -> None:
        """Stops it and returns; it is there again in some seconds."""
        self.stop()
        threading.Thread(target=self.start).start()


@contextmanager
def mlflow_server(folder: Path) -> Iterator[MLflow]:
    """MLflow with an empty registry (saved as `empty`) and one user, while the block runs."""
    with postgres() as database, s3() as artifacts:
        for name in ("mlflow", "users"):
            database.copy("template1", name)
        server = MLflow(database, artifacts, folder)
        try:
            server.start()
            new = {"username": USER[0], "password": USER[1]}
            server.ask("POST", "/api/2.0/mlflow/users/create", json=new).raise_for_status()
            server.save("empty")
            yield server
        finally:
            server.stop()


# ---- a proxy that fails as told


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


Forward = Callable[[], Answer]  # asks the server
Action = Callable[
    [Forward], Answer | None
]  # what the client is told; None: the connection is dropped


def answers(status: int, body: bytes = b'{"message": "no"}', **headers: str) -> Action:
    """Answers this itself; the server is not asked. `Retry_After="1"` is a header."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return lambda forward: Answer(status, named, body)


def drops(forward: Forward) -> None:
    """Drops the connection; the server is not asked."""


def loses_the_answer(forward: Forward) -> None:
    """The server carries it out, and the client never hears of it."""
    forward()


def slows(seconds: float) -> Action:
    """Forwards it late."""

    def action(forward: Forward) -> Answer:
        time.sleep(seconds)
        return forward()

    return action


def calls(function: Callable[[], object], after: bool = False) -> Action:
    """Calls a function before or after the server carries it out, and drops the connection."""

    def action(forward: Forward) -> None:
        if after:
            forward()
        function()

    return action


def endpoint(request: str) -> str:
    """A request without what differs from file to file and from model to model."""
    return re.sub(r"(/artifacts/artifacts|/presigned|/logged-models/m-)[^ ]*", r"\1", request)


@dataclass
class _Rule:
    action: Action
    pattern: re.Pattern[str]
    numbers: Collection[int] | None
    per_endpoint: bool
    seen: Counter[str] = field(default_factory=Counter)

    def takes(self, request: str) -> bool:
        if not self.pattern.search(request):
            return False
        counted = endpoint(request) if self.per_endpoint else ""
        self.seen[counted] += 1
        return self.numbers is None or self.seen[counted] in self.numbers


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Proxy:
    """Forwards every request to the server on `target`, but for those that `on` names."""

    def __init__(self, target: int) -> None:
        self.requests: list[
            str
        ] = []  # all that came, in order, as in `POST /api/2.0/mlflow/runs/create`
        self._rules: list[_Rule] = []
        self._target = target
        self._lock = threading.Lock()
        self._server = _Listener(("127.0.0.1", free_port()), self._handler())
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def on(
        self,
        action: Action,
        pattern: str = "",
        numbers: Collection[int] | None = None,
        per_endpoint: bool = False,
    ) -> None:
        """Does `action` at requests in which `pattern` is found: at all, or at the n-th ones, from 1.

        `range(3, 1000, 3)` is every third; `per_endpoint` counts those of each endpoint by themselves.
        """
        self._rules.append(_Rule(action, re.compile(pattern), numbers, per_endpoint))

    def reset(self) -> None:
        """Forwards everything again, and forgets what came."""
        with self._lock:
            self._rules, self.requests = [], []

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _action(self, request: str) -> Action:
        with self._lock:
            self.requests.append(request)
            taken = [
                rule.action for rule in self._rules if rule.takes(request)
            ]  # all of them count
        return taken[0] if taken else lambda forward: forward()

    def _forward(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._target, timeout=SECONDS)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, _passed_on(response.getheaders()), response.read())
        finally:
            connection.close()

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # noqa: N805 (there is a self below)
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # keeps the connection
            disable_nagle_algorithm = True
            wbufsize = -1  # head and body in one packet

            def do(self) -> None:
                headers = _passed_on(self.headers.items())
                asked = (self.command, self.path, headers, _body(self))
                action = proxy._action(f"{self.command} {urlsplit(self.path).path}")
                try:
                    answer = action(lambda: proxy._forward(*asked))
                except (OSError, http.client.HTTPException):  # the server is away
                    answer = Answer(502, [], b"Bad Gateway")
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response_only(answer.status)
                for name, value in answer.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815 (http.server looks for these)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _passed_on(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers that are not of this one connection; the length is set anew."""
    own = {
        "connection",
        "keep-alive",
        "transfer-encoding",
        "content-length",
        "expect",
        "upgrade",
        "te",
    }
    return [(name, value) for name, value in headers if name.lower() not in own]


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    """The whole of it, whether its length was told or it comes in chunks."""
    if handler.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    parts = []
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        parts.append(handler.rfile.read(size))
        handler.rfile.readline()
    while handler.rfile.readline().strip():  # what may follow the last chunk
        pass
    return b"".join(parts)


@contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    """A proxy before the server on that port, while the block runs."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
