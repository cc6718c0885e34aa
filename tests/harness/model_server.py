"""The product's HTTP server in a thread of the test."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.types import ASGIApp

from pipeline.core.params import read_params
from pipeline.registry import subprocesses
from pipeline.serving.http.access import TokenFile
from pipeline.serving.http.app import ServerParts, build_app
from pipeline.serving.http.champion import LoadedVersion, ServedChampion
from pipeline.serving.http.connections import HOST_NAMES, listening_socket, uvicorn_server
from pipeline.serving.http.feedback_store import FeedbackStore
from pipeline.serving.http.prediction_log import PredictionLog
from pipeline.serving.http.shadow import Shadow
from pipeline.validation import expectations
from pipeline.validation.row_checks import RowChecks
from tests.harness.servers import SECONDS
from tests.harness.small_project import ROOT

CHECKS = RowChecks(read_params(expectations.Params, "validate", ROOT / "params.yaml"))


@contextmanager
def model_server(model: Any, version: str, *other_hosts: str) -> Iterator[str]:
    """The address of a server of this model, while the block runs."""
    with champion_server(ServedChampion(LoadedVersion(model, version)), *other_hosts) as address:
        yield address


@contextmanager
def champion_server(
    champion: ServedChampion,
    *other_hosts: str,
    tokens: TokenFile | None = None,
    feedback: FeedbackStore | None = None,
    predictions: PredictionLog | None = None,
    shadow: Shadow | None = None,
) -> Iterator[str]:
    """The address of a server of this champion, while the block runs."""
    hosts = [*HOST_NAMES, *other_hosts]
    parts = ServerParts(CHECKS, hosts, tokens, feedback, predictions, shadow)
    with served_app(build_app(champion, parts)) as address:
        yield address


@contextmanager
def served_app(app: ASGIApp) -> Iterator[str]:
    """The address of a server of this app, while the block runs."""
    with listening_socket(0) as listening:
        listening.listen()
        server = uvicorn_server(app)
        thread = threading.Thread(target=server.run, args=[[listening]])
        thread.start()
        try:
            yield "http://{}:{}".format(*listening.getsockname())
        finally:
            server.should_exit = True
            thread.join()


def metrics_with(address: str, text: str) -> str:
    """The page of metrics of a server, as soon as it has this text."""
    deadline = time.monotonic() + SECONDS
    with subprocesses.local_session() as session:
        while text not in (page := session.get(f"{address}/metrics", timeout=60).text):
            assert time.monotonic() < deadline, page
            time.sleep(0.05)
    return page
