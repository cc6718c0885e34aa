"""Serves the champion over HTTP on this machine, until it is interrupted.

It takes what MLflow's own server takes as JSON or CSV, within limits, and gives a 4xx answer to
every bad request. POST to /invocations: {"dataframe_records": [{"text": "WIN a prize now"}]}; or to
/score: {"text": "WIN a prize now"}, a list of these, or a mail as message/rfc822. A record may name
its `source`, whose threshold is used; for a mail it is /score?source=... When another version
becomes the champion, it takes over between two requests.
"""

import argparse
import asyncio
import importlib.metadata
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.core.cli import argument_parser
from pipeline.core.errors import PipelineError
from pipeline.serving import akismet_api, feedback_api, request_bodies
from pipeline.serving.access import OPEN_PATHS, TokenCheck, TokenFile
from pipeline.serving.champion import ServedChampion, served_champion
from pipeline.serving.feedback_store import FeedbackStore, readable_feedback_store
from pipeline.serving.micro_batches import Answers, MicroBatcher
from pipeline.serving.request_bodies import (
    JSON_TYPE,
    MAIL_TYPE,
    Messages,
    RequestError,
    accepted_media_type,
)
from pipeline.serving.server_metrics import ServerMetrics

log = logging.getLogger(__name__)

WorkT = TypeVar("WorkT")
Labelled = tuple[Messages, str, Answers]  # the number of the version stands between them

EXAMPLE = "python -m pipeline serve --port 5001"
LOOPBACK = "127.0.0.1"
HOST_NAMES = ("127.0.0.1", "localhost")  # in the header Host
VERSION_HEADER = "X-Model-Version"  # MLflow's own clients read the body alone
WAIT_HEADER = {"Retry-After": "1"}  # seconds
COUNTED_PATHS = (
    *("/invocations", "/score", "/ready", "/health", "/ping", "/metrics", "/version"),
    *(feedback_api.FEEDBACK_PATH, *akismet_api.AKISMET_PATHS),
)
MAX_REQUESTS = 256  # at once
REQUEST_SECONDS = 60  # waiting included
MAX_CONNECTIONS = 200  # files that this process may open are limited, often to 1,024
ARRIVAL_SECONDS = 10  # for a connection to send its next request whole


# ---- the app


def build_app(
    champion: ServedChampion,
    host_names: Sequence[str],
    tokens: TokenFile | None = None,
    feedback: FeedbackStore | None = None,
) -> FastAPI:
    """The app for a champion, which may be replaced between two requests.

    Args:
        host_names: for the header Host, so that no web page can read answers by a name of its own.
        tokens: one of which each request must send; None: whoever reaches the server may ask.
        feedback: where the labels that clients send are saved; None: none are accepted.
    """
    app = FastAPI(openapi_url=None)
    batcher = MicroBatcher()
    metrics = ServerMetrics(champion, batcher)
    places = asyncio.Semaphore(MAX_REQUESTS)

    async def in_turn(start: Callable[[], Awaitable[WorkT]]) -> WorkT:
        """The result of a request's work, within the limits. Raises: RequestError."""
        if places.locked():
            raise RequestError(429, f"more than {MAX_REQUESTS} requests at once; try again later")
        async with places:
            try:
                return await asyncio.wait_for(start(), REQUEST_SECONDS)
            except TimeoutError:
                problem = f"no answer within {REQUEST_SECONDS} seconds; try again later"
                raise RequestError(503, problem) from None

    async def answer(messages: Messages, start: float) -> tuple[str, Answers]:
        """The version that answers, and its answers. Raises: RequestError.

        Args:
            start: of the request, by time.perf_counter.
        """
        version = champion.current
        answers = await in_turn(lambda: batcher.label(version, messages.texts, messages.sources))
        metrics.count_verdicts(version.number, messages.sources, answers)
        metrics.messages.observe(len(answers))
        metrics.seconds.observe(time.perf_counter() - start)
        return version.number, answers

    async def label(
        request: Request, read: Callable[[bytes, str], Messages], media_types: Collection[str]
    ) -> Labelled:
        """A request's messages, the version that answers, and its answers. Raises: RequestError."""
        start = time.perf_counter()
        media_type = accepted_media_type(request, media_types)
        body = await request.body()
        if media_type == MAIL_TYPE:  # may take a tenth of a second
            messages = await asyncio.to_thread(read, body, media_type)
        else:
            messages = read(body, media_type)
        return messages, *await answer(messages, start)

    @app.get("/ping")
    @app.get("/health")
    async def ping() -> Response:
        return Response("\n", media_type="application/json")

    @app.get("/ready")
    async def ready() -> Response:
        state = {"version": champion.current.number, "problem": champion.problem}
        if champion.is_warm:
            return JSONResponse({"ready": True, **state})
        return JSONResponse({"ready": False, **state}, 503, WAIT_HEADER)

    @app.get("/metrics")
    async def prometheus_metrics() -> Response:
        return Response(metrics.page(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/version")
    async def mlflow_version() -> Response:
        return Response(importlib.metadata.version("mlflow"), media_type="application/json")

    @app.post("/invocations")
    async def invocations(request: Request) -> Response:
        _, version, answers = await label(
            request, request_bodies.messages_in, request_bodies.READERS
        )
        return JSONResponse({"predictions": answers}, headers={VERSION_HEADER: version})

    @app.post("/score")
    async def score(request: Request) -> Response:
        source = request.query_params.get("source")  # of a mail; JSON has its own
        read = partial(request_bodies.plain_messages_in, source=source)
        messages, version, answers = await label(request, read, (JSON_TYPE, MAIL_TYPE))
        named = [{**answer, "model_version": version} for answer in answers]
        content = named if messages.is_list else named[0]
        return JSONResponse(content, headers={VERSION_HEADER: version})

    save = feedback_api.build_saver(feedback, in_turn) if feedback else None
    if save:
        app.include_router(feedback_api.build_feedback_router(save))
    app.include_router(akismet_api.build_akismet_router(answer, save, tokens))
    app.add_exception_handler(RequestError, _error_response)
    app.add_exception_handler(HTTPException, _error_response)  # no such path or method
    app.add_exception_handler(ClientDisconnect, _error_response)
    if tokens:
        open_paths = (*OPEN_PATHS, *akismet_api.AKISMET_PATHS)  # these have the token in their form
        app.add_middleware(TokenCheck, tokens=tokens, open_paths=open_paths)
    app.add_middleware(CountedRequests, count=metrics.count_request)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(host_names), www_redirect=False)
    return app


class CountedRequests:
    """Counts the answers of an app by path and status."""

    def __init__(self, app: ASGIApp, count: Callable[[str, int], None]) -> None:
        self.app = app
        self.count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope["path"] if scope["path"] in COUNTED_PATHS else "other"
                self.count(path, message["status"])
            await send(message)

        await self.app(scope, receive, counting_send)


async def _error_response(request: Request, error: Any) -> Response:
    """An error with the keys of MLflow's own errors."""
    status: int = getattr(error, "status_code", 400)  # 400 for a client that went away
    content = {"error_code": "BAD_REQUEST", "message": str(getattr(error, "detail", error))}
    return JSONResponse(content, status, WAIT_HEADER if status in (429, 503) else None)


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


def listening_socket(port: int, host: str = LOOPBACK) -> socket.socket:
    """A socket on this port of an IPv4 address of this machine. Raises: PipelineError."""
    # with its protocol, as asyncio otherwise leaves Nagle's delay of 40 ms
    bound = socket.socket(proto=socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        problem = getattr(error, "strerror", None) or error
        raise PipelineError(
            f"{host}:{port}: {problem}; choose another port, as in: make serve PORT=5002"
        ) from error
    return bound


def build_server(
    champion: ServedChampion,
    other_hosts: Sequence[str] = (),
    tokens: TokenFile | None = None,
    feedback: FeedbackStore | None = None,
) -> uvicorn.Server:
    """The server of a champion; its `run` takes a listening socket.

    Args:
        other_hosts: names for the header Host, besides HOST_NAMES.
        tokens, feedback: as for `build_app`.
    """
    config = uvicorn.Config(
        build_app(champion, [*HOST_NAMES, *other_hosts], tokens, feedback),
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
    tokens = TokenFile(arguments.tokens) if arguments.tokens else None
    feedback = readable_feedback_store() if arguments.feedback else None
    with listening_socket(arguments.port, arguments.host) as listening:
        champion = served_champion()
        server = build_server(champion, arguments.allow_host, tokens, feedback)
        host, port = listening.getsockname()
        number = champion.current.number
        log.info("serve: version %s answers at http://%s:%d/invocations", number, host, port)
        stop = threading.Event()
        threading.Thread(target=champion.follow, args=[stop], daemon=True).start()
        with suppress(KeyboardInterrupt):  # the usual way to stop it
            server.run(sockets=[listening])
        stop.set()


def _parse_options(argv: list[str] | None) -> argparse.Namespace:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--port", type=int, default=5001, help="default: 5001")
    parser.add_argument(
        "--host",
        default=LOOPBACK,
        metavar="ADDRESS",
        help="of this machine, such as 0.0.0.0 for other machines; then --tokens and --allow-host "
        f"are needed (default: {LOOPBACK})",
    )
    parser.add_argument(
        "--tokens", type=Path, help="file with a token a line, one of which each request must send"
    )
    parser.add_argument(
        "--feedback",
        action="store_true",
        help="save the labels that clients send, in data/inbox/feedback/; models learn from them",
    )
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
    is_open = arguments.host != LOOPBACK
    if is_open and not (arguments.tokens and arguments.allow_host):
        raise PipelineError(
            f"--host: other machines reach {arguments.host}; give --tokens FILE, and --allow-host "
            "NAME for each name that clients call this machine by"
        )
    return arguments
