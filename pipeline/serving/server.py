"""Serves the champion on this machine: MLflow's own server, with a plain 4xx for every bad request."""

import argparse
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

from pipeline.core.errors import PipelineError
from pipeline.registry import versions

log = logging.getLogger(__name__)

HOST = "127.0.0.1"  # who else shall ask it stands behind a proxy, which knows of users
MAX_BYTES = 1 << 20  # of a body: 10,000 messages, and no more than seconds of work


def app_of(model: Any) -> FastAPI:
    """MLflow's app for this model, which by itself answers some bad requests with a 500 or a stack trace."""
    app = scoring_server.init(model)

    @app.middleware("http")
    async def plainly(request: Request, call_next: Callable[[Request], Awaitable[Any]]) -> Response:
        if request.method == "POST" and (refused := refusal(request)):
            return refused
        try:
            response = await call_next(request)
        except (
            RecursionError,
            ValueError,
        ):  # of json: lists in lists in lists, a number of 5,000 digits
            return answer(400, "the body cannot be read as JSON")
        return response if response.status_code < 400 else await _without_stack_trace(response)

    return app


def refusal(request: Request) -> Response | None:
    """What is said of a request that MLflow's app had better not see."""
    length = request.headers.get("content-length", "")
    if "content-type" not in request.headers:
        return answer(415, "there is no Content-Type; send application/json")
    if not length.isdecimal() or "transfer-encoding" in request.headers:
        return answer(411, "there is no Content-Length")
    if int(length) > MAX_BYTES:
        return answer(
            413, f"the body has more than {MAX_BYTES:,} bytes; send fewer messages at a time"
        )
    return None


def answer(status: int, message: str) -> Response:
    """An error in the words of MLflow's own."""
    return JSONResponse({"error_code": "BAD_REQUEST", "message": message}, status)


async def _without_stack_trace(response: Any) -> Response:
    said = b"".join([part async for part in response.body_iterator])
    if response.headers.get("content-type") == "application/json":
        said = json.dumps(
            {k: v for k, v in json.loads(said).items() if k != "stack_trace"}
        ).encode()
    return Response(said, response.status_code, media_type=response.headers.get("content-type"))


def bound(port: int) -> socket.socket:
    """A socket on this port of this machine. Raises: PipelineError."""
    taken = socket.socket(
        proto=socket.IPPROTO_TCP
    )  # named, as asyncio else leaves 40 ms of Nagle's delay
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((HOST, port))
    except (OSError, OverflowError) as error:
        problem = getattr(error, "strerror", None) or error
        raise PipelineError(
            f"{HOST}:{port}: {problem}; choose another port, as in: make serve PORT=5002"
        ) from error
    return taken


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5001, help="of 127.0.0.1 (default: 5001)")
    with bound(
        parser.parse_args(argv).port
    ) as listening:  # before the model takes its seconds to load
        model, version = versions.load_champion()
        server = uvicorn.Server(uvicorn.Config(app_of(model), log_level="warning"))
        log.info(
            "serve: version %s answers at http://%s:%d/invocations",
            version,
            *listening.getsockname(),
        )
        with suppress(KeyboardInterrupt):  # as it is meant to end
            server.run(sockets=[listening])
