"""Answers the messages of requests with the champion, within the server's limits."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import NamedTuple, TypeVar

from starlette.requests import Request

from pipeline.serving.http.champion import ServedChampion
from pipeline.serving.http.micro_batches import Answers, MicroBatcher
from pipeline.serving.http.prediction_log import PredictionLog
from pipeline.serving.http.request_bodies import (
    MAIL_TYPE,
    Messages,
    RequestError,
    accepted_media_type,
)
from pipeline.serving.http.server_metrics import ServerMetrics
from pipeline.serving.http.shadow import Shadow

MAX_REQUESTS = 256  # at once
REQUEST_SECONDS = 60  # waiting included

WorkT = TypeVar("WorkT")
Label = Callable[..., Awaitable[Answers]]  # takes version, texts and sources, as a batcher does


class Labelled(NamedTuple):
    """The answers to a request, and the number of the version that gave them."""

    messages: Messages
    version: str
    answers: Answers


class Answering:
    """Answers requests of one event loop.

    Args:
        predictions: the log that the answers go to, if any.
        shadow: a second version that labels the same messages later, if any.
    """

    def __init__(
        self,
        champion: ServedChampion,
        batcher: MicroBatcher,
        metrics: ServerMetrics,
        predictions: PredictionLog | None,
        shadow: Shadow | None,
    ) -> None:
        self._champion = champion
        self._batcher = batcher
        self._metrics = metrics
        self._predictions = predictions
        self._shadow = shadow
        self._places = asyncio.Semaphore(MAX_REQUESTS)

    async def in_turn(self, start: Callable[[], Awaitable[WorkT]]) -> WorkT:
        """The result of a request's work. Raises: RequestError if it waits or takes too long."""
        if self._places.locked():
            raise RequestError(429, f"more than {MAX_REQUESTS} requests at once; try again later")
        async with self._places:
            try:
                return await asyncio.wait_for(start(), REQUEST_SECONDS)
            except TimeoutError:
                problem = f"no answer within {REQUEST_SECONDS} seconds; try again later"
                raise RequestError(503, problem) from None

    async def answer(
        self, request: Request, messages: Messages, label: Label | None = None
    ) -> Labelled:
        """The champion's answers to the messages of a request. Raises: RequestError.

        Args:
            label: what labels them; None: the batcher alone.
        """
        version = self._champion.current
        label = label or self._batcher.label
        answers = await self.in_turn(lambda: label(version, messages.texts, messages.sources))
        self._metrics.count_verdicts(version.number, messages.sources, answers)
        if self._predictions:
            self._predictions.add(version.number, messages, answers)
        if self._shadow:
            self._shadow.add(messages, answers)
        self._metrics.messages.observe(len(answers))
        self._metrics.seconds.observe(time.perf_counter() - request.state.started)
        request.state.answered = {
            "messages": len(answers),
            "version": version.number,
            "refused": sum(answer["refused"] is not None for answer in answers),
        }
        return Labelled(messages, version.number, answers)

    async def answer_body(
        self,
        request: Request,
        read: Callable[[bytes, str], Messages],
        media_types: Collection[str],
        label: Label | None = None,
    ) -> Labelled:
        """The answers to the messages of a body. Raises: RequestError.

        Args:
            read: gets the body and its media type.
            media_types: which are accepted.
        """
        media_type = accepted_media_type(request, media_types)
        body = await request.body()
        if media_type == MAIL_TYPE:  # may take seconds
            messages = await self.in_turn(lambda: asyncio.to_thread(read, body, media_type))
        else:
            messages = read(body, media_type)
        return await self.answer(request, messages, label)
