"""The page's requests: lists, messages, decisions, and what is refused."""

import json
from contextlib import contextmanager

import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.hashing import message_id
from pipeline.registry.subprocesses import local_session
from pipeline.serving.http.feedback_store import REVIEWER_FOLDER, FeedbackStore
from pipeline.serving.review.app import ReviewParts, build_review_app
from pipeline.serving.review.background_champion import BackgroundChampion
from pipeline.serving.review.queues import QUEUES, QueueReader
from pipeline.serving.review.review_desk import ReviewDesk
from pipeline.serving.review.reviewed_file import REVIEWED_FILE
from pipeline.sources.readers import ColumnNames
from pipeline.validation.reviewed import read_reviewed
from tests.harness.model_server import served_app
from tests.harness.review_tables import new_review_project, write_review_table

HOSTILE = "<script>alert(1)</script> \u202eexe \x00 call 0800 123 4567"
ANSWER = {
    "label": "spam",
    "probability": 0.9876,
    "model_version": "3",
    "reasons": {
        "words": [
            {"text": " 0800", "weight": 2.346},
            {"text": "hi", "weight": -1.0},
            {"text": "x", "weight": 0.0},
        ]
    },
}


def no_champion():
    raise PipelineError("no champion yet")


@contextmanager
def review_server(folder, find=no_champion):
    """A function that sends requests to a page of the project in this folder."""
    desk = ReviewDesk(FeedbackStore(ColumnNames(), REVIEWER_FOLDER))
    champion = BackgroundChampion(find)
    parts = ReviewParts(QueueReader(folder), desk, champion, "A note.")
    with served_app(build_review_app(parts)) as address, local_session() as session:

        def ask(path, body=None, **headers):
            url = address + path
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            if body is None:
                return session.get(url, headers=headers, timeout=60)
            headers = {"Content-Type": "application/json", **headers}
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            return session.post(url, data=data, headers=headers, timeout=60)

        ask.address, ask.champion = address, champion
        yield ask


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new_review_project(tmp_path)
    rows = [{"text": f"message {number}"} for number in range(250)]
    rows += [{"text": HOSTILE, "source": "written/en", "label": "spam"}]
    write_review_table(tmp_path, "mistakes", rows)
    return tmp_path


@pytest.fixture
def ask(folder):
    with review_server(folder) as ask:
        yield ask


def decision(text="message 1", label="spam", reviewer="Ana", queue="mistakes"):
    return {
        "queue": queue,
        "message_id": message_id(text),
        "decision": label,
        "reviewer": reviewer,
    }


# ---- the page and its lists


def test_page_loads_nothing_and_is_not_stored(ask):
    response = ask("/")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src")
    assert "<h1>Review messages</h1>" in response.text
    assert "//" not in response.text.replace("// ", "")


def test_empty_queue_names_the_command_that_fills_it(ask):
    queues = ask("/api/queues").json()["queues"]
    assert [queue["name"] for queue in queues] == list(QUEUES)
    assert (queues[0]["total"], queues[0]["remedy"]) == (0, "dvc repro")
    assert (queues[1]["total"], queues[1]["open"]) == (251, 251)
    assert queues[1]["sources"] == {"sms": 250, "written/en": 1}


def test_list_comes_in_parts(ask):
    first = ask("/api/items?queue=mistakes").json()
    assert (len(first["items"]), first["left"]) == (200, 51)
    rest = ask(f"/api/items?queue=mistakes&after={first['items'][-1]['place']}").json()
    assert (len(rest["items"]), rest["left"]) == (51, 0)
    ids = [row["id"] for row in [*first["items"], *rest["items"]]]
    assert len(set(ids)) == 251


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("search=MESSAGE 24", 11),
        (f"search={message_id('message 7')[:12]}", 1),
        ("source=written/en", 1),
        ("reason=spam missed", 1),
        ("reason=spam missed&source=sms", 0),
        ("state=decided", 0),
    ],
)
def test_list_is_filtered(query, number, ask):
    assert len(ask(f"/api/items?queue=mistakes&{query}").json()["items"]) == number


def test_decided_message_is_not_open(ask):
    ask("/api/decisions", decision())
    (row,) = ask("/api/items?queue=mistakes&state=decided").json()["items"]
    assert (row["id"], row["decision"]) == (message_id("message 1"), "spam")
    assert ask("/api/queues").json()["queues"][1]["open"] == 250


# ---- a message


def test_hostile_text_is_shown_for_what_it_is(ask):
    path = f"/api/items/mistakes/{message_id(HOSTILE)}"
    shown = "<script>alert(1)</script> ⟦U+202E⟧exe ⟦U+0000⟧ call "
    assert ask(path).json()["text"] == f"{shown}⟦number⟧"
    assert ask(f"{path}?masked=false").json()["text"] == f"{shown}0800 123 4567"


def test_long_text_is_cut_unless_all_is_wanted(folder, ask):
    text = "word " * 200_000
    write_review_table(folder, "mistakes", [{"text": text}])
    path = f"/api/items/mistakes/{message_id(text)}"
    cut = ask(path).json()
    assert (len(cut["text"]), cut["characters"], cut["is_cut"]) == (20_000, 1_000_000, True)
    assert ask(f"{path}?whole=true").json()["text"] == text


def test_reasons_are_the_words_of_the_champion(folder):
    with review_server(folder, lambda: lambda text: ANSWER) as ask:
        ask.champion.problem()
        ask.champion._thread.join()
        path = f"/api/items/mistakes/{message_id(HOSTILE)}/reasons"
        reasons = ask(path).json()
        assert reasons["spam"] == [{"text": "••••", "weight": 2.35}]
        assert reasons["ham"] == [{"text": "hi", "weight": -1.0}]
        assert reasons["percent"] == "98.7"
        assert ask(f"{path}?masked=false").json()["spam"][0]["text"] == "0800"


def test_page_works_without_a_champion(ask):
    ask("/api/model")
    ask.champion._thread.join()
    assert ask("/api/model").json() == {"problem": "no champion yet"}
    response = ask(f"/api/items/mistakes/{message_id(HOSTILE)}/reasons")
    assert (response.status_code, response.json()["message"]) == (409, "no champion yet")


# ---- decisions


def test_decision_is_on_disk_when_it_is_answered(ask):
    (entry,) = ask("/api/decisions", decision()).json()["decisions"]
    assert (entry["reviewer"], entry["decision"]) == ("Ana", "spam")
    assert read_reviewed(REVIEWED_FILE).released == {message_id("message 1")}


def test_reviewer_sees_who_decided_otherwise(ask):
    ask("/api/decisions", decision())
    entries = ask("/api/decisions", decision(label="ham", reviewer="Bo")).json()["decisions"]
    assert [(one["reviewer"], one["decision"]) for one in entries] == [
        ("Ana", "spam"),
        ("Bo", "ham"),
    ]


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b"{", 400, "the body cannot be read as JSON"),
        (b"[1]", 400, "wrong or missing: the body"),
        ({**decision(), "decision": 1}, 400, "wrong or missing: decision"),
        ({**decision(), "more": ""}, 400, "wrong or missing: more"),
        (b" " * 10_001, 413, "the body has more than 10,000 bytes"),
        (decision("unknown"), 404, "the message is in this queue no more; load the page again"),
        (decision(queue="x"), 404, f"no such queue; choose from {', '.join(QUEUES)}"),
        (decision(reviewer="<b>"), 409, "reviewer: not a name"),
        (decision(label="undo"), 409, "Ana has not decided about this message"),
    ],
)
def test_bad_decision_is_one_line(body, status, problem, ask):
    response = ask("/api/decisions", body)
    message = response.json()["message"]
    assert (response.status_code, message.partition("; give")[0]) == (status, problem)
    assert REVIEWED_FILE.read_text() == "message_id,verdict,why\n"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Host": "evil.example"},
        {"Content_Type": "text/plain"},
    ],
)
def test_other_web_pages_cannot_decide(headers, ask):
    assert ask("/api/decisions", decision(), **headers).status_code in (400, 403, 415)
    assert REVIEWED_FILE.read_text() == "message_id,verdict,why\n"


def test_other_web_pages_cannot_read(ask):
    for headers in ({"Origin": "null"}, {"Sec_Fetch_Site": "same-site"}, {"Host": "evil.example"}):
        assert "message 1" not in ask("/api/items?queue=mistakes", **headers).text


def test_bad_query_is_one_line(ask):
    response = ask("/api/items?queue=mistakes&after=x")
    assert (response.status_code, response.json()["message"]) == (400, "wrong or missing: after")
    assert ask("/api/items?queue=none").status_code == 404
    assert ask("/none").json()["message"] == "Not Found"
