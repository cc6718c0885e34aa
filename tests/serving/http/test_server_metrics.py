"""The server tells Prometheus what it answers, and nothing of a text."""

import json

from pipeline.registry import subprocesses
from pipeline.serving.http import server_metrics
from pipeline.serving.http.champion import LoadedVersion, ServedChampion
from pipeline.serving.http.micro_batches import MicroBatcher
from pipeline.serving.http.server_metrics import ServerMetrics
from tests.harness.model_server import CHECKS, model_server
from tests.serving import test_batch

JSON = {"Content-Type": "application/json"}


def test_requests_and_verdicts_are_counted_without_texts():
    records = [{"text": "win", "source": "sms"}, {"text": "\0", "source": "nobody"}]
    with model_server(test_batch.Model(), "3") as address, subprocesses.local_session() as session:
        for body in (json.dumps({"instances": records}), "{"):
            session.post(f"{address}/invocations", data=body, headers=JSON, timeout=60)
        session.get(f"{address}/secret", timeout=60)
        page = session.get(f"{address}/metrics", timeout=60).text
    for line in (
        'spam_verdicts_total{confident="True",label="spam",source="sms",version="3"} 1.0',
        'spam_verdicts_total{confident="True",label="ham",source="other",version="3"} 1.0',
        'spam_refusals_total{reason="text_has_no_control_characters"} 1.0',
        'spam_requests_total{path="/invocations",status="200"} 1.0',
        'spam_requests_total{path="/invocations",status="400"} 1.0',
        'spam_requests_total{path="other",status="404"} 1.0',
        'spam_request_messages_bucket{le="2.0"} 1.0',
        "spam_request_seconds_count 1.0",
        'spam_model_info{version="3"} 1.0',
        "spam_waiting_messages 0.0",
        "spam_ready 0.0",
        "spam_reload_problem 0.0",
    ):
        assert f"{line}\n" in page
    assert "secret" not in page
    assert "nobody" not in page


def counting(*answers):
    """Metrics of version 3 after answers of versions, with probability and label of each."""
    metrics = ServerMetrics(
        ServedChampion(LoadedVersion(test_batch.Model(), "3")), MicroBatcher(CHECKS.reasons)
    )
    for version, probability, label in answers:
        answer = {"label": label, "probability": probability, "confident": True, "refused": None}
        metrics.count_verdicts(version, ["sms"], [answer])
    return metrics.page().decode()


def test_performance_is_expected_of_the_version_that_answers():
    page = counting(("2", 0.5, "ham"), ("3", 0.75, "spam"), ("3", 0.25, "ham"))
    assert "spam_recent_messages 2.0\n" in page
    for name in ("ham_lost", "recall"):
        lines = [line for line in page.splitlines() if line.startswith(f"spam_expected_{name}")]
        bounds = [line.rpartition("{")[2] for line in lines]
        value = {"ham_lost": "0.25", "recall": "0.75"}[name]
        assert bounds == [f'bound="value"}} {value}', 'bound="low"} 0.0', 'bound="high"} 1.0']


def test_nothing_is_expected_before_the_first_message():
    page = counting(("2", 0.5, "ham"))
    assert "spam_recent_messages 0.0\n" in page
    assert "spam_expected_recall{" not in page


def test_only_the_last_messages_count(monkeypatch):
    monkeypatch.setattr(server_metrics, "RECENT_MESSAGES", 1)
    page = counting(("3", 0.75, "spam"), ("3", 0.5, "ham"))
    assert 'spam_expected_recall{bound="value"} 0.0\n' in page
