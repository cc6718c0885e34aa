"""The endpoint /feedback: labels that clients give to texts, for the next models to learn."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from pipeline.core.errors import PipelineError
from pipeline.serving.http.feedback_store import FeedbackStore, LabelledText
from pipeline.serving.http.request_bodies import (
    JSON_TYPE,
    RequestError,
    accepted_media_type,
    labelled_messages_in,
)
from pipeline.validation.computed_columns import is_blank

log = logging.getLogger(__name__)

FEEDBACK_PATH = "/feedback"
LABELS = ("spam", "ham")

Save = Callable[[Sequence[LabelledText]], Awaitable[None]]
InTurn = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]  # within the server's limits


def build_saver(store: FeedbackStore, in_turn: InTurn) -> Save:
    """What checks and saves rows, off the event loop."""

    async def save(rows: Sequence[LabelledText]) -> None:
        """Raises: RequestError, and then nothing is saved, or it is not known whether it is."""
        for number, row in enumerate(rows):
            if row.label not in LABELS:
                raise RequestError(400, f"label of row {number} is neither spam nor ham")
            if await asyncio.to_thread(is_blank, row.text):  # a tenth of a second for a long one
                raise RequestError(400, f"text of row {number} is blank")
        try:
            await in_turn(lambda: asyncio.to_thread(store.save, rows))
        except PipelineError as error:
            log.warning("serve: feedback is not saved: %s", error)
            problem = "feedback cannot be saved at present; try again later"
            raise RequestError(503, problem) from None

    return save


def build_feedback_router(save: Save) -> APIRouter:
    """The route of the endpoint."""
    router = APIRouter()

    @router.post(FEEDBACK_PATH)
    async def feedback(request: Request) -> Response:
        accepted_media_type(request, (JSON_TYPE,))
        messages, labels = labelled_messages_in(await request.body())
        columns = (messages.texts, labels, messages.sources)
        rows = [LabelledText(*row) for row in zip(*columns, strict=True)]
        await save(rows)
        return JSONResponse({"saved": len(rows)})

    return router
