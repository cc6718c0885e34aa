"""Ledger entries: version 1, then version 2, then a rollback to version 1."""

from dataclasses import replace

from pipeline.registry.ledger import LedgerEntry

FIRST = LedgerEntry(
    time="2026-01-05T08:00:00+00:00",
    verdict="first",
    version="1",
    previous=None,
    reason="it meets the criteria, and there is no champion",
    figures={"f1": {"value": 0.95, "low": 0.92, "high": 0.97, "n": 711}},
    actor="Ada",
    commit="a" * 40,
    data_hash="d1",
    model_hash="m1",
    files={"tokenizer": "t1", "network": "n1", "decision": "e1", "splits": "s1"},
    answers=[0.9, 0.1],
    key="k1",
)
SECOND = replace(
    FIRST,
    time="2026-02-02T08:00:00+00:00",
    verdict="promote",
    version="2",
    previous="1",
    model_hash="m2",
)
BACK = replace(
    FIRST, time="2026-02-03T09:00:00+00:00", verdict="rollback", previous="2", reason="loses ham"
)
