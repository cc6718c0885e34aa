"""Answers requests that ask for reasons: POST /score?explain=true."""

import asyncio
from collections.abc import Mapping, Sequence

from pipeline.serving.explanations import message_parts, with_reasons, without_parts
from pipeline.serving.http.champion import LoadedVersion
from pipeline.serving.http.micro_batches import Answers, MicroBatcher
from pipeline.serving.http.request_bodies import Messages, RequestError, plain_messages_in

MAX_EXPLAINED = 16  # messages of a request; each is labelled up to 64 times


def asks_for_reasons(query: Mapping[str, str]) -> bool:
    """Whether the query has explain=true. Raises: RequestError for another value than a boolean."""
    value = query.get("explain", "false")
    if value not in ("true", "false"):
        raise RequestError(400, "explain must be true or false")
    return value == "true"


def few_messages_in(body: bytes, media_type: str, source: str | None = None) -> Messages:
    """At most MAX_EXPLAINED messages. Args: as `plain_messages_in`. Raises: RequestError."""
    messages = plain_messages_in(body, media_type, source)
    if len(messages.texts) > MAX_EXPLAINED:
        problem = f"more than {MAX_EXPLAINED} messages to explain; send fewer at a time"
        raise RequestError(413, problem)
    return messages


async def label_with_reasons(
    batcher: MicroBatcher,
    version: LoadedVersion,
    texts: Sequence[str],
    sources: Sequence[str | None],
) -> Answers:
    """The answers of one version to the texts, with `reasons`. Args: as `MicroBatcher.label`."""
    answers: Answers = []
    for text, source in zip(texts, sources, strict=True):
        parts = await asyncio.to_thread(message_parts, text)  # seconds for a million characters
        variants = [text, *without_parts(parts)]
        labelled = await batcher.label(version, variants, [source] * len(variants))
        answers.append(with_reasons(parts, labelled))
    return answers
