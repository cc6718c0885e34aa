"""The server answers as the model does, to all who ask, within limits; errors are one line."""

import errno
import json
import os
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import mlflow
import pandas as pd
import psutil
import pytest

from pipeline.registry import parity, subprocesses
from pipeline.serving import request_bodies, server
from pipeline.serving.access import TokenFile
from pipeline.serving.champion import LoadedVersion, ServedChampion
from pipeline.serving.server import main
from tests.harness import small_models
from tests.harness.errors import error_of
from tests.harness.ledger_entries import make_champion
from tests.harness.mlflow_store import store_at
from tests.harness.model_server import champion_server, model_server
from tests.harness.small_project import ROOT
from tests.serving import test_batch

JSON = "application/json"
GOOD = b'{"dataframe_records": [{"text": "WIN a prize now"}]}'
TOKEN = "0123456789abcdef0123"
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


@pytest.fixture
def address():
    with running(Model()) as address:
        yield address


# ---- requests


@pytest.mark.parametrize(
    ("body", "content_type", "status", "message"),
    [
        (b'{"instances": [{"x": "a"}]}', JSON, 400, "row 0 has no text"),
        (
            b" " * (request_bodies.MAX_BYTES + 1),
            JSON,
            413,
            "the body has more than 1,048,576 bytes",
        ),
        (iter([GOOD]), JSON, 411, "no Content-Length"),  # which requests sends in chunks
        (GOOD, None, 415, "send Content-Type application/json or text/csv, in UTF-8"),
        (GOOD, "application/json; charset=latin-1", 415, "send Content-Type application/json"),
        (b"PAR1", "application/vnd.apache.parquet", 415, "send Content-Type application/json"),
    ],
)
def test_bad_request_gets_one_line(address, body, content_type, status, message):
    found, line = problem(post(address, body, content_type))
    assert found == status
    assert line.startswith(message)


def test_only_the_paths_of_mlflow_answer(address):
    response = post(address, content_type='Application/JSON; charset="UTF-8"')
    assert (response.status_code, response.json()) == (200, {"predictions": [ANSWER]})
    assert response.headers["X-Model-Version"] == "3"
    with subprocesses.local_session() as session:
        paths = ["ping", "health", "version", "invocations", "docs"]
        answers = [session.get(f"{address}/{path}", timeout=60) for path in paths]
    assert [answer.text for answer in answers[:3]] == ["\n", "\n", mlflow.__version__]
    errors = [(405, "Method Not Allowed"), (404, "Not Found")]
    assert [problem(answer) for answer in answers[3:]] == errors


def test_plain_message_gets_an_answer_with_its_version(address):
    named = {**ANSWER, "model_version": "3"}
    text = {"text": "WIN a prize now", "source": "sms"}
    with subprocesses.local_session() as session:
        one = session.post(f"{address}/score", json=text, timeout=60)
        body = json.dumps([text, text]).encode("utf-16")
        headers = {"Content-Type": JSON}
        many = session.post(f"{address}/score", data=body, headers=headers, timeout=60)
        none = session.post(f"{address}/score", json=[], timeout=60)
    assert (one.status_code, one.json()) == (200, named)
    assert (many.status_code, many.json()) == (200, [named, named])
    assert (none.status_code, none.json()) == (200, [])
    assert one.headers["X-Model-Version"] == "3"


def test_mail_is_scored_by_what_a_person_would_see():
    mail = b"Subject: =?utf-8?q?W=C3=ADn?=\nContent-Type: text/html\n\n<i>WIN</i><!--a-->\n"
    model = Model()
    with running(model) as address, subprocesses.local_session() as session:
        url = f"{address}/score?source=sms"
        headers = {"Content-Type": "message/rfc822"}
        answers = [session.post(url, data=body, headers=headers).json() for body in (mail, b"")]
        refused = post(address, mail, "message/rfc822")
    assert answers[0].keys() == ANSWER.keys() | {"model_version"}
    assert answers[0]["label"] == "spam"
    assert model.texts == ["W\xedn\n\nWIN", ""]
    assert model.sources == ["sms", "sms"]
    assert answers[1]["label"] == "ham"
    assert problem(refused)[0] == 415


@pytest.mark.parametrize(
    ("body", "content_type", "status", "message"),
    [
        (b'{"x": "a"}', JSON, 400, "row 0 has no text"),
        (b'[{"text": "a"}, "b"]', JSON, 400, 'the body must be {"text": "..."} or a list of these'),
        (b'{"text": ["a"]}', JSON, 400, "text of row 0 is a list, not a string"),
        (
            b"text\na\n",
            "text/csv",
            415,
            "send Content-Type application/json or message/rfc822, in UTF-8",
        ),
    ],
)
def test_bad_plain_message_gets_one_line(address, body, content_type, status, message):
    headers = {"Content-Type": content_type}
    with subprocesses.local_session() as session:
        response = session.post(f"{address}/score", data=body, headers=headers, timeout=60)
    assert problem(response) == (status, message)


def test_server_is_ready_when_all_shapes_are_compiled():
    champion = ServedChampion(LoadedVersion(Model(), "3"))
    with champion_server(champion) as address, subprocesses.local_session() as session:
        before = session.get(f"{address}/ready", timeout=60)
        champion.is_warm = True
        champion.problem = "version 4: its files are missing"
        after = session.get(f"{address}/ready", timeout=60)
    assert (before.status_code, before.json()["ready"]) == (503, False)
    assert after.status_code == 200
    assert after.json() == {"ready": True, "version": "3", "problem": champion.problem}


def test_server_with_tokens_answers_their_owners_alone(tmp_path):
    (file := tmp_path / "tokens").write_text(f"{TOKEN}\n")
    champion = ServedChampion(LoadedVersion(Model(), "3"))
    with champion_server(champion, tokens=TokenFile(file)) as address:
        owner = post(address, Authorization=f"Bearer {TOKEN}")
        strangers = [
            post(address),
            post(address, Authorization=f"Bearer {TOKEN}x"),
            post(address, Authorization=f"Basic {TOKEN}"),
            post(address, Authorization="Bearer "),
        ]
        with subprocesses.local_session() as session:
            paths = ("health", "metrics", "docs")
            statuses = [session.get(f"{address}/{path}", timeout=60).status_code for path in paths]
    assert (owner.status_code, owner.json()) == (200, {"predictions": [ANSWER]})
    assert {problem(response) for response in strangers} == {(401, "send a token of the server")}
    assert strangers[0].headers["WWW-Authenticate"] == "Bearer"
    assert statuses == [200, 401, 401]


@pytest.mark.parametrize(
    "options", [[], ["--tokens", "tokens"], ["--allow-host", "filter.example"]]
)
def test_other_machines_need_a_token_and_a_name(options):
    line = error_of(main, ["--host", "0.0.0.0", *options])
    assert line.startswith("--host: other machines reach 0.0.0.0; give --tokens FILE, and --allow")


def test_only_known_host_names_are_answered():
    with running(Model(), "filter.example") as address:
        names = ["localhost:5001", "filter.example", "evil.example", "filter.example.evil.example"]
        statuses = [post(address, Host=name).status_code for name in names]
    assert statuses == [200, 200, 400, 400]
    line = error_of(main, ["--allow-host", "*.example"])
    assert line == "--allow-host: *.example: is a pattern; name each host"


# ---- too many


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
    monkeypatch.setattr(server, "MAX_REQUESTS", 1)
    with running(model := Model()) as address, waiting_request(model, address) as responses:
        response = post(address)
        assert problem(response) == (429, "more than 1 requests at once; try again later")
        assert response.headers["Retry-After"] == "1"
    assert responses[0].status_code == 200


def test_request_that_takes_too_long_gets_one_line(monkeypatch):
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.05)
    with running(Model()) as address:
        line = "no answer within 0.05 seconds; try again later"
        assert problem(post(address, WAIT)) == (503, line)


HEADERS = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
WHOLE = HEADERS + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD


def connect(address):
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def closed(connection):
    """Waits until the server has closed the connection."""
    with suppress(ConnectionResetError):
        while connection.recv(1 << 16):
            pass
    return True


@pytest.mark.parametrize("sent", [b"", HEADERS, WHOLE[:-1], WHOLE, WHOLE + HEADERS])
def test_connection_without_a_whole_request_is_closed(monkeypatch, sent):
    monkeypatch.setattr(server, "ARRIVAL_SECONDS", 0.05)
    with running(Model()) as address, connect(address) as connection:
        connection.sendall(sent)
        assert closed(connection)


def test_connections_without_a_request_lock_nobody_out(monkeypatch):
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 3)
    with running(Model()) as address:
        silent = [connect(address) for _ in range(5)]
        assert post(address).status_code == 200
        assert closed(silent[0])
        for connection in silent:
            connection.close()


# ---- the command


@pytest.fixture(scope="module")
def served(tmp_path_factory, empty_database):
    """A server of a small champion, and the model."""
    project = small_models.SmallRegistry(tmp_path_factory.mktemp("registry"), empty_database)
    with store_at(project.address, project.folder):
        model = project.add()
        store = mlflow.MlflowClient(project.address, project.address)
        make_champion(store, "1", model.artifacts.parent)
        command = [sys.executable, "-m", "pipeline", "serve"]
        with subprocesses.running_server(command, {"PYTHONPATH": str(ROOT)}) as server:
            assert server.wait_until_up(300), subprocesses.last_output_line(server.folder)
            yield server, model


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
    assert "serve: version 1 answers at " in output
    assert "secret" not in output.lower()


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
