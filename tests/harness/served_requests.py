"""Requests to the product's server, and a model that may wait."""

import socket
import threading
from contextlib import contextmanager, suppress

from pipeline.registry import subprocesses
from tests.harness.model_server import model_server
from tests.serving import test_batch

JSON = "application/json"
GOOD = b'{"dataframe_records": [{"text": "WIN a prize now"}]}'
ANSWER = {"label": "spam", "probability": 15 / 64, "threshold": 0.5, "confident": True}


def post(address, body=GOOD, content_type=JSON, **headers):
    """The response of a server."""
    if content_type:
        headers["Content-Type"] = content_type
    with subprocesses.local_session() as session:
        return session.post(f"{address}/invocations", data=body, headers=headers, timeout=60)


def problem(response):
    """The status and the line of an error."""
    assert response.json().keys() == {"error_code", "message"}
    return response.status_code, response.json()["message"]


class Model(test_batch.Model):
    """Waits at the text `wait` until it may go on."""

    def __init__(self):
        super().__init__()
        self.waits, self.may_go_on = threading.Event(), threading.Event()

    def predict(self, table):
        if "wait" in table["text"].tolist():
            self.waits.set()
            assert self.may_go_on.wait(60)
        return super().predict(table)


WAIT = b'{"dataframe_records": [{"text": "wait"}]}'


@contextmanager
def running(model, *other_hosts):
    """The address of a server of this model, which answers what waits at the end."""
    with model_server(model, "3", *other_hosts) as address:
        try:
            yield address
        finally:
            model.may_go_on.set()


# ---- bare connections

HEADERS = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
WHOLE = HEADERS + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD


def connect(address):
    """A connection to a server."""
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def closed(connection):
    """Waits until the server has closed the connection."""
    with suppress(ConnectionResetError):
        while connection.recv(1 << 16):
            pass
    return True
