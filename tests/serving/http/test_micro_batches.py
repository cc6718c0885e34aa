"""Messages of requests that wait at the same time are labelled together, each by its version."""

import asyncio
import threading

import pytest

from pipeline.serving.http import micro_batches
from pipeline.serving.http.champion import LoadedVersion
from pipeline.serving.http.micro_batches import MicroBatcher
from tests.serving import test_batch


def shouts(text):
    return "is_loud" if text.isupper() else ""


class BatchModel(test_batch.Model):
    """Records its batches, and waits in the first one for as many as there are workers."""

    def __init__(self, fails_at=None):
        super().__init__()
        self.batches, self.may_go_on = [], threading.Event()
        self.fails_at = fails_at

    def predict(self, table):
        texts = table["text"].tolist()
        self.batches.append(texts)
        if "wait" in texts:
            assert self.may_go_on.wait(10)
        if self.fails_at in texts:
            raise ValueError(self.fails_at)
        return super().predict(table)


async def label_while_busy(requests, model):
    """The answers, or errors, to requests that arrive while all workers are busy."""
    batcher = MicroBatcher(shouts)
    busy = [
        asyncio.create_task(batcher.label(LoadedVersion(model, "0"), ["wait"], [None]))
        for _ in range(micro_batches.WORKERS)
    ]
    await asyncio.sleep(0)
    tasks = [
        asyncio.create_task(batcher.label(version, texts, [None] * len(texts)))
        for version, texts in requests
    ]
    await asyncio.sleep(0)
    assert batcher.waiting_messages() == sum(
        len(texts[: micro_batches.BATCH_MESSAGES]) for _, texts in requests
    )
    model.may_go_on.set()
    await asyncio.gather(*busy)
    return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def one_worker(monkeypatch):
    monkeypatch.setattr(micro_batches, "WORKERS", 1)


@pytest.mark.usefixtures("one_worker")
def test_waiting_requests_are_one_batch_and_get_their_own_answers():
    version = LoadedVersion(model := BatchModel(), "1")
    requests = [(version, ["win a"]), (version, ["B", "win ccc"]), (version, [])]
    answers = asyncio.run(label_while_busy(requests, model))
    assert model.batches == [["wait"], ["win a", "B", "win ccc"]]
    labels = [[answer["label"] for answer in of_request] for of_request in answers]
    assert labels == [["spam"], ["ham", "spam"], []]
    assert [answer["probability"] for answer in answers[1]] == [1 / 64, 7 / 64]
    refused = [[answer["refused"] for answer in of_request] for of_request in answers]
    assert refused == [[None], ["is_loud", None], []]


@pytest.mark.usefixtures("one_worker")
def test_batch_has_one_version():
    old, new = LoadedVersion(model := BatchModel(), "1"), LoadedVersion(BatchModel(), "2")
    asyncio.run(label_while_busy([(old, ["a"]), (new, ["b"]), (old, ["c"])], model))
    assert model.batches == [["wait"], ["a"], ["c"]]
    assert new.model.batches == [["b"]]


@pytest.mark.usefixtures("one_worker")
def test_large_request_lets_others_in_between(monkeypatch):
    monkeypatch.setattr(micro_batches, "BATCH_MESSAGES", 2)
    version = LoadedVersion(model := BatchModel(), "1")
    large = ["1", "2", "3", "4", "5"]
    answers = asyncio.run(label_while_busy([(version, large), (version, ["small"])], model))
    assert model.batches == [["wait"], ["1", "2"], ["small"], ["3", "4"], ["5"]]
    assert [len(of_request) for of_request in answers] == [5, 1]


@pytest.mark.usefixtures("one_worker")
def test_error_reaches_the_requests_of_its_batch_alone(monkeypatch):
    monkeypatch.setattr(micro_batches, "BATCH_MESSAGES", 1)
    version = LoadedVersion(model := BatchModel(fails_at="bad"), "1")
    bad, good = asyncio.run(label_while_busy([(version, ["bad"]), (version, ["good"])], model))
    assert repr(bad) == "ValueError('bad')"
    assert [answer["label"] for answer in good] == ["ham"]


@pytest.mark.usefixtures("one_worker")
def test_request_that_was_given_up_is_not_labelled():
    version = LoadedVersion(model := BatchModel(), "1")

    async def give_up():
        batcher = MicroBatcher(shouts)
        busy = asyncio.create_task(batcher.label(version, ["wait"], [None]))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.label(version, ["late"], [None]), 0.01)
        model.may_go_on.set()
        await busy

    asyncio.run(give_up())
    assert model.batches == [["wait"]]
