"""The routes of the review page."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from pipeline.core.errors import PipelineError
from pipeline.serving.http.connections import HOST_NAMES
from pipeline.serving.http.page_policy import content_policy
from pipeline.serving.review.background_champion import BackgroundChampion
from pipeline.serving.review.browser_access import PLAIN_HEADERS, is_foreign
from pipeline.serving.review.decision_log import Standing
from pipeline.serving.review.queues import QUEUES, QueueReader, ReviewItem
from pipeline.serving.review.review_desk import ReviewDesk
from pipeline.serving.review.shown_text import (
    SHOWN_CHARACTERS,
    mask_private,
    mask_word,
    snippet,
    visible_text,
)
from pipeline.serving.verdict_text import percent
from pipeline.validation.html_page import render_page

PAGE_TITLE = "Review messages"
PAGE_LEAD = (
    "Decide what is spam. Each decision is saved at once, and can be undone. "
    "Nothing leaves this machine."
)
PAGE_ITEMS = 200  # of a list, in one answer
SHOWN_WORDS = 6  # for each label
SMALLEST_WEIGHT = 0.05  # logits; smaller ones are 0.0 on the page
STATES = ("open", "decided", "all")
MAX_BODY_BYTES = 10_000

Described = dict[str, Any]


@dataclass(frozen=True)
class ReviewParts:
    """What the page works with.

    Attributes:
        note: a sentence for the top of the page.
    """

    queues: QueueReader
    desk: ReviewDesk
    champion: BackgroundChampion
    note: str = ""


class DecisionRequest(pydantic.BaseModel, extra="forbid", strict=True):
    """The body of a decision."""

    queue: str
    message_id: str
    decision: str
    reviewer: str


class Filter(pydantic.BaseModel, extra="forbid"):
    """The query of a list.

    Attributes:
        after: place of the last item that the client has.
        search: part of the text or the id, in any case.
    """

    queue: str
    after: int = -1
    search: str = ""
    source: str = ""
    reason: str = ""
    state: str = "open"


def build_review_app(parts: ReviewParts) -> FastAPI:
    """The app of the page. Its errors are one line each."""
    page = review_page()
    headers = PLAIN_HEADERS | {"Content-Security-Policy": content_policy(page)}
    app = FastAPI(openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        if is_foreign(request):
            response = _problem_response(403, "another web page may not ask this")
        else:
            response = await answer(request)
        response.headers.update(headers)
        return response

    @app.get("/ping")
    async def ping() -> Response:
        return Response()

    @app.get("/")
    async def whole_page() -> Response:
        return HTMLResponse(page)

    _add_list_routes(app, parts)
    _add_message_routes(app, parts)

    @app.exception_handler(PipelineError)
    async def refused(_: Request, error: Exception) -> Response:
        return _problem_response(409, str(error))

    @app.exception_handler(HTTPException)
    async def failed(_: Request, error: Any) -> Response:
        return _problem_response(error.status_code, str(error.detail))

    @app.exception_handler(pydantic.ValidationError)
    async def malformed(_: Request, error: Any) -> Response:
        names = ", ".join(sorted({str(one["loc"][0]) for one in error.errors() if one["loc"]}))
        return _problem_response(400, f"wrong or missing: {names or 'the body'}")

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(HOST_NAMES), www_redirect=False)
    return app


def review_page() -> str:
    """The page with its style and script."""
    html, style, script = (
        Path(__file__).with_name(f"page.{suffix}").read_text(encoding="utf-8")
        for suffix in ("html", "css", "js")
    )
    return render_page(PAGE_TITLE, PAGE_LEAD, f"{html}<script>{script}</script>", style)


def _problem_response(status: int, message: str) -> Response:
    return JSONResponse({"error_code": "BAD_REQUEST", "message": message}, status)


# ---- lists


def _add_list_routes(app: FastAPI, parts: ReviewParts) -> None:
    @app.get("/api/queues")
    def queues() -> Described:
        standing = parts.desk.standing()
        described = [_described_queue(name, parts.queues.items(name), standing) for name in QUEUES]
        return {"queues": described, "note": parts.note}

    @app.get("/api/items")
    def items(request: Request) -> Described:
        wanted = Filter.model_validate(dict(request.query_params))
        _check_queue(wanted.queue)
        standing = parts.desk.standing()
        found = [
            (place, item)
            for place, item in enumerate(parts.queues.items(wanted.queue).values())
            if place > wanted.after and _matches(item, wanted, item.message_id in standing)
        ]
        rows = [
            _row(place, item, standing.get(item.message_id, ()))
            for place, item in found[:PAGE_ITEMS]
        ]
        return {"items": rows, "left": len(found) - len(rows)}


def _described_queue(
    name: str, items: dict[str, ReviewItem], standing: dict[str, Standing]
) -> Described:
    return {
        "name": name,
        "title": QUEUES[name].title,
        "remedy": QUEUES[name].remedy,
        "total": len(items),
        "open": len(items.keys() - standing.keys()),
        "sources": Counter(item.source for item in items.values()),
        "reasons": Counter(item.reason for item in items.values()),
    }


def _check_queue(name: str) -> None:
    """Raises: HTTPException for an unknown queue."""
    if name not in QUEUES:
        raise HTTPException(404, f"no such queue; choose from {', '.join(QUEUES)}")


def _matches(item: ReviewItem, wanted: Filter, is_decided: bool) -> bool:
    if wanted.state != "all" and is_decided != (wanted.state == "decided"):
        return False
    if wanted.source not in ("", item.source) or wanted.reason not in ("", item.reason):
        return False
    search = wanted.search.casefold()
    return search in (item.text or "").casefold() or item.message_id.startswith(search)


def _row(place: int, item: ReviewItem, entries: Standing) -> Described:
    return {
        "place": place,
        "id": item.message_id,
        "snippet": snippet(item.text),
        "decision": entries[-1].decision if entries else None,
    }


# ---- one message


def _add_message_routes(app: FastAPI, parts: ReviewParts) -> None:
    def item_of(queue: str, message_id: str) -> ReviewItem:
        _check_queue(queue)
        item = parts.queues.items(queue).get(message_id)
        if item is None:
            raise HTTPException(404, "the message is in this queue no more; load the page again")
        return item

    @app.get("/api/items/{queue}/{message_id}")
    def message(queue: str, message_id: str, masked: bool = True, whole: bool = False) -> Described:
        item = item_of(queue, message_id)
        return _shown_item(item, parts.desk.standing().get(message_id, ()), masked, whole)

    @app.get("/api/items/{queue}/{message_id}/reasons")
    def reasons(queue: str, message_id: str, masked: bool = True) -> Described:
        return _shown_reasons(parts.champion.answer(item_of(queue, message_id).text or ""), masked)

    @app.get("/api/model")
    def model() -> Described:
        return {"problem": parts.champion.problem()}

    @app.post("/api/decisions")
    async def decide(request: Request) -> Described:
        wanted = DecisionRequest.model_validate(await _json_body(request))
        item = item_of(wanted.queue, wanted.message_id)
        entries = await run_in_threadpool(parts.desk.decide, item, wanted.decision, wanted.reviewer)
        return {"decisions": [entry._asdict() for entry in entries]}


async def _json_body(request: Request) -> Any:
    """The value of a small JSON body. Raises: HTTPException."""
    if request.headers.get("content-type") != "application/json":
        raise HTTPException(415, "send Content-Type application/json")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"the body has more than {MAX_BODY_BYTES:,} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body cannot be read as JSON") from None


def _shown_item(item: ReviewItem, entries: Standing, masked: bool, whole: bool) -> Described:
    text = item.text or ""
    part = text if whole else text[:SHOWN_CHARACTERS]
    return {
        "id": item.message_id,
        "text": visible_text(mask_private(part) if masked else part),
        "has_masked": mask_private(part) != part,
        "characters": len(text),
        "is_cut": len(part) < len(text),
        "label": item.label,
        "source": item.source,
        "detail": item.detail,
        "rows": item.rows,
        "is_served": item.is_served,
        "decisions": [entry._asdict() for entry in entries],
    }


def _shown_reasons(answer: Described, masked: bool) -> Described:
    """The model's answer, and the words that speak most for each label."""
    words = sorted(answer["reasons"]["words"], key=lambda word: word["weight"], reverse=True)
    spam = [word for word in words if word["weight"] >= SMALLEST_WEIGHT][:SHOWN_WORDS]
    ham = [word for word in reversed(words) if word["weight"] <= -SMALLEST_WEIGHT][:SHOWN_WORDS]

    def shown(word: Described) -> Described:
        text = mask_word(word["text"]) if masked else word["text"]
        return {"text": visible_text(text.strip()), "weight": round(word["weight"], 2)}

    return {
        "label": answer["label"],
        "percent": percent(answer["probability"]),
        "version": answer["model_version"],
        "spam": [shown(word) for word in spam],
        "ham": [shown(word) for word in ham],
    }
