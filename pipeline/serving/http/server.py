"""Serves the champion over HTTP on this machine, until it is interrupted.

It takes what MLflow's own server takes as JSON or CSV, within limits, and gives a 4xx answer to
every bad request. POST to /invocations: {"dataframe_records": [{"text": "WIN a prize now"}]}; or to
/score: {"text": "WIN a prize now"}, a list of these, or a mail as message/rfc822;
/score?explain=true adds what each word weighs. A record may name its `source`, whose threshold is
used; for a mail it is /score?source=... When another version becomes the champion, it takes over
between two requests. /docs on the server describes all of it.
"""

import argparse
import logging
import signal
import threading
from contextlib import suppress
from pathlib import Path

from pipeline.core.cli import argument_parser, project_root
from pipeline.core.errors import PipelineError
from pipeline.core.params import PARAMS_FILE, read_params
from pipeline.registry.compile_cache import compile_cache
from pipeline.serving.http.access import TokenFile
from pipeline.serving.http.app import ServerParts, build_app
from pipeline.serving.http.champion import served_champion
from pipeline.serving.http.connections import (
    HOST_NAMES,
    LOOPBACK,
    listening_socket,
    uvicorn_server,
)
from pipeline.serving.http.feedback_store import readable_feedback_store
from pipeline.serving.http.prediction_log import add_log_options, prediction_log
from pipeline.serving.http.request_log import log_as_json
from pipeline.serving.http.shadow import Shadow, shadow_version
from pipeline.validation import expectations
from pipeline.validation.row_checks import RowChecks

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline serve --port 5001"


@compile_cache()
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
        server = uvicorn_server(build_app(champion, parts))
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
