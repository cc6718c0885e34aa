"""A request may ask for reasons, of few messages; the server answers as the model does."""

import pytest

from pipeline.registry import subprocesses
from pipeline.serving.explanations import explain_message
from pipeline.serving.http.explained_requests import MAX_EXPLAINED
from tests.harness.model_server import CHECKS, model_server
from tests.harness.word_model import WordModel


@pytest.fixture
def post():
    """Posts a JSON body to /score of a server of WordModel, and returns the response."""
    with model_server(WordModel(), "3") as address, subprocesses.local_session() as session:
        yield lambda body, query="?explain=true": session.post(
            f"{address}/score{query}", json=body, timeout=60
        )


def explained(text):
    """What /score gives, by the code of the command line."""
    refused = CHECKS.reasons(text) or None
    return {**explain_message(text, WordModel()), "refused": refused, "model_version": "3"}


def test_answer_has_the_reasons_of_the_command_line(post):
    texts = ["free lunch", "", "a f-r-e-e prize"]
    response = post([{"text": text} for text in texts])
    assert (response.status_code, response.json()) == (200, [explained(text) for text in texts])
    assert post({"text": "free"}).json() == explained("free")


def test_answer_without_explain_has_no_reasons(post):
    for query in ("", "?explain=false", "?other=1"):
        response = post({"text": "free"}, query)
        assert response.status_code == 200
        assert "reasons" not in response.json()


@pytest.mark.parametrize(
    ("query", "messages", "status", "line"),
    [
        ("?explain=yes", 1, 400, "explain must be true or false"),
        (
            "?explain=true",
            MAX_EXPLAINED + 1,
            413,
            "more than 16 messages to explain; send fewer at a time",
        ),
    ],
)
def test_bad_request_for_reasons_gets_one_line(post, query, messages, status, line):
    response = post([{"text": "free"}] * messages, query)
    assert (response.status_code, response.json()["message"]) == (status, line)


def test_verdicts_are_counted_once_a_message(post):
    with model_server(WordModel(), "3") as address, subprocesses.local_session() as session:
        session.post(f"{address}/score?explain=true", json={"text": "free lunch"}, timeout=60)
        page = session.get(f"{address}/metrics", timeout=60).text
    counts = [line for line in page.splitlines() if line.startswith("spam_verdicts_total{")]
    assert [line.rpartition(" ")[2] for line in counts] == ["1.0"]
