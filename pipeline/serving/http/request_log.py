"""Counts the answers of a server, and logs each as a line of JSON, without text of a request."""

import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.core.errors import CleanFormatter, clean_line

log = logging.getLogger(__name__)
log.setLevel(logging.WARNING)  # a person at a terminal needs no line a request; see `log_as_json`

ID_HEADER = "X-Request-ID"
SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
KNOWN_METHODS = ("GET", "HEAD", "POST")


class AnsweredRequests:
    """Gives each answer a request id, counts it and logs it; an error in the app becomes a 500.

    The app finds the time of the start, by time.perf_counter, in `request.state.started`. What it
    puts into `request.state.answered` is logged too: numbers and names alone.

    Args:
        count: gets path and status.
        paths: that are counted and logged; others are `other`, as they may hold anything.
    """

    def __init__(
        self, app: ASGIApp, count: Callable[[str, int], None], paths: Collection[str]
    ) -> None:
        self.app = app
        self.count = count
        self.paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        given = Headers(scope=scope).get(ID_HEADER, "")
        scope.setdefault("state", {})["started"] = start
        request_id = given if SANE_ID.fullmatch(given) else uuid.uuid4().hex

        async def counting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[ID_HEADER] = request_id
                path = scope["path"] if scope["path"] in self.paths else "other"
                self.count(path, message["status"])
                facts = {
                    "request_id": request_id,
                    "method": scope["method"] if scope["method"] in KNOWN_METHODS else "other",
                    "path": path,
                    "status": message["status"],
                    "seconds": round(time.perf_counter() - start, 6),
                    **getattr(Request(scope).state, "answered", {}),
                }
                log.info("request", extra={"facts": facts})
            await send(message)

        try:
            await self.app(scope, receive, counting_send)
        except Exception as error:  # whose own words may hold a message
            frames: Any = (type(error), None, error.__traceback__)
            name = type(error).__name__
            log.error("serve: %s in request %s", name, request_id, exc_info=frames)
            content = {"error_code": "INTERNAL_ERROR", "message": f"see request {request_id}"}
            await JSONResponse(content, 500)(scope, receive, counting_send)


class JsonFormatter(CleanFormatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": clean_line(record.getMessage()),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_as_json() -> None:
    """From now on all log lines are JSON, and each request has one."""
    logging.captureWarnings(True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonFormatter())
    log.setLevel(logging.INFO)
