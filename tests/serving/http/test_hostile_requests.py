"""Hostile bytes get an error or a closed connection, and the next client its answer."""

import json
import socket

import psutil
import pytest

from pipeline.registry import subprocesses
from tests.harness.model_server import model_server
from tests.serving import test_batch

GROWTH = 64 << 20  # bytes of memory that a hostile request may cost at most
MIB = 1 << 20


def request(body=b"{}", *headers, line="POST /score HTTP/1.1", length=None):
    """A request as its bytes."""
    head = [line, "Host: localhost", "Content-Type: application/json", "Connection: close"]
    head += [f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


CASES = {  # name: bytes, and the status of the answer; 0: the connection is closed or an error
    "deep lists": (request(b"[" * 500_000), 400),
    "deep objects": (request(b'{"text":' * 100_000), 400),
    "a number of many digits": (request(b"9" * 500_000), 400),
    "many keys": (request(json.dumps(dict.fromkeys(map(str, range(60_000)), 1)).encode()), 400),
    "many messages": (request(b"[" + b'{"text":"a"},' * 60_000 + b'{"text":"a"}]'), 413),
    "a list for a text": (request(b'{"text": ["a"]}'), 400),
    "bytes that are not UTF-8": (request(b'{"text": "\xff\xfe"}'), 400),
    "compressed": (request(b"\x1f\x8b\x08\x00" + b"\0" * 999, "Content-Encoding: gzip"), 400),
    "half a surrogate pair": (request(b'{"text": "\\ud800"}'), 200),
    "a long text": (request(b'{"text": "' + b"a" * (MIB - 99) + b'"}'), 200),
    "combining marks": (request(json.dumps({"text": "a\u0301" * 80_000}).encode()), 200),
    "a huge length": (request(length=10**15), 413),
    "a length of many digits": (request(length="9" * 5_000), 0),
    "a negative length": (request(length=-1), 0),
    "two lengths": (request(b"{}", "Content-Length: 3"), 0),
    "length and chunks": (request(b"0\r\n\r\n", "Transfer-Encoding: chunked"), 0),
    "an unknown transfer coding": (request(b"{}", "Transfer-Encoding: gzip"), 0),
    "many headers": (request(b"{}", *(f"X-{number}: a" for number in range(9_000))), 0),
    "a long header": (request(b"{}", "X-Long: " + "a" * MIB), 0),
    "a long path": (request(line=f"POST /{'a' * MIB} HTTP/1.1"), 0),
    "another host": (request().replace(b"localhost", b"evil.example"), 400),
    "no host": (request().replace(b"Host: localhost\r\n", b""), 0),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 512, 0),
    "a WebSocket": (request(b"", "Upgrade: websocket", line="GET /score HTTP/1.1"), 405),
    "a proxy's request": (request(line="CONNECT example.com:443 HTTP/1.1"), 0),
    "a path outside": (request(line="GET /../../etc/passwd HTTP/1.1"), 404),
    "NUL in a header": (request(b"{}", "X-A: \0"), 0),
}


@pytest.fixture(scope="module")
def address():
    with model_server(test_batch.Model(), "3") as address:
        yield address


def answer_to(address, sent):
    """All that the server sends before it closes the connection."""
    host, port = address.removeprefix("http://").split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        try:
            connection.sendall(sent)
            while part := connection.recv(1 << 16):
                received += part
        except (ConnectionResetError, BrokenPipeError):
            pass
    return received


@pytest.mark.parametrize("name", CASES)
def test_hostile_request_costs_little_and_the_next_is_answered(name, address):
    sent, status = CASES[name]
    before = psutil.Process().memory_info().rss
    received = answer_to(address, sent)
    assert psutil.Process().memory_info().rss < before + GROWTH
    if status or received:
        assert received.startswith(b"HTTP/1.1 ")
        found = int(received.split()[1])
        assert found == status if status else 400 <= found < 500
    with subprocesses.local_session() as session:
        response = session.post(f"{address}/score", json={"text": "win"}, timeout=60)
    assert (response.status_code, response.json()["label"]) == (200, "spam")
