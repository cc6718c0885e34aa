"""An HTTP server whose answers a test sets: cut off, stalled, redirected, failing, or good."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


def sends(body: bytes = b"", status: int = 200, **headers: str) -> Answer:
    """Sends the body. Its Content_Length in `headers` may be wrong."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)

    return answer


def stalls(request: BaseHTTPRequestHandler) -> None:
    """Sends half a body, and then nothing until the client closes the connection."""
    sends(b"half", Content_Length="8")(request)
    request.rfile.read()


class Server:
    """Gives one answer to each GET or POST of a path, and the last one to all later ones."""

    def __init__(self) -> None:
        self.answers = defaultdict[tuple[str, str], list[Answer]](lambda: [sends(status=404)])
        self.requests = list[str]()  # such as `GET /file`
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                server.requests.append(f"{self.command} {self.path}")
                answers = server.answers[self.command, self.path]
                (answers.pop(0) if len(answers) > 1 else answers[0])(self)

            do_HEAD = do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Nothing on the terminal."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def on(self, path: str, *answers: Answer, head: Answer | None = None) -> str:
        """Sets the answers of a path, and of HEAD. Returns its address."""
        self.answers["GET", path] = self.answers["POST", path] = list(answers)
        self.answers["HEAD", path] = [head or answers[-1]]
        return f"http://127.0.0.1:{self.http.server_port}{path}"


@contextmanager
def server() -> Iterator[Server]:
    """Runs the server while the block runs."""
    running = Server()
    with running.http:
        threading.Thread(target=running.http.serve_forever, args=[0.01], daemon=True).start()
        try:
            yield running
        finally:
            running.http.shutdown()
