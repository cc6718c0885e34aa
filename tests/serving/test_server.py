"""The server answers as the model does; a bad request gets a 4xx without a stack trace."""

import errno
import json
import os
import socket
import sys

import mlflow
import pandas as pd
import psutil
import pytest

from pipeline.registry import parity, subprocesses, versions
from pipeline.serving.server import MAX_BODY_BYTES, main
from tests.harness import small_models
from tests.harness.errors import error_of
from tests.harness.mlflow_store import store_at
from tests.harness.small_project import ROOT

JSON, CSV = "application/json", "text/csv"
GOOD = b'{"dataframe_records": [{"text": "WIN a prize now"}]}'


@pytest.fixture(scope="module")
def served(tmp_path_factory, empty_database):
    """A server of a small champion, and the model."""
    project = small_models.SmallRegistry(tmp_path_factory.mktemp("registry"), empty_database)
    with store_at(project.address, project.folder):
        model = project.add()
        store = mlflow.MlflowClient(project.address, project.address)
        store.set_registered_model_alias("spam-detector", versions.CHAMPION, "1")
        command = [sys.executable, "-m", "pipeline", "serve"]
        with subprocesses.running_server(command, {"PYTHONPATH": str(ROOT)}) as server:
            assert server.wait_until_up(300), subprocesses.last_output_line(server.folder)
            yield server, model


@pytest.fixture
def request_answer(served):
    """The response of the server."""

    def request_answer(body, content_type=JSON):
        headers = {"Content-Type": content_type} if content_type else {}
        url = f"{served[0].address}/invocations"
        with subprocesses.local_session() as session:
            return session.post(url, data=body, headers=headers, timeout=60)

    return request_answer


@pytest.mark.slow
def test_answers_equal_those_of_the_model(request_answer, served):
    texts = ["", *parity.parity_texts(small_models.TEXTS)]
    texts.remove("\x00")  # NumPy, which MLflow reads inputs and instances into, drops it at the end
    expected = served[1].answers(texts)
    for body in (
        {"dataframe_split": {"columns": ["text"], "data": [[text] for text in texts]}},
        {"dataframe_records": [{"text": text} for text in texts]},
        {"inputs": {"text": texts}},
        {"instances": [{"text": text} for text in texts]},
    ):
        answers = request_answer(json.dumps(body)).json()["predictions"]
        assert parity.describe_difference(pd.DataFrame(answers), expected) is None
        assert len({row["threshold"] for row in answers}) == 1
    none = request_answer(b'{"dataframe_split": {"columns": ["text"], "data": []}}')
    assert (none.status_code, none.json()) == (200, {"predictions": []})


def records(*texts):
    return json.dumps({"dataframe_records": [{"text": text} for text in texts]})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "body", "content_type"),
    [
        (400, b"hello", JSON),
        (400, b'["hello"]', JSON),
        (400, b'{"texts": ["hello"]}', JSON),
        (400, b'{"messages": [{"role": "user", "content": "hello"}]}', JSON),
        (400, b'{"dataframe_records": [{"body": "hello"}]}', JSON),
        (400, b'{"dataframe_records": []}', JSON),
        (400, b'{"dataframe_records": [null]}', JSON),
        (400, b'{"dataframe_split": {"columns": ["text"], "data": [["hello", "twice"]]}}', JSON),
        (400, records("hello", None), JSON),
        (400, records(5), JSON),
        (400, b'{"dataframe_records": [{"text": "\xff"}]}', JSON),
        (400, b'{"dataframe_records": [{"text": "\\udc80"}]}', JSON),
        (400, b"[" * 100_000, JSON),
        (400, b'{"inputs": ' + b"1" * 5_000 + b"}", JSON),
        (413, records("x" * MAX_BODY_BYTES), JSON),
        (400, b"text\nhello\nNA\n", CSV),
        (400, b"text\n\xff\n", CSV),
        (400, b"no Parquet", "application/vnd.apache.parquet"),
        (415, GOOD, None),
        (415, GOOD, "text/plain"),
        (415, GOOD, "application/json; charset=latin-1"),
    ],
)
def test_bad_body_gets_a_4xx_without_a_stack_trace(request_answer, status, body, content_type):
    response = request_answer(body, content_type)
    assert response.status_code == status, response.text
    assert "stack_trace" not in response.text
    assert "Traceback" not in response.text


@pytest.mark.slow
def test_body_without_a_length_is_refused(request_answer):
    response = request_answer(iter([GOOD]))  # which requests sends in chunks
    assert (response.status_code, response.json()["message"]) == (411, "no Content-Length")


@pytest.mark.slow
def test_value_that_is_not_a_text_is_named(request_answer):
    response = request_answer(records("hello", 5))
    assert response.json()["message"].endswith("text of row 1 is a int, not a string")


@pytest.mark.slow
def test_server_listens_on_loopback_only(served):
    sockets = psutil.Process(served[0].process.pid).net_connections()
    listening = {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_unusable_port_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = error_of(main, ["--port", str(port)])
    way_out = "choose another port, as in: make serve PORT=5002"
    assert line == f"127.0.0.1:{port}: {os.strerror(errno.EADDRINUSE)}; {way_out}"
    line = error_of(main, ["--port", "70000"])
    assert line.startswith("127.0.0.1:70000: ")
    assert "65535" in line
