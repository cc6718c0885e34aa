"""A client library of Akismet gets our verdicts and saves feedback, without a change."""

from urllib.parse import urlencode

import akismet
import httpx
import pytest

from pipeline.registry.subprocesses import local_session
from pipeline.serving.http.access import TokenFile
from pipeline.serving.http.akismet_api import FEEDBACK_OFF, MEDIA_TYPE
from tests.serving.http.test_feedback_api import TOKEN, feedback_server, saved

COMMENT = {"comment_content": "WIN a prize & Grüße", "comment_author": "Bob"}
FORM = {"Content-Type": f"{MEDIA_TYPE}; charset=UTF-8"}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "feedback"


@pytest.fixture
def address(tmp_path, folder):
    """Of a server with a token."""
    (file := tmp_path / "tokens").write_text(TOKEN)
    with feedback_server(folder, TokenFile(file)) as address:
        yield address


@pytest.fixture
def client(address, monkeypatch):
    """Makes a client of the library for our server."""
    monkeypatch.setattr(akismet._common, "_API_URL", address)
    with httpx.Client(timeout=60, trust_env=False) as http:

        def new_client(key=TOKEN):
            config = akismet.Config(key=key, url="https://forum.example")
            return akismet.SyncClient(config, http_client=http)

        yield new_client


def post(address, path, fields, **headers):
    with local_session() as session:
        body = fields if isinstance(fields, bytes) else urlencode(fields)
        url = f"{address}/1.1/{path}"
        return session.post(url, data=body, headers=FORM | headers, timeout=60)


def test_library_gets_the_verdict_of_the_content(client):
    spam = client().comment_check("192.0.2.1", **COMMENT)
    ham = client().comment_check("192.0.2.1", comment_content="lunch?", comment_author="win")
    assert (spam, ham) == (akismet.CheckResponse.SPAM, akismet.CheckResponse.HAM)


def test_library_saves_feedback(client, folder):
    assert client().submit_ham("192.0.2.1", **COMMENT)
    assert client().submit_spam("192.0.2.1", comment_content="lunch?")
    assert client().submit_spam("192.0.2.1", comment_content="a test", is_test=True)
    expected = [
        ("ham", COMMENT["comment_content"], "akismet"),
        ("spam", "lunch?", "akismet"),
    ]
    assert saved(folder) == expected


def test_key_is_a_token_of_the_server(client, folder):
    assert client().verify_key()
    assert not client("x" * 20).verify_key()
    for ask in (client("x" * 20).comment_check, client("").submit_spam):
        with pytest.raises(akismet.APIKeyError):
            ask("192.0.2.1", **COMMENT)
    assert saved(folder) == []


def test_any_key_is_good_where_there_are_no_tokens():
    with feedback_server(None) as address:
        verified = post(address, "verify-key", {"key": "x", "blog": "https://forum.example"})
        checked = post(address, "comment-check", COMMENT)
        submitted = post(address, "submit-spam", COMMENT)
    assert (verified.text, checked.text) == ("valid", "true")
    assert checked.headers["Content-Type"].startswith("text/plain")
    assert (submitted.status_code, submitted.json()["message"]) == (403, FEEDBACK_OFF)


@pytest.mark.parametrize(
    ("fields", "headers", "status", "message"),
    [
        ({"comment_author": "Bob"}, {}, 400, "the form has no comment_content"),
        ({"comment_content": " "}, {}, 400, "text of row 0 is blank"),
        (b"a=1&" * 1_001, {}, 400, "the form has more than 1,000 fields"),
        (b"a" * ((1 << 20) + 1), {}, 413, "the body has more than 1,048,576 bytes"),
        (COMMENT, {"Content-Type": "text/plain"}, 415, f"send Content-Type {MEDIA_TYPE}, in UTF-8"),
        (COMMENT, {"Origin": "https://evil.example"}, 403, "a web page may not send this"),
    ],
)
def test_bad_form_gets_one_line(fields, headers, status, message, address, folder):
    fields = {**fields, "api_key": TOKEN} if isinstance(fields, dict) else fields
    response = post(address, "submit-spam", fields, **headers)
    assert response.status_code == status
    assert response.json()["message"].startswith(message)
    assert saved(folder) == []


def test_wrong_key_gets_the_reason_in_a_header(address):
    response = post(address, "comment-check", COMMENT)
    assert (response.status_code, response.text) == (200, "invalid")
    reason = "api_key is not a token of this server"
    assert response.headers["X-akismet-debug-help"] == reason


def test_requests_are_counted_by_path(address):
    post(address, "comment-check", {**COMMENT, "api_key": TOKEN})
    with local_session() as session:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        page = session.get(f"{address}/metrics", headers=headers, timeout=60).text
    assert 'spam_requests_total{path="/1.1/comment-check",status="200"} 1.0' in page
    assert (
        'spam_verdicts_total{confident="True",label="spam",source="other",version="3"} 1.0' in page
    )
