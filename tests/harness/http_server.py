"""An HTTP server that answers as it is told: slow, cut off, lying, redirecting, failing and then not."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


def sends(body: bytes, length: int | None = None, **headers: str) -> Answer:
    """The body under a Content-Length, which may be a lie; a connection whose body is too short is cut."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)
        request.close_connection = True

    return answer


def says(status: int) -> Answer:
    """A status without a body."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def redirects(to: str) -> Answer:
    """Elsewhere, or in a loop."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", to)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


class Server:
    """`on(path, answers)`: one answer a GET, the last one for ever; HEAD has answers of its own."""

    def __init__(self) -> None:
        self.answers = defaultdict[tuple[str, str], list[Answer]](list)
        self.asked = list[str]()  # `GET /file`
        self.free = threading.Event()  # what a stalled answer waits for
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(f"{self.command} {self.path}")
                answers = server.answers[self.command, self.path] or [says(404)]
                (answers.pop(0) if len(answers) > 1 else answers[0])(self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Nothing on the terminal."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def on(self, path: str, *answers: Answer, head: Answer | None = None) -> str:
        """The address of a path that answers so."""
        self.answers["GET", path] = list(answers)
        self.answers["HEAD", path] = [head or answers[-1]]
        return f"http://127.0.0.1:{self.http.server_port}{path}"

    def stalls(self, request: BaseHTTPRequestHandler) -> None:
        """Headers and half a body, and then silence."""
        request.send_response(200)
        request.send_header("Content-Length", "8")
        request.end_headers()
        request.wfile.write(b"half")
        request.wfile.flush()
        self.free.wait(60)


@contextmanager
def server() -> Iterator[Server]:
    """The server while the block runs."""
    hostile = Server()
    thread = threading.Thread(target=hostile.http.serve_forever, daemon=True)
    thread.start()
    try:
        yield hostile
    finally:
        hostile.free.set()
        hostile.http.shutdown()
        hostile.http.server_close()
