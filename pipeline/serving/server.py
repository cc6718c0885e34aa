"""Serves the champion over HTTP on this machine, until it is interrupted.

It takes what MLflow's own server takes as JSON or CSV, within limits, and gives a 4xx answer to
every bad request. POST to /invocations: {"dataframe_records": [{"text": "WIN a prize now"}]}; a
record may name its `source`, whose threshold is used.
"""

import argparse
import asyncio
import importlib.metadata
import logging
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.core.cli import argument_parser
from pipeline.core.errors import PipelineError
from pipeline.registry import versions
from pipeline.serving import request_bodies
from pipeline.serving.labels import label_messages
from pipeline.serving.request_bodies import RequestError

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline serve --port 5001"
HOST = "127.0.0.1"  # for other machines, put a proxy with user accounts in front
HOST_NAMES = ("127.0.0.1", "localhost")  # in the header Host
VERSION_HEADER = "X-Model-Version"  # MLflow's own clients read the body alone
MAX_REQUESTS = 100  # at once
WORKERS = 4  # requests that are labelled at once; the others wait
REQUEST_SECONDS = 60  # waiting included, and the model's compilation at its first messages
MAX_CONNECTIONS = 200  # files that this process may open are limited, often to 1,024
ARRIVAL_SECONDS = 10  # for a connection to send its next request whole


# ---- the app


def build_app(model: Any, version: str, host_names: Sequence[str]) -> FastAPI:
    """The app for a pyfunc model.

    Args:
        version: of the model, for the header VERSION_HEADER of each answer.
        host_names: for the header Host, so that no web page can read answers by a name of its own.
    """
    app = FastAPI(openapi_url=None)
    places = asyncio.Semaphore(MAX_REQUESTS)
    workers = ThreadPoolExecutor(WORKERS)

    def answer(body: bytes, media_type: str) -> Response:
        texts, sources = request_bodies.messages_in(body, media_type)
        answers = label_messages(texts, model, sources)
        content = {"predictions": answers.to_dict("records")}
        return JSONResponse(content, headers={VERSION_HEADER: version})

    @app.get("/ping")
    @app.get("/health")
    async def ping() -> Response:
        return Response("\n", media_type="application/json")

    @app.get("/version")
    async def mlflow_version() -> Response:
        return Response(importlib.metadata.version("mlflow"), media_type="application/json")

    @app.post("/invocations")
    async def invocations(request: Request) -> Response:
        media_type = accepted_media_type(request)
        body = await request.body()
        if places.locked():
            raise RequestError(503, f"more than {MAX_REQUESTS} requests at once; try again later")
        async with places:
            answered = asyncio.get_running_loop().run_in_executor(workers, answer, body, media_type)
            try:
                return await asyncio.wait_for(answered, REQUEST_SECONDS)
            except TimeoutError:
                problem = f"no answer within {REQUEST_SECONDS} seconds; try again later"
                raise RequestError(503, problem) from None

    app.add_exception_handler(RequestError, _error_response)
    app.add_exception_handler(HTTPException, _error_response)  # no such path or method
    app.add_exception_handler(ClientDisconnect, _error_response)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(host_names), www_redirect=False)
    return app


def accepted_media_type(request: Request) -> str:
    """The media type of a request whose headers are good. Raises: RequestError."""
    length = request.headers.get("content-length", "")
    content_type = request.headers.get("content-type", "").lower()
    media_type, _, parameters = content_type.replace(" ", "").replace('"', "").partition(";")
    known = media_type in request_bodies.READERS
    if not known or parameters not in ("", "charset=utf-8"):
        choices = " or ".join(request_bodies.READERS)
        raise RequestError(415, f"send Content-Type {choices}, in UTF-8")
    if not length.isdecimal() or "transfer-encoding" in request.headers:
        raise RequestError(411, "no Content-Length")
    if int(length) > request_bodies.MAX_BYTES:
        limit = f"{request_bodies.MAX_BYTES:,} bytes"
        raise RequestError(413, f"the body has more than {limit}; send fewer messages at a time")
    return media_type


async def _error_response(request: Request, error: Any) -> Response:
    """An error with the keys of MLflow's own errors."""
    status: int = getattr(error, "status_code", 400)  # 400 for a client that went away
    content = {"error_code": "BAD_REQUEST", "message": str(getattr(error, "detail", error))}
    return JSONResponse(content, status, {"Retry-After": "1"} if status == 503 else None)


# ---- connections


class TimedConnection(H11Protocol):
    """A connection that is closed if its next request does not arrive whole in time.

    uvicorn itself closes only connections that are silent after an answer.
    """

    deadline: asyncio.TimerHandle | None = None  # None while a request is answered

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._set_deadline()
        connections: Any = self.connections
        if len(connections) > MAX_CONNECTIONS:
            waiting = [one for one in connections if one.deadline]
            longest = min(waiting, key=lambda one: one.deadline.when())
            connections.discard(longest)
            longest.transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._set_deadline()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._set_deadline()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._stop_deadline()

    def _set_deadline(self) -> None:
        """Starts the time when an answer is complete, and stops it when a request has arrived."""
        if self.cycle and not self.cycle.more_body and not self.cycle.response_complete:
            self._stop_deadline()
        elif self.deadline is None:
            self.deadline = self.loop.call_later(ARRIVAL_SECONDS, self.transport.abort)

    def _stop_deadline(self) -> None:
        if self.deadline:
            self.deadline.cancel()
            self.deadline = None


def listening_socket(port: int) -> socket.socket:
    """A socket on this port of this machine. Raises: PipelineError."""
    # with its protocol, as asyncio otherwise leaves Nagle's delay of 40 ms
    bound = socket.socket(proto=socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except (OSError, OverflowError) as error:
        problem = getattr(error, "strerror", None) or error
        raise PipelineError(
            f"{HOST}:{port}: {problem}; choose another port, as in: make serve PORT=5002"
        ) from error
    return bound


def build_server(model: Any, version: str, other_hosts: Sequence[str] = ()) -> uvicorn.Server:
    """The server of a pyfunc model; its `run` takes a listening socket.

    Args:
        version: of the model.
        other_hosts: names for the header Host, besides HOST_NAMES.
    """
    config = uvicorn.Config(
        build_app(model, version, [*HOST_NAMES, *other_hosts]),
        http=TimedConnection,
        ws="none",
        backlog=128,  # may be accepted at once, above MAX_CONNECTIONS
        log_level="error",  # warnings are about requests, which anybody can send
        access_log=False,
    )
    return uvicorn.Server(config)


# ---- the command


def main(argv: list[str] | None = None) -> None:
    arguments = _parse_options(argv)
    # the port first, as the model takes seconds to load
    with listening_socket(arguments.port) as listening:
        model, version = versions.load_champion()
        server = build_server(model, version, arguments.allow_host)
        host, port = listening.getsockname()
        log.info("serve: version %s answers at http://%s:%d/invocations", version, host, port)
        with suppress(KeyboardInterrupt):  # the usual way to stop it
            server.run(sockets=[listening])


def _parse_options(argv: list[str] | None) -> argparse.Namespace:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--port", type=int, default=5001, help="port on 127.0.0.1 (default: 5001)")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name for the header Host, such as that of a proxy; may be repeated",
    )
    arguments = parser.parse_args(argv)
    for name in arguments.allow_host:
        if "*" in name:
            raise PipelineError(f"--allow-host: {name}: is a pattern; name each host")
    return arguments
