"""A second version that labels what the champion has answered, so that both can be compared."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pipeline.core.errors import PipelineError
from pipeline.registry import versions
from pipeline.serving.http.champion import LoadedVersion
from pipeline.serving.http.micro_batches import Answers
from pipeline.serving.http.prediction_log import PredictionLog
from pipeline.serving.http.request_bodies import Messages
from pipeline.serving.labels import label_messages

log = logging.getLogger(__name__)

WAITING_LABELLED = 256  # requests that the shadow has not labelled; further ones are left out
PAUSE_SECONDS = 0.05  # while clients wait, the shadow does

# Gets the number of the shadow, the label of the champion, and that of the shadow
CountPair = Callable[[str, str, str], None]


class Shadow:
    """Labels in an event loop, and only while no client waits for an answer.

    Attributes:
        left_out: number of messages that it could not label.

    Args:
        version: never answers a client.
        predictions: the log that its labels go to as well, under its own number, if any.
    """

    def __init__(self, version: LoadedVersion, predictions: PredictionLog | None = None) -> None:
        self.version = version
        self.left_out = 0
        self._predictions = predictions
        self._answered: asyncio.Queue[tuple[Messages, Answers]] = asyncio.Queue(WAITING_LABELLED)

    def add(self, messages: Messages, answers: Answers) -> None:
        """Hands over the messages of a request, and the champion's answers to them."""
        try:
            self._answered.put_nowait((messages, answers))
        except asyncio.QueueFull:
            self.left_out += len(answers)

    async def run(self, waiting_messages: Callable[[], int], count: CountPair) -> None:
        """Labels what was handed over, until it is cancelled.

        Args:
            waiting_messages: how many messages of clients wait.
        """
        while True:
            messages, answers = await self._answered.get()
            while waiting_messages():
                await asyncio.sleep(PAUSE_SECONDS)
            try:
                own = await asyncio.to_thread(self._label, messages)
            except Exception as error:  # whose words may hold a message
                log.warning("serve: the shadow cannot label a request: %s", type(error).__name__)
                self.left_out += len(answers)
                continue
            for answer, own_answer in zip(answers, own, strict=True):
                count(self.version.number, answer["label"], own_answer["label"])
            if self._predictions:
                self._predictions.add(self.version.number, messages, own)

    def _label(self, messages: Messages) -> Answers:
        table = label_messages(messages.texts, self.version.model, messages.sources)
        return table.to_dict("records")  # type: ignore[return-value] # the columns are named


@asynccontextmanager
async def running_shadow(
    shadow: Shadow | None, waiting_messages: Callable[[], int], count: CountPair
) -> AsyncIterator[None]:
    """Runs a shadow, if there is one, while the block runs. Args: as for `Shadow.run`."""
    task = asyncio.create_task(shadow.run(waiting_messages, count)) if shadow else None
    yield
    if task:
        task.cancel()


def shadow_version(name: str) -> LoadedVersion:
    """A version of the registry, by its number or an alias. Raises: PipelineError."""
    aliases = versions.alias_numbers()
    number = aliases.get(name, name)
    if number not in versions.all_versions():
        choices = ", ".join(sorted(aliases)) or "none"
        raise PipelineError(f"--shadow: no version {name!r}; aliases are: {choices}")
    return LoadedVersion(versions.load_version(number), number)
