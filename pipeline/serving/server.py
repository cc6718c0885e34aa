"""Serves the champion over HTTP on this machine, until it is interrupted.

It is MLflow's own server with a 4xx answer to every bad request. POST to /invocations:
{"dataframe_records": [{"text": "WIN a prize now"}]}
"""

import json
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from mlflow.pyfunc import scoring_server

from pipeline.core.cli import argument_parser
from pipeline.core.errors import PipelineError
from pipeline.registry import versions

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline serve --port 5001"
HOST = "127.0.0.1"  # for other machines, put a proxy with user accounts in front
MAX_BODY_BYTES = 1 << 20  # about 10,000 messages, which take seconds


def build_app(model: Any) -> FastAPI:
    """MLflow's app for a pyfunc model, without its stack traces and its 500 for bad requests."""
    app = scoring_server.init(model)

    @app.middleware("http")
    async def answer_plainly(
        request: Request, call_next: Callable[[Request], Awaitable[Any]]
    ) -> Response:
        if request.method == "POST" and (refused := refuse_request(request)):
            return refused
        try:
            response = await call_next(request)
        except (RecursionError, ValueError):  # of json: deeply nested lists, 5,000 digits
            return error_response(400, "the body cannot be read as JSON")
        return response if response.status_code < 400 else await _without_stack_trace(response)

    return app


def refuse_request(request: Request) -> Response | None:
    """The error for a request that MLflow's app must not see; None for any other request."""
    length = request.headers.get("content-length", "")
    if "content-type" not in request.headers:
        return error_response(415, "no Content-Type; send application/json")
    if not length.isdecimal() or "transfer-encoding" in request.headers:
        return error_response(411, "no Content-Length")
    if int(length) > MAX_BODY_BYTES:
        return error_response(
            413, f"the body has more than {MAX_BODY_BYTES:,} bytes; send fewer messages at a time"
        )
    return None


def error_response(status: int, message: str) -> Response:
    """An error with the keys of MLflow's own errors."""
    return JSONResponse({"error_code": "BAD_REQUEST", "message": message}, status)


async def _without_stack_trace(response: Any) -> Response:
    body = b"".join([part async for part in response.body_iterator])
    media_type = response.headers.get("content-type")
    if media_type == "application/json":
        content = {key: value for key, value in json.loads(body).items() if key != "stack_trace"}
        body = json.dumps(content).encode()
    return Response(body, response.status_code, media_type=media_type)


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


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--port", type=int, default=5001, help="port on 127.0.0.1 (default: 5001)")
    arguments = parser.parse_args(argv)
    # the port first, as the model takes seconds to load
    with listening_socket(arguments.port) as listening:
        model, version = versions.load_champion()
        server = uvicorn.Server(uvicorn.Config(build_app(model), log_level="warning"))
        host, port = listening.getsockname()
        log.info("serve: version %s answers at http://%s:%d/invocations", version, host, port)
        with suppress(KeyboardInterrupt):  # the usual way to stop it
            server.run(sockets=[listening])
