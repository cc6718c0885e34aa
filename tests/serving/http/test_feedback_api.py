"""Labels that clients send are saved before the answer, or the answer is an error."""

import json
from pathlib import Path

import pytest

from pipeline.registry.subprocesses import local_session
from pipeline.serving.http import answering
from pipeline.serving.http.access import TokenFile
from pipeline.serving.http.champion import LoadedVersion, ServedChampion
from pipeline.serving.http.feedback_store import FeedbackStore
from pipeline.sources.readers import ColumnNames
from tests.harness.model_server import champion_server
from tests.serving.test_batch import Model

JSON = {"Content-Type": "application/json"}
TOKEN = "0123456789abcdef0123"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "feedback"


def feedback_server(folder, tokens=None):
    champion = ServedChampion(LoadedVersion(Model(), "3"))
    store = FeedbackStore(ColumnNames(), folder) if folder else None
    return champion_server(champion, tokens=tokens, feedback=store)


@pytest.fixture
def address(folder):
    with feedback_server(folder) as address:
        yield address


def post(address, content, **headers):
    body = content if isinstance(content, bytes) else json.dumps(content)
    with local_session() as session:
        return session.post(f"{address}/feedback", data=body, headers=JSON | headers, timeout=60)


def saved(folder: Path):
    """Label, text and source of the saved rows."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]
    return [(row["label"], row["text"], row["source"]) for row in map(json.loads, lines)]


def test_one_label_or_a_list_is_saved(address, folder):
    one = post(address, {"text": "WIN", "label": "spam", "source": "forum"})
    many = post(address, [{"text": "a", "label": "ham"}, {"text": "\ud800", "label": "spam"}])
    assert (one.status_code, one.json()) == (200, {"saved": 1})
    assert (many.status_code, many.json()) == (200, {"saved": 2})
    expected = [("spam", "WIN", "forum"), ("ham", "a", None), ("spam", "?", None)]
    assert saved(folder) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"text": "a"}, "label of row 0 is neither spam nor ham"),
        ([{"text": "a", "label": "ham"}, {"text": "a", "label": ["ham"]}], "label of row 1 is nei"),
        ({"label": "ham"}, "row 0 has no text"),
        ({"text": " \n", "label": "ham"}, "text of row 0 is blank"),
        ({"text": "\u200b&nbsp;", "label": "ham"}, "text of row 0 is blank"),  # validate's rule
        ({"text": 1, "label": "ham"}, "text of row 0 is a int, not a string"),
        (b"{", "the body cannot be read as JSON"),
    ],
)
def test_bad_label_gets_one_line_and_nothing_is_saved(content, message, address, folder):
    response = post(address, content)
    assert response.status_code == 400
    assert response.json()["message"].startswith(message)
    assert saved(folder) == []


def test_limits_are_those_of_other_requests(address, folder, monkeypatch):
    assert post(address, b" " * ((1 << 20) + 1)).status_code == 413
    assert post(address, [{"text": "a", "label": "ham"}] * 2_001).status_code == 413
    assert post(address, {"text": "a"}, **{"Content-Type": "text/csv"}).status_code == 415
    monkeypatch.setattr(answering, "REQUEST_SECONDS", 0)
    assert post(address, {"text": "a", "label": "ham"}).status_code == 503
    with local_session() as session:
        page = session.get(f"{address}/metrics", timeout=60).text
    assert 'spam_requests_total{path="/feedback",status="413"} 2.0' in page


def test_what_cannot_be_saved_is_an_error(address, folder, caplog):
    folder.write_text("in the way")
    response = post(address, {"text": "secret", "label": "ham"})
    line = "feedback cannot be saved at present; try again later"
    assert (response.status_code, response.json()["message"]) == (503, line)
    assert response.headers["Retry-After"] == "1"
    assert f"serve: feedback is not saved: {folder}" in caplog.text
    assert "secret" not in caplog.text


def test_server_takes_no_feedback_unless_it_is_told_to():
    with feedback_server(None) as address:
        assert post(address, {"text": "a", "label": "ham"}).status_code == 404


def test_feedback_needs_a_token_where_there_are_some(tmp_path, folder):
    (file := tmp_path / "tokens").write_text(TOKEN)
    with feedback_server(folder, TokenFile(file)) as address:
        content = {"text": "a", "label": "ham"}
        strangers = post(address, content)
        owner = post(address, content, Authorization=f"Bearer {TOKEN}")
    assert [strangers.status_code, owner.status_code] == [401, 200]
    assert len(saved(folder)) == 1
