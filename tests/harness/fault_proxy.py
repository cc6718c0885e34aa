"""A proxy before a server, which fails as a test tells it."""

import http.client
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.harness.servers import free_port


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


Forward = Callable[[], Answer]  # sends the request to the server
Action = Callable[[Forward], Answer | None]  # the answer to the client; None drops the connection


def answers(status: int, body: bytes = b'{"message": "no"}', **headers: str) -> Action:
    """Answers without the server. `Retry_After="1"` is a header."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return lambda forward: Answer(status, named, body)


def drops(forward: Forward) -> None:
    """Drops the connection without the server."""


def loses_the_answer(forward: Forward) -> None:
    """Drops the connection after the server has served the request."""
    forward()


def slows(seconds: float) -> Action:
    """Forwards the request late."""

    def action(forward: Forward) -> Answer:
        time.sleep(seconds)
        return forward()

    return action


def calls(function: Callable[[], object], after: bool = False) -> Action:
    """Calls a function before or after the server serves the request; drops the connection."""

    def action(forward: Forward) -> None:
        if after:
            forward()
        function()

    return action


@dataclass
class _Rule:
    action: Action
    pattern: str
    numbers: Collection[int] | None
    per_endpoint: bool
    seen: Counter[str] = field(default_factory=Counter)

    def applies(self, request: str) -> bool:
        if not re.search(self.pattern, request):
            return False
        variable = r"(/artifacts/artifacts|/presigned|/logged-models/m-)[^ ]*"  # file or model
        endpoint = re.sub(variable, r"\1", request) if self.per_endpoint else ""
        self.seen[endpoint] += 1
        return self.numbers is None or self.seen[endpoint] in self.numbers


class Proxy:
    """Forwards every request to the server on `target`, except those that `on` names."""

    def __init__(self, target: int) -> None:
        self.requests: list[str] = []  # in order, as in `POST /api/2.0/mlflow/runs/create`
        self.target = target
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._server = _ProxyServer(("127.0.0.1", free_port()), _Handler)
        self._server.proxy = self
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
        """Takes the action at requests that match the pattern.

        Args:
            numbers: only at these of them, counted from 1.
            per_endpoint: count the requests of each endpoint by themselves.
        """
        self._rules.append(_Rule(action, pattern, numbers, per_endpoint))

    def reset(self) -> None:
        """Forgets rules and requests."""
        with self._lock:
            self._rules, self.requests = [], []

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def action(self, request: str) -> Action:
        """The action of the first rule that applies; every rule counts the request."""
        with self._lock:
            self.requests.append(request)
            actions = [rule.action for rule in self._rules if rule.applies(request)]
        return actions[0] if actions else lambda forward: forward()


class _ProxyServer(ThreadingHTTPServer):
    daemon_threads = True
    proxy: Proxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # as of a client that was killed
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _ProxyServer
    protocol_version = "HTTP/1.1"  # keeps the connection
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet

    def do(self) -> None:
        body = self._read_body()
        action = self.server.proxy.action(f"{self.command} {urlsplit(self.path).path}")
        try:
            answer = action(lambda: self._forward(body))
        except (OSError, http.client.HTTPException):  # the server does not answer
            answer = Answer(502, [], b"Bad Gateway")
        if answer is None:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in [*answer.headers, ("Content-Length", str(len(answer.body)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815 (http.server's names)

    def log_message(self, *_: object) -> None:
        pass

    def _read_body(self) -> bytes:
        """The body, sent with a length or in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(parts)

    def _forward(self, body: bytes) -> Answer:
        target = self.server.proxy.target
        connection = http.client.HTTPConnection("127.0.0.1", target, timeout=90)
        try:
            connection.putrequest(self.command, self.path, True, True)  # no headers of its own
            for name, value in _end_to_end(self.headers.items()):
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            headers = _end_to_end(response.getheaders())
            return Answer(response.status, headers, response.read())
        finally:
            connection.close()


def _end_to_end(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers that do not belong to one connection; the length is set anew."""
    own = {"connection", "keep-alive", "transfer-encoding", "content-length"}
    own |= {"expect", "upgrade", "te"}
    return [(name, value) for name, value in headers if name.lower() not in own]


@contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    """A proxy before the server on that port, for the length of the block."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
