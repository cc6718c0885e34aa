"""Serves the champion over HTTP on this machine, until it is interrupted.

It takes what MLflow's own server takes as JSON or CSV, within limits, and gives a 4xx answer to
every bad request. POST to /invocations: {"dataframe_records": [{"text": "WIN a prize now"}]}; or to
/score: {"text": "WIN a prize now"}, a list of these, or a mail as message/rfc822;
/score?explain=true adds what each word weighs. A record may name its `source`, whose threshold is
used; for a mail it is /score?source=... When another version becomes the champion, it takes over
between two requests. /docs on the server describes all of it.
"""

import argparse
import asyncio
import logging
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.core.cli import argument_parser, project_root
from pipeline.core.errors import PipelineError
from pipeline.core.params import PARAMS_FILE, read_params
from pipeline.serving.http.access import TokenFile
from pipeline.serving.http.app import ServerParts, build_app
from pipeline.serving.http.champion import ServedChampion, served_champion
from pipeline.serving.http.feedback_store import readable_feedback_store
from pipeline.serving.http.prediction_log import add_log_options, prediction_log
from pipeline.serving.http.request_log import log_as_json
from pipeline.serving.http.shadow import Shadow, shadow_version
from pipeline.validation import expectations
from pipeline.validation.row_checks import RowChecks

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline serve --port 5001"
LOOPBACK = "127.0.0.1"
HOST_NAMES = ("127.0.0.1", "localhost")  # in the header Host
MAX_CONNECTIONS = 200  # files that this process may open are limited, often to 1,024
ARRIVAL_SECONDS = 10  # for a connection to send its next request whole
STOP_SECONDS = 10  # for what is under way when the server is told to stop


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


def build_server(champion: ServedChampion, parts: ServerParts) -> uvicorn.Server:
    """The server of a champion; its `run` takes a listening socket."""
    config = uvicorn.Config(
        build_app(champion, parts),
        http=TimedConnection,
        ws="none",
        backlog=128,  # may be accepted at once, above MAX_CONNECTIONS
        log_config=None,  # its lines are formatted as ours are
        log_level="error",  # warnings are about requests, which anybody can send
        access_log=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return uvicorn.Server(config)


# ---- the command


def main(argv: list[str] | None = None) -> None:
    arguments = _parse_options(argv)
    if arguments.json_logs:
        log_as_json()
    # the port first, as the model takes seconds to load
    tokens = TokenFile(arguments.tokens) if arguments.tokens else None
    feedback = readable_feedback_store() if arguments.feedback else None
    predictions = prediction_log(arguments)
    with listening_socket(arguments.port, arguments.host) as listening:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops as Ctrl-C does
        params = read_params(expectations.Params, "validate", project_root() / PARAMS_FILE)
        host_names = [*HOST_NAMES, *arguments.allow_host]
        champion = served_champion()
        second = shadow_version(arguments.shadow) if arguments.shadow else None
        shadow = Shadow(second, predictions) if second else None
        parts = ServerParts(RowChecks(params), host_names, tokens, feedback, predictions, shadow)
        server = build_server(champion, parts)
        host, port = listening.getsockname()
        number = champion.current.number
        log.info("serve: version %s answers at http://%s:%d/invocations", number, host, port)
        stop = threading.Event()
        threading.Thread(target=champion.follow, args=[stop], daemon=True).start()
        with suppress(KeyboardInterrupt):  # from uvicorn, once it has stopped
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
    parser.add_argument(
        "--json-logs", action="store_true", help="log in JSON, with a line for each request"
    )
    parser.add_argument(
        "--shadow",
        metavar="VERSION",
        help="number or alias, such as challenger, of a version that labels the same messages when "
        "no client waits; /metrics and --log compare it with the champion",
    )
    add_log_options(parser)
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
