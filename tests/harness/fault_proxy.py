"""A proxy before a server, which fails as a test tells it."""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import urllib3
from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

Forward = Callable[[], Response]  # sends the request to the server
Action = Callable[[Forward], Response]  # a ConnectionError drops the connection to the client
OWN_HEADERS = ("connection", "keep-alive", "transfer-encoding", "content-length", "expect")


def answers(status: int, body: bytes = b'{"message": "no"}', **headers: str) -> Action:
    """Answers without the server. `Retry_After="1"` is a header."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return lambda forward: Response(body, status, named)


def calls(function: Callable[[], object], after: bool = False) -> Action:
    """Calls a function before or after the server serves the request; drops the connection."""

    def action(forward: Forward) -> Response:
        if after:
            forward()
        function()
        raise ConnectionAbortedError

    return action


drops = calls(lambda: None)  # without the server
loses_the_answer = calls(lambda: None, after=True)


@dataclass
class _Rule:
    action: Action
    pattern: str
    number: int | None
    per_endpoint: bool
    seen: Counter[str] = field(default_factory=Counter)

    def applies(self, request: str) -> bool:
        if not re.search(self.pattern, request):
            return False
        variable = r"(/artifacts/artifacts|/presigned|/logged-models/m-)[^ ]*"  # file or model
        endpoint = re.sub(variable, r"\1", request) if self.per_endpoint else ""
        self.seen[endpoint] += 1
        return self.number in (None, self.seen[endpoint])


class Proxy:
    """Forwards every request to the server on `target`, except those that `on` names."""

    def __init__(self, target: int) -> None:
        self.requests: list[str] = []  # in order, as in `POST /api/2.0/mlflow/runs/create`
        self._target = target
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        app = Request.application(self._answer)
        self.server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Handler)
        self.port = self.server.port

    def on(
        self,
        action: Action,
        pattern: str = "",
        number: int | None = None,
        per_endpoint: bool = False,
    ) -> None:
        """Takes the action at requests that match the pattern.

        Args:
            number: only at this one of them, counted from 1.
            per_endpoint: count the requests of each endpoint by themselves.
        """
        self._rules.append(_Rule(action, pattern, number, per_endpoint))

    def reset(self) -> None:
        """Forgets rules and requests."""
        with self._lock:
            self._rules, self.requests = [], []

    def _answer(self, request: Request) -> Response:
        """Takes the action of the first rule that applies; every rule counts the request."""
        line = f"{request.method} {request.path}"
        with self._lock:
            self.requests.append(line)
            actions = [rule.action for rule in self._rules if rule.applies(line)]
        body = request.get_data()
        action = actions[0] if actions else lambda forward: forward()
        try:
            return action(lambda: self._forward(request, body))
        except urllib3.exceptions.HTTPError:  # the server does not answer
            return Response("Bad Gateway", 502)

    def _forward(self, request: Request, body: bytes) -> Response:
        with urllib3.HTTPConnectionPool("127.0.0.1", self._target, timeout=90) as server:
            response = server.urlopen(
                *(request.method, request.environ["RAW_URI"], body),
                headers=dict(_end_to_end(request.headers.items())),
                retries=False,
                assert_same_host=False,
                decode_content=False,
            )
        return Response(response.data, response.status, _end_to_end(response.headers.items()))


class _Handler(WSGIRequestHandler):
    disable_nagle_algorithm = True

    def connection_dropped(self, error: BaseException, environ: dict | None = None) -> None:
        """Closes the connection after a ConnectionError of an action or of the client."""
        self.close_connection = True


def _end_to_end(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers that do not belong to one connection; the length is set anew."""
    return [(name, value) for name, value in headers if name.lower() not in OWN_HEADERS]


@contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    """A proxy before the server on that port, for the length of the block."""
    proxy = Proxy(port)
    thread = threading.Thread(target=proxy.server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        thread.join()
