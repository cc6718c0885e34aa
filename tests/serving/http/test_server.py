"""The command serves the champion until it is stopped."""

import errno
import json
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import mlflow
import pandas as pd
import psutil
import pytest
import requests

from pipeline.registry import parity, subprocesses
from pipeline.serving.http.server import main
from tests.harness import small_models
from tests.harness.errors import error_of
from tests.harness.ledger_entries import make_champion
from tests.harness.mlflow_store import store_at
from tests.harness.served_requests import GOOD, WHOLE, closed, connect, post
from tests.harness.small_project import ROOT


@pytest.fixture(scope="module")
def small_champion(tmp_path_factory, empty_database):
    """A small model, which is the champion of the registry of this process."""
    project = small_models.SmallRegistry(tmp_path_factory.mktemp("registry"), empty_database)
    with store_at(project.address, project.folder):
        model = project.add()
        store = mlflow.MlflowClient(project.address, project.address)
        make_champion(store, "1", model.artifacts.parent)
        yield model


@contextmanager
def running_command():
    """A server of the champion in a process of its own."""
    command = [sys.executable, "-m", "pipeline", "serve", "--json-logs"]
    environment = {"PYTHONPATH": str(ROOT), "DVC_ROOT": str(ROOT)}  # which has params.yaml
    with subprocesses.running_server(command, environment) as server:
        assert server.wait_until_up(300), subprocesses.last_output_line(server.folder)
        yield server


@pytest.fixture(scope="module")
def served(small_champion):
    """A server of a small champion, and the model."""
    with running_command() as server:
        yield server, small_champion


@pytest.mark.slow
def test_answers_equal_those_of_the_model(served):
    texts = ["", *small_models.TEXTS, *parity.HOSTILE_TEXTS]
    expected = served[1].answers(texts)
    for body in (
        {"dataframe_split": {"columns": ["text"], "data": [[text] for text in texts]}},
        {"dataframe_records": [{"text": text} for text in texts]},
        {"inputs": {"text": texts}},
        {"instances": [{"text": text} for text in texts]},
    ):
        answers = post(served[0].address, json.dumps(body)).json()["predictions"]
        assert parity.describe_difference(pd.DataFrame(answers), expected) is None
        assert len({row["threshold"] for row in answers}) == 1
    records = [{"text": text, "source": "sms"} for text in small_models.TEXTS]
    of_sms = post(served[0].address, json.dumps({"dataframe_records": records})).json()
    expected = served[1].detector.predict(None, pd.DataFrame(records))
    assert parity.describe_difference(pd.DataFrame(of_sms["predictions"]), expected) is None
    assert {row["threshold"] for row in of_sms["predictions"]} == {0.9}
    none = post(served[0].address, b'{"dataframe_split": {"columns": ["text"], "data": []}}')
    assert (none.status_code, none.json()) == (200, {"predictions": []})


@pytest.mark.slow
def test_requests_in_parallel_get_the_answers_of_the_model(served):
    texts = [f"{number} {text}" for number in range(40) for text in small_models.TEXTS[:5]]
    expected = served[1].answers(texts)["label"].tolist()

    def ask(text):
        body = json.dumps({"instances": [{"text": text}]})
        return post(served[0].address, body).json()["predictions"][0]["label"]

    with ThreadPoolExecutor(32) as clients:
        assert list(clients.map(ask, texts)) == expected


@pytest.mark.slow
def test_log_holds_nothing_of_a_request(served):
    for content in ({"instances": [{"secret": 1}]}, {"inputs": {"text": ["secret"]}}, "secret"):
        post(served[0].address, json.dumps(content), secret="1")
    with connect(served[0].address) as connection:
        connection.sendall(b"secret\r\n\r\n")
        assert closed(connection)
    output = (served[0].folder / subprocesses.OUTPUT_FILE).read_text()
    assert "secret" not in output.lower()
    messages = [json.loads(line)["message"] for line in output.splitlines()]
    assert any(message.startswith("serve: version 1 answers at ") for message in messages)
    assert "request" in messages


@pytest.mark.slow
@pytest.mark.usefixtures("small_champion")
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_stopped_server_answers_what_is_under_way(stop):
    """A request whose body has not arrived when the signal comes."""
    with running_command() as server, connect(server.address) as connection:
        connection.sendall(
            WHOLE.removesuffix(b"\r\n\r\n" + GOOD) + b"\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        server.process.send_signal(stop)
        with suppress(requests.ConnectionError), subprocesses.local_session() as session:
            while True:  # until it accepts no more connections
                session.get(f"{server.address}/ping", headers={"Connection": "close"}, timeout=60)
        connection.sendall(GOOD)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"predictions"' in answer
        assert server.process.wait(60) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("small_champion")
def test_stopped_server_does_not_wait_for_ever():
    """A request whose body never arrives is closed; the server ends all the same."""
    with running_command() as server, connect(server.address) as connection:
        connection.sendall(WHOLE[:-1])
        server.process.send_signal(signal.SIGTERM)
        assert closed(connection)
        assert server.process.wait(60) == 0


@pytest.mark.slow
def test_server_listens_on_loopback_only(served):
    sockets = psutil.Process(served[0].process.pid).net_connections()
    listening = {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


@pytest.mark.parametrize(
    "options", [[], ["--tokens", "tokens"], ["--allow-host", "filter.example"]]
)
def test_other_machines_need_a_token_and_a_name(options):
    line = error_of(main, ["--host", "0.0.0.0", *options])
    assert line.startswith("--host: other machines reach 0.0.0.0; give --tokens FILE, and --allow")


def test_pattern_of_host_names_is_one_line():
    line = error_of(main, ["--allow-host", "*.example"])
    assert line == "--allow-host: *.example: is a pattern; name each host"


def test_unusable_port_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = error_of(main, ["--port", str(port)])
    way_out = "choose another port, as in: make serve PORT=5002"
    assert line == f"127.0.0.1:{port}: {os.strerror(errno.EADDRINUSE)}; {way_out}"
    line = error_of(main, ["--port", "70000"])
    assert line.startswith("127.0.0.1:70000: ")
    assert "65535" in line
