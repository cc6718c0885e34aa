"""Connections are limited in number, and in the time until a request has arrived."""

import pytest

from pipeline.serving.http import connections
from tests.harness.served_requests import HEADERS, WHOLE, Model, closed, connect, post, running


@pytest.mark.parametrize("sent", [b"", HEADERS, WHOLE[:-1], WHOLE, WHOLE + HEADERS])
def test_connection_without_a_whole_request_is_closed(monkeypatch, sent):
    monkeypatch.setattr(connections, "ARRIVAL_SECONDS", 0.05)
    with running(Model()) as address, connect(address) as connection:
        connection.sendall(sent)
        assert closed(connection)


def test_connections_without_a_request_lock_nobody_out(monkeypatch):
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    with running(Model()) as address:
        silent = [connect(address) for _ in range(5)]
        assert post(address).status_code == 200
        assert closed(silent[0])
        for connection in silent:
            connection.close()
