"""The server answers as the model does; a bad request gets a 4xx without a stack trace."""

import asyncio
import errno
import json
import os
import socket
import sys

import pandas as pd
import psutil
import pytest

from benchmarks import serve
from pipeline.core.errors import PipelineError
from pipeline.registry import parity, subprocesses, versions
from pipeline.serving.server import MAX_BODY_BYTES, main
from tests.harness import small_models
from tests.harness.small_project import ROOT

JSON, CSV = "application/json", "text/csv"
GOOD = b'{"dataframe_records": [{"text": "WIN a prize now"}]}'


@pytest.fixture(scope="module")
def served(tmp_path_factory, empty_database):
    """A server of a small champion, and the model."""
    import mlflow

    with pytest.MonkeyPatch.context() as patch:
        project = small_models.SmallRegistry(tmp_path_factory.mktemp("registry"), empty_database)
        patch.chdir(project.folder)
        patch.setenv("MLFLOW_TRACKING_URI", project.address)
        model = project.add()
        store = mlflow.MlflowClient(project.address, project.address)
        store.set_registered_model_alias("spam-detector", versions.CHAMPION, "1")
        with subprocesses.running_server(
            [sys.executable, "-m", "pipeline", "serve"], {"PYTHONPATH": str(ROOT)}
        ) as server:
            assert server.wait_until_up(300), subprocesses.last_output_line(server.folder)
            yield server, model
        mlflow.set_tracking_uri(None)  # MLflow keeps both for the process
        mlflow.set_registry_uri(None)


def asked(server, body, content_type=JSON, method="POST", path="/invocations", **headers):
    if content_type:
        headers["Content-Type"] = content_type
    with subprocesses.local_session() as asking:
        return asking.request(
            method, f"{server.address}{path}", data=body, headers=headers, timeout=60
        )


@pytest.mark.slow
def test_answers_equal_those_of_the_model(served):
    server, model = served
    texts = ["", *parity.parity_texts(small_models.TEXTS)]
    texts.remove(
        "\x00"
    )  # NumPy, into which MLflow reads inputs and instances, drops it at a text's end
    expected = model.answers(texts)
    for body in (
        {"dataframe_split": {"columns": ["text"], "data": [[text] for text in texts]}},
        {"dataframe_records": [{"text": text} for text in texts]},
        {"inputs": {"text": texts}},
        {"instances": [{"text": text} for text in texts]},
    ):
        answers = asked(server, json.dumps(body)).json()["predictions"]
        assert parity.describe_difference(pd.DataFrame(answers), expected) is None
        assert len({row["threshold"] for row in answers}) == 1


@pytest.mark.slow
def test_no_messages_get_no_predictions(served):
    body = json.dumps({"dataframe_split": {"columns": ["text"], "data": []}})
    response = asked(served[0], body)
    assert (response.status_code, response.json()) == (200, {"predictions": []})


def records(*texts):
    return json.dumps({"dataframe_records": [{"text": text} for text in texts]})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "body", "content_type"),
    [
        (400, b"", JSON),
        (400, b"hello", JSON),
        (400, b"5", JSON),
        (400, b'["hello"]', JSON),
        (400, b"{}", JSON),
        (400, b'{"texts": ["hello"]}', JSON),
        (400, b'{"messages": [{"role": "user", "content": "hello"}]}', JSON),
        (400, b'{"dataframe_records": [{"body": "hello"}]}', JSON),
        (400, b'{"dataframe_records": []}', JSON),
        (400, b'{"dataframe_records": [null]}', JSON),
        (400, b'{"dataframe_split": {"columns": ["text"], "data": [["hello", "twice"]]}}', JSON),
        (400, records(None), JSON),
        (400, records("hello", None), JSON),
        (400, records(5), JSON),
        (400, records("hello", 5), JSON),
        (400, records(True), JSON),
        (400, records(float("nan")), JSON),
        (400, records(["two", "texts"]), JSON),
        (400, records({"text": "hello"}), JSON),
        (400, b'{"dataframe_records": [{"text": "\xff"}]}', JSON),
        (400, b'{"dataframe_records": [{"text": "\\udc80"}]}', JSON),
        (400, b"[" * 100_000, JSON),
        (400, b'{"inputs": ' + b"1" * 5_000 + b"}", JSON),
        (413, records("x" * MAX_BODY_BYTES), JSON),
        (400, b"", CSV),
        (400, b"body\nhello\n", CSV),
        (400, b"text\nhello\nNA\n", CSV),
        (400, b'text\n"hello\n', CSV),
        (400, b"text\n\xff\n", CSV),
        (400, b"no Parquet", "application/vnd.apache.parquet"),
        (415, GOOD, None),
        (415, GOOD, "text/plain"),
        (415, GOOD, "application/json; charset=latin-1"),
        (415, b"text=hello", "application/x-www-form-urlencoded"),
    ],
)
def test_bad_body_gets_a_4xx_without_a_stack_trace(status, body, content_type, served):
    response = asked(served[0], body, content_type)
    assert response.status_code == status, response.text
    assert "stack_trace" not in response.text
    assert "Traceback" not in response.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "method", "path"),
    [(405, "GET", "/invocations"), (404, "GET", "/nothing"), (404, "POST", "/../params.yaml")],
)
def test_unknown_path_or_method_gets_a_4xx(status, method, path, served):
    assert asked(served[0], GOOD, method=method, path=path).status_code == status


@pytest.mark.slow
def test_body_without_a_length_is_refused(served):
    response = asked(served[0], iter([GOOD]))  # which requests sends in chunks
    assert (response.status_code, response.json()["message"]) == (411, "no Content-Length")


@pytest.mark.slow
def test_value_that_is_not_a_text_is_named(served):
    message = asked(served[0], records("hello", 5)).json()["message"]
    assert message.endswith("text of row 1 is a int, not a string")


@pytest.mark.slow
def test_server_listens_on_loopback_only(served):
    port = int(served[0].address.rpartition(":")[2])
    listening = {
        connection.laddr.ip
        for connection in psutil.Process(served[0].process.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }
    assert listening == {"127.0.0.1"}


def test_used_port_is_one_line():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PipelineError) as refused:
            main(["--port", str(port)])
    way_out = "choose another port, as in: make serve PORT=5002"
    assert str(refused.value) == f"127.0.0.1:{port}: {os.strerror(errno.EADDRINUSE)}; {way_out}"


def test_invalid_port_is_one_line():
    with pytest.raises(PipelineError, match=r"^127\.0\.0\.1:70000: .*65535.*; choose another port"):
        main(["--port", "70000"])


@pytest.mark.slow
def test_missing_champion_is_one_line(store):
    with pytest.raises(PipelineError, match=r"^models:/spam-detector@champion: no champion yet"):
        main(["--port", "0"])


# ---- the benchmark


def test_table_has_the_medians_of_its_rounds():
    rounds = {
        1: [(2.0, 9.0, 500.0), (4.0, 5.0, 250.0), (3.0, 7.0, 1250.0)],
        8: [(16.0, 32.0, 400.0)],
    }
    assert serve.latency_table(rounds).splitlines()[2:] == [
        "| 1 | 3.0 | 7.0 | 500 |",
        "| 8 | 16.0 | 32.0 | 400 |",
    ]


def test_figures_are_percentiles_and_a_rate():
    p50, p99, rate = serve.latency_figures([float(taken) for taken in range(101)], 4.0)
    assert (p50, p99, rate) == (50.0, 99.0, 25.25)


@pytest.mark.slow
def test_every_text_is_asked_about_once_from_any_number_of_clients(served):
    for clients in (1, 3, 100):
        taken, seconds = asyncio.run(
            serve.send_requests(served[0].address, small_models.TEXTS[:7], clients)
        )
        assert len(taken) == 7
        assert 0 < max(taken) <= 1000 * seconds


def test_no_round_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["serve", "--rounds", "0"])
    with pytest.raises(PipelineError, match=r"^--rounds: 0 is not at least 1$"):
        serve.main()
