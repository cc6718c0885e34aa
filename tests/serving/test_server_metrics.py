"""The server tells Prometheus what it answers, and nothing of a text."""

import json

from pipeline.registry import subprocesses
from tests.harness.model_server import model_server
from tests.serving import test_batch

JSON = {"Content-Type": "application/json"}


def test_requests_and_verdicts_are_counted_without_texts():
    records = [{"text": "win", "source": "sms"}, {"text": "a", "source": "nobody"}]
    with model_server(test_batch.Model(), "3") as address, subprocesses.local_session() as session:
        for body in (json.dumps({"instances": records}), "{"):
            session.post(f"{address}/invocations", data=body, headers=JSON, timeout=60)
        session.get(f"{address}/secret", timeout=60)
        page = session.get(f"{address}/metrics", timeout=60).text
    for line in (
        'spam_verdicts_total{confident="True",label="spam",source="sms",version="3"} 1.0',
        'spam_verdicts_total{confident="True",label="ham",source="other",version="3"} 1.0',
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
