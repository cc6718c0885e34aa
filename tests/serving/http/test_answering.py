"""Slow and too many requests hold up nobody."""

import threading
from contextlib import contextmanager

from pipeline.registry import subprocesses
from pipeline.serving.http import answering, request_bodies
from tests.harness.served_requests import ANSWER, WAIT, Model, post, problem, running


@contextmanager
def waiting_request(model, address):
    """The responses of a request that the model has begun and does not finish in the block."""
    responses = []
    client = threading.Thread(target=lambda: responses.append(post(address, WAIT)))
    client.start()
    assert model.waits.wait(60)
    yield responses
    model.may_go_on.set()
    client.join()


def test_long_request_lets_others_be_answered():
    with running(model := Model()) as address, waiting_request(model, address) as responses:
        assert post(address).json() == {"predictions": [ANSWER]}
        assert not responses
    assert responses[0].json()["predictions"][0]["label"] == "ham"


def test_request_above_the_limit_is_told_to_wait(monkeypatch):
    monkeypatch.setattr(answering, "MAX_REQUESTS", 1)
    with running(model := Model()) as address, waiting_request(model, address) as responses:
        response = post(address)
        assert problem(response) == (429, "more than 1 requests at once; try again later")
        assert response.headers["Retry-After"] == "1"
    assert responses[0].status_code == 200


def test_mail_that_takes_too_long_to_read_gets_one_line(monkeypatch):
    may_go_on = threading.Event()
    monkeypatch.setattr(answering, "REQUEST_SECONDS", 0.05)
    monkeypatch.setattr(request_bodies, "read_mail", lambda body: may_go_on.wait(60))
    headers = {"Content-Type": "message/rfc822"}
    with running(Model()) as address, subprocesses.local_session() as session:
        response = session.post(f"{address}/score", data="Subject: s", headers=headers, timeout=60)
        may_go_on.set()
        line = "no answer within 0.05 seconds; try again later"
        assert problem(response) == (503, line)


def test_request_that_takes_too_long_gets_one_line(monkeypatch):
    monkeypatch.setattr(answering, "REQUEST_SECONDS", 0.05)
    with running(Model()) as address:
        line = "no answer within 0.05 seconds; try again later"
        assert problem(post(address, WAIT)) == (503, line)
