"""Each answer is one line of JSON with its request id, and no text of a request is in it."""

import io
import json
import logging
import re

import pytest

from pipeline.registry import subprocesses
from pipeline.serving.http import request_log
from pipeline.serving.http.request_log import log_as_json
from tests.harness.model_server import model_server
from tests.serving import test_batch


class Model(test_batch.Model):
    """Breaks at the text `broken`."""

    def predict(self, table):
        if "broken secret" in table["text"].tolist():
            raise ValueError("cannot read broken secret")
        return super().predict(table)


@pytest.fixture
def lines():
    """What the server logs, one object a line."""
    root, handler = logging.getLogger(), logging.StreamHandler(io.StringIO())
    level = request_log.log.level
    handlers, root.handlers = root.handlers, [handler]
    log_as_json()
    yield lambda: [json.loads(line) for line in handler.stream.getvalue().splitlines()]
    root.handlers = handlers
    request_log.log.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def address():
    with model_server(Model(), "3") as address:
        yield address


@pytest.fixture
def session():
    with subprocesses.local_session() as session:
        yield session


def test_request_is_a_line_with_its_id(lines, address, session):
    texts = [{"text": "secret"}, {"text": "secret\0"}]
    headers = {"X-Request-ID": "7f-3.a"}
    response = session.post(f"{address}/score", json=texts, headers=headers, timeout=60)
    (line,) = lines()
    assert response.headers["X-Request-ID"] == "7f-3.a"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
    assert line.pop("seconds") > 0
    assert line == {
        "level": "info",
        "message": "request",
        "request_id": "7f-3.a",
        "method": "POST",
        "path": "/score",
        "status": 200,
        "messages": 2,
        "version": "3",
        "refused": 1,
    }


@pytest.mark.parametrize("given", ["secret words", "a" * 65, 'secret"', ""])
def test_other_request_id_is_replaced(given, lines, address, session):
    headers = {"X-Request-ID": given}
    response = session.get(f"{address}/health", headers=headers, timeout=60)
    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])
    assert lines()[0]["request_id"] == response.headers["X-Request-ID"]


def test_bad_requests_are_logged_without_their_content(lines, address, session):
    session.post(f"{address}/score", json=["secret"], timeout=60)
    session.get(f"{address}/secret?secret", timeout=60)
    session.request("SECRET", f"{address}/score", timeout=60)
    session.get(f"{address}/health", headers={"Host": "secret.example"}, timeout=60)
    facts = [(line["method"], line["path"], line["status"]) for line in lines()]
    assert facts == [
        ("POST", "/score", 400),
        ("GET", "other", 404),
        ("other", "/score", 405),
        ("GET", "/health", 400),
    ]
    assert "secret" not in json.dumps(lines()).lower()


def test_error_in_the_model_is_a_500_without_its_words(lines, address, session):
    response = session.post(f"{address}/score", json={"text": "broken secret"}, timeout=60)
    error, request = lines()
    request_id = response.headers["X-Request-ID"]
    assert response.status_code == 500
    problem = {"error_code": "INTERNAL_ERROR", "message": f"see request {request_id}"}
    assert response.json() == problem
    assert error["message"] == f"serve: ValueError in request {request_id}"
    assert "in predict" in error["traceback"]
    assert (request["request_id"], request["status"]) == (request_id, 500)
    assert "broken secret" not in json.dumps([error["message"], request])
    assert "cannot read broken" not in error["message"]


def test_without_json_no_request_is_logged(caplog, address, session):
    session.post(f"{address}/score", json={"text": "secret"}, timeout=60)
    assert "request" not in caplog.text


def test_traceback_of_another_error_is_one_line():
    record = logging.LogRecord("a", logging.ERROR, "", 0, "two\nlines", (), None)
    try:
        raise KeyError("x")
    except KeyError as error:
        record.exc_info = (KeyError, error, error.__traceback__)
    (line,) = request_log.JsonFormatter().format(record).splitlines()
    assert json.loads(line)["message"] == "two\\nlines"
    assert json.loads(line)["traceback"].endswith("KeyError: 'x'")
