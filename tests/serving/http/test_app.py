"""Requests get the model's answers; bad ones get one line."""

import json

import mlflow
import pytest

from pipeline.registry import subprocesses
from pipeline.serving.http import request_bodies
from pipeline.serving.http.access import TokenFile
from pipeline.serving.http.champion import LoadedVersion, ServedChampion
from tests.harness.model_server import champion_server
from tests.harness.served_requests import ANSWER, GOOD, JSON, Model, post, problem, running

TOKEN = "0123456789abcdef0123"


@pytest.fixture
def address():
    with running(Model()) as address:
        yield address


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


def test_unknown_paths_and_methods_are_one_line(address):
    response = post(address, content_type='Application/JSON; charset="UTF-8"')
    assert (response.status_code, response.json()) == (200, {"predictions": [ANSWER]})
    assert response.headers["X-Model-Version"] == "3"
    with subprocesses.local_session() as session:
        paths = ["ping", "health", "version", "invocations", "redoc"]
        answers = [session.get(f"{address}/{path}", timeout=60) for path in paths]
    assert [answer.text for answer in answers[:3]] == ["\n", "\n", mlflow.__version__]
    errors = [(405, "Method Not Allowed"), (404, "Not Found")]
    assert [problem(answer) for answer in answers[3:]] == errors


def test_plain_message_gets_an_answer_with_its_version(address):
    named = {**ANSWER, "refused": None, "model_version": "3"}
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
    assert answers[0].keys() == ANSWER.keys() | {"model_version", "refused"}
    assert answers[0]["label"] == "spam"
    assert model.texts == ["W\xedn\n\nWIN", ""]
    assert model.sources == ["sms", "sms"]
    assert answers[1]["label"] == "ham"
    assert problem(refused)[0] == 415


def test_damaged_message_gets_its_label_and_what_is_wrong_with_it(address):
    messages = [{"text": text} for text in ("win\0now", " ", "caf\ufffd", "a")]
    with subprocesses.local_session() as session:
        plain = session.post(f"{address}/score", json=messages, timeout=60).json()
    mlflow_way = post(address, json.dumps({"dataframe_records": messages})).json()
    assert [(answer["label"], answer["refused"]) for answer in plain] == [
        ("spam", "text_has_no_control_characters"),
        ("ham", "text_is_not_blank"),
        ("ham", "text_decodes"),
        ("ham", None),
    ]
    assert mlflow_way["predictions"][0] == {**ANSWER, "probability": 7 / 64}


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
    champion = ServedChampion(LoadedVersion(Model(), "3", "hash"))
    with champion_server(champion) as address, subprocesses.local_session() as session:
        before = session.get(f"{address}/ready", timeout=60)
        champion.is_warm = True
        champion.problem = "version 4: its files are missing"
        after = session.get(f"{address}/ready", timeout=60)
    assert (before.status_code, before.json()["ready"]) == (503, False)
    assert after.status_code == 200
    state = {"version": "3", "package": "hash", "problem": champion.problem}
    assert after.json() == {"ready": True, **state}


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
            paths = ("health", "metrics", "docs", "openapi.json")
            statuses = [session.get(f"{address}/{path}", timeout=60).status_code for path in paths]
    assert (owner.status_code, owner.json()) == (200, {"predictions": [ANSWER]})
    assert {problem(response) for response in strangers} == {(401, "send a token of the server")}
    assert strangers[0].headers["WWW-Authenticate"] == "Bearer"
    assert statuses == [200, 401, 401, 401]


def test_only_known_host_names_are_answered():
    with running(Model(), "filter.example") as address:
        names = ["localhost:5001", "filter.example", "evil.example", "filter.example.evil.example"]
        statuses = [post(address, Host=name).status_code for name in names]
    assert statuses == [200, 200, 400, 400]
