"""The routes of the server."""

import importlib.metadata
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pipeline.serving.http import akismet_api, feedback_api, request_bodies
from pipeline.serving.http.access import OPEN_PATHS, TokenCheck, TokenFile
from pipeline.serving.http.answering import Answering
from pipeline.serving.http.champion import ServedChampion
from pipeline.serving.http.explained_requests import (
    asks_for_reasons,
    few_messages_in,
    label_with_reasons,
)
from pipeline.serving.http.feedback_store import FeedbackStore
from pipeline.serving.http.micro_batches import MicroBatcher
from pipeline.serving.http.openapi import add_documentation
from pipeline.serving.http.prediction_log import PredictionLog, running_log
from pipeline.serving.http.request_bodies import JSON_TYPE, MAIL_TYPE, RequestError
from pipeline.serving.http.request_log import AnsweredRequests
from pipeline.serving.http.server_metrics import ServerMetrics
from pipeline.serving.http.shadow import Shadow, running_shadow
from pipeline.serving.http.try_page import TRY_PATH, add_try_page
from pipeline.validation.row_checks import RowChecks

MODEL_OUTPUTS = ("label", "probability", "threshold", "confident")  # all that MLflow's server gives
VERSION_HEADER = "X-Model-Version"  # MLflow's own clients read the body alone
KNOWN_PATHS = (  # in logs and metrics
    *("/ping", "/health", "/ready", "/metrics", "/version", "/openapi.json", "/docs", TRY_PATH),
    *("/invocations", "/score", feedback_api.FEEDBACK_PATH, *akismet_api.AKISMET_PATHS),
)
WAIT_HEADER = {"Retry-After": "1"}  # seconds


@dataclass(frozen=True)
class ServerParts:
    """What a server has beside its champion.

    Attributes:
        checks: what is wrong with a text.
        host_names: for the header Host, so that no web page can read answers by a name of its own.
        tokens: one of which each request must send; None: whoever reaches the server may ask.
        feedback: where the labels that clients send are saved; None: none are accepted.
        predictions: the log that the answers go to, if any.
        shadow: a second version that labels the same messages later, if any.
    """

    checks: RowChecks
    host_names: Sequence[str]
    tokens: TokenFile | None = None
    feedback: FeedbackStore | None = None
    predictions: PredictionLog | None = None
    shadow: Shadow | None = None


def build_app(champion: ServedChampion, parts: ServerParts) -> FastAPI:
    """The app for a champion, which may be replaced between two requests."""
    batcher = MicroBatcher(parts.checks.reasons)
    metrics = ServerMetrics(champion, batcher)
    if parts.predictions:
        metrics.watch_log(parts.predictions)
    if parts.shadow:
        metrics.watch_shadow(parts.shadow)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        async with (
            running_log(parts.predictions),
            running_shadow(parts.shadow, batcher.waiting_messages, metrics.count_shadow),
        ):
            yield

    app = FastAPI(openapi_url=None, lifespan=running)
    answering = Answering(champion, batcher, metrics, parts.predictions, parts.shadow)
    _add_state_routes(app, champion, metrics)
    _add_label_routes(app, answering, batcher)
    save = feedback_api.build_saver(parts.feedback, answering.in_turn) if parts.feedback else None
    if save:
        app.include_router(feedback_api.build_feedback_router(save))
    app.include_router(akismet_api.build_akismet_router(answering.answer, save, parts.tokens))
    add_documentation(app)
    add_try_page(app, takes_feedback=save is not None, needs_token=parts.tokens is not None)
    app.add_exception_handler(RequestError, _error_response)
    app.add_exception_handler(HTTPException, _error_response)  # no such path or method
    app.add_exception_handler(ClientDisconnect, _error_response)
    if parts.tokens:
        # a page without messages, and forms with the token in them
        open_paths = (*OPEN_PATHS, TRY_PATH, *akismet_api.AKISMET_PATHS)
        app.add_middleware(TokenCheck, tokens=parts.tokens, open_paths=open_paths)
    hosts = list(parts.host_names)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    app.add_middleware(AnsweredRequests, count=metrics.count_request, paths=KNOWN_PATHS)
    return app


def _add_state_routes(app: FastAPI, champion: ServedChampion, metrics: ServerMetrics) -> None:
    @app.get("/ping")
    @app.get("/health")
    async def health() -> Response:
        return Response("\n", media_type="application/json")

    @app.get("/ready")
    async def ready() -> Response:
        current = champion.current
        state = {"version": current.number, "package": current.package, "problem": champion.problem}
        if champion.is_warm:
            return JSONResponse({"ready": True, **state})
        return JSONResponse({"ready": False, **state}, 503, WAIT_HEADER)

    @app.get("/metrics")
    def prometheus_metrics() -> Response:  # in a thread, as the estimates take some 40 ms
        return Response(metrics.page(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/version")
    async def mlflow_version() -> Response:
        return Response(importlib.metadata.version("mlflow"), media_type="application/json")


def _add_label_routes(app: FastAPI, answering: Answering, batcher: MicroBatcher) -> None:
    @app.post("/invocations")
    async def invocations(request: Request) -> Response:
        readers = request_bodies.READERS
        labelled = await answering.answer_body(request, request_bodies.messages_in, readers)
        answers = [{name: one[name] for name in MODEL_OUTPUTS} for one in labelled.answers]
        headers = {VERSION_HEADER: labelled.version}
        return JSONResponse({"predictions": answers}, headers=headers)

    @app.post("/score")
    async def score(request: Request) -> Response:
        source = request.query_params.get("source")  # of a mail; JSON has its own
        read, label = request_bodies.plain_messages_in, None
        if asks_for_reasons(request.query_params):
            read, label = few_messages_in, partial(label_with_reasons, batcher)
        labelled = await answering.answer_body(
            request, partial(read, source=source), (JSON_TYPE, MAIL_TYPE), label
        )
        answers = [{**one, "model_version": labelled.version} for one in labelled.answers]
        content = answers if labelled.messages.is_list else answers[0]
        return JSONResponse(content, headers={VERSION_HEADER: labelled.version})


async def _error_response(request: Request, error: Any) -> Response:
    """An error with the keys of MLflow's own errors."""
    status: int = getattr(error, "status_code", 400)  # 400 for a client that went away
    content = {"error_code": "BAD_REQUEST", "message": str(getattr(error, "detail", error))}
    return JSONResponse(content, status, WAIT_HEADER if status in (429, 503) else None)
