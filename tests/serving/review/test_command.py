"""The command serves the page on this machine alone, and exchanges tasks with Label Studio."""

import json
import signal
import socket

import psutil
import pytest

from pipeline.core.hashing import message_id
from pipeline.registry.subprocesses import OUTPUT_FILE, local_session
from pipeline.serving.review.command import main
from pipeline.serving.review.decision_log import DECISION_LOG, read_decisions
from pipeline.serving.review.reviewed_file import REVIEWED_FILE
from pipeline.validation.reviewed import read_reviewed
from tests.harness.errors import error_of
from tests.harness.review_server import running_review
from tests.harness.review_tables import new_review_project, write_review_table


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new_review_project(tmp_path)
    write_review_table(tmp_path, "mistakes", [{"text": "one"}, {"text": "two", "label": "spam"}])
    return tmp_path


def annotate(file, *labels):
    """Gives the tasks of a file these labels, by people 1, 2, ..."""
    tasks = json.loads(file.read_text())
    for number, (task, label) in enumerate(zip(tasks, labels, strict=True), 1):
        result = [{"value": {"choices": [label]}, "type": "choices"}]
        task["annotations"] = [{"result": result, "completed_by": number}]
    file.write_text(json.dumps(tasks))


def test_exported_and_annotated_tasks_are_decisions(folder):
    file = folder / "tasks.json"
    main(["--export", str(file)])
    annotate(file, "ham", "ham")
    main(["--import", str(file)])
    ids = [message_id(text) for text in ("one", "two")]
    assert read_reviewed(REVIEWED_FILE).released == set(ids)
    standing = read_decisions(DECISION_LOG)
    assert [standing[one][0].reviewer for one in ids] == [
        "Label Studio user 1",
        "Label Studio user 2",
    ]
    (saved,) = (folder / "data/inbox/feedback/review").glob("*.jsonl")
    assert [json.loads(line)["text"] for line in saved.open()] == ["two"]
    main(["--export", str(file)])
    assert json.loads(file.read_text()) == []


def test_file_that_is_imported_twice_counts_once(folder):
    file = folder / "tasks.json"
    main(["--export", str(file)])
    annotate(file, "ham", "spam")
    main(["--import", str(file)])
    before = DECISION_LOG.read_bytes()
    main(["--import", str(file)])
    assert DECISION_LOG.read_bytes() == before


def test_message_that_no_queue_has_now_is_counted(folder, caplog):
    caplog.set_level("INFO")
    file = folder / "tasks.json"
    main(["--export", str(file)])
    annotate(file, "ham", "ham")
    write_review_table(folder, "mistakes", [{"text": "one"}])
    main(["--import", str(file)])
    line = "review-page: 1 decisions; 1 of messages that no queue has now"
    assert caplog.messages[-1] == line


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"text": "one"', '"text": "other"', "the text of"),
        ('"queue": "mistakes"', '"queue": "none"', "a task is of no queue; choose from"),
    ],
)
def test_changed_tasks_are_refused_before_the_first_decision(old, new, problem, folder):
    file = folder / "tasks.json"
    main(["--export", str(file)])
    annotate(file, "ham", "ham")
    file.write_text(file.read_text().replace(old, new))
    assert problem in error_of(main, ["--import", str(file)])
    assert not DECISION_LOG.exists()


def test_damaged_table_is_one_line(folder):
    (folder / "data" / "review" / "mistakes.parquet").write_bytes(b"no")
    assert "not readable as Parquet" in error_of(main, ["--port", "0"])


def test_used_port_is_one_line(folder):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = error_of(main, ["--port", str(port)])
    assert line.endswith("as in: python -m pipeline review-page --port 5003")


def test_corrections_that_nothing_reads_are_a_warning(folder, caplog):
    main(["--export", str(folder / "tasks.json")])
    assert "review-page: nothing learns from it yet; set ingest.sources" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_page_is_for_this_machine_alone_until_it_is_stopped(stop, folder):
    with running_review(folder) as server, local_session() as session:
        sockets = psutil.Process(server.process.pid).net_connections()
        listening = {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
        answer = session.get(f"{server.address}/api/items?queue=mistakes&search=two", timeout=60)
        assert answer.json()["items"][0]["snippet"] == "two"
        server.process.send_signal(stop)
        assert server.process.wait(60) == 0
    output = (folder / OUTPUT_FILE).read_text()
    assert f"review-page: open {server.address}/" in output
    assert "two" not in output
