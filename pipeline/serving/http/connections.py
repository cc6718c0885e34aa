"""Connections to a server of this machine: limits, the socket, and uvicorn's settings."""

import asyncio
import socket
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.core.errors import PipelineError

LOOPBACK = "127.0.0.1"
HOST_NAMES = ("127.0.0.1", "localhost")  # in the header Host
MAX_CONNECTIONS = 200  # files that this process may open are limited, often to 1,024
ARRIVAL_SECONDS = 10  # for a connection to send its next request whole
STOP_SECONDS = 10  # for what is under way when the server is told to stop


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


def listening_socket(
    port: int, host: str = LOOPBACK, example: str = "make serve PORT=5002"
) -> socket.socket:
    """A socket on this port of an IPv4 address of this machine.

    Args:
        example: how to choose another port.

    Raises: PipelineError.
    """
    # with its protocol, as asyncio otherwise leaves Nagle's delay of 40 ms
    bound = socket.socket(proto=socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        problem = getattr(error, "strerror", None) or error
        raise PipelineError(
            f"{host}:{port}: {problem}; choose another port, as in: {example}"
        ) from error
    return bound


def uvicorn_server(app: ASGIApp) -> uvicorn.Server:
    """A server of an app, without a log of requests; its `run` takes a listening socket."""
    config = uvicorn.Config(
        app,
        http=TimedConnection,
        ws="none",
        backlog=128,  # may be accepted at once, above MAX_CONNECTIONS
        log_config=None,  # its lines are formatted as ours are
        log_level="error",  # warnings are about requests, which anybody can send
        access_log=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return uvicorn.Server(config)
