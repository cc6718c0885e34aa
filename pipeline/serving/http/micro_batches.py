"""Labels the messages of requests that wait at the same time in one batch."""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipeline.serving.http.champion import LoadedVersion
from pipeline.serving.labels import label_messages

BATCH_MESSAGES = 256  # labelled at once; they take some 50 ms
WORKERS = max(2, os.cpu_count() or 1)  # batches that are labelled at once

# label, probability, threshold, confident and refused of each message, as in ANSWER_COLUMNS
Answers = list[dict[str, Any]]


@dataclass(frozen=True)
class _Part:
    """At most BATCH_MESSAGES messages of one request."""

    version: LoadedVersion
    texts: Sequence[str]
    sources: Sequence[str | None]
    answers: "asyncio.Future[Answers]"


class MicroBatcher:
    """Must be used in one event loop.

    A batch is what waits when a worker is free, so that a single request does not wait. A request
    of many messages is labelled in parts, between which others are answered.

    Args:
        reasons: names what is wrong with a text, or gives "".
    """

    def __init__(self, reasons: Callable[[str], str]) -> None:
        self._reasons = reasons
        self._waiting: deque[_Part] = deque()
        self._tasks: set[asyncio.Task[None]] = set()  # keeps them from being collected
        self._busy_workers = 0
        self._threads = ThreadPoolExecutor(WORKERS)

    def waiting_messages(self) -> int:
        """Messages in parts that no worker has begun."""
        return sum(len(part.texts) for part in self._waiting)

    async def label(
        self, version: LoadedVersion, texts: Sequence[str], sources: Sequence[str | None]
    ) -> Answers:
        """The answers of one version to the texts, in their order.

        Args:
            sources: the source of each text, or None.
        """
        answers: Answers = []
        for start in range(0, len(texts), BATCH_MESSAGES):
            end = start + BATCH_MESSAGES
            future: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
            self._waiting.append(_Part(version, texts[start:end], sources[start:end], future))
            if self._busy_workers < WORKERS:
                self._busy_workers += 1
                task = asyncio.create_task(self._label_waiting())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            answers += await future
        return answers

    async def _label_waiting(self) -> None:
        """Labels batches until no part waits."""
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            labelled = loop.run_in_executor(self._threads, self._label_batch, batch)
            try:
                answers = await labelled
            except Exception as error:
                for part in batch:
                    if not part.answers.done():
                        part.answers.set_exception(error)
                continue
            for part in batch:
                if not part.answers.done():  # the request may have been given up
                    part.answers.set_result(answers[: len(part.texts)])
                answers = answers[len(part.texts) :]
        self._busy_workers -= 1

    def _next_batch(self) -> list[_Part]:
        """The first parts of one version that wait, of at most BATCH_MESSAGES together."""
        batch: list[_Part] = []
        room = BATCH_MESSAGES
        while self._waiting:
            part = self._waiting[0]
            if not part.answers.done():
                if batch and (part.version is not batch[0].version or len(part.texts) > room):
                    break
                batch.append(part)
                room -= len(part.texts)
            self._waiting.popleft()
        return batch

    def _label_batch(self, batch: list[_Part]) -> Answers:
        texts = [text for part in batch for text in part.texts]
        sources = [source for part in batch for source in part.sources]
        table = label_messages(texts, batch[0].version.model, sources)
        answers: Any = table.to_dict("records")
        for answer, text in zip(answers, texts, strict=True):
            answer["refused"] = self._reasons(text) or None
        return answers
