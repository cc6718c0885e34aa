"""Ledger entries: version 1, then 2, then a rollback to 1, or the end of 2. Writes ledgers."""

from dataclasses import replace
from pathlib import Path

from mlflow import MlflowClient

from pipeline.registry import versions
from pipeline.registry.ledger import ENTRY_TAG, LEDGER, LedgerEntry, ledger_text
from pipeline.registry.package_hash import PACKAGE_TAG, hash_package
from pipeline.tracking.mlflow_client import MODEL_NAME
from tests.harness.small_project import runner

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
END = replace(
    SECOND,
    time="2026-02-04T09:00:00+00:00",
    verdict="begin anew",
    previous="2",
    reason="the first model that meets the criteria is the next champion",
)


def write_ledger(entries):
    LEDGER.write_text(ledger_text(entries))


def merge_ledger(folder):
    """Commits the ledger as it is, which makes its lines merged ones."""
    run = runner(folder)
    ada = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    run("git", "add", "ledger.jsonl")
    run("git", *ada, "commit", "--quiet", "--message", "Merged")


def make_champion(store: MlflowClient, version: str, package: Path) -> None:
    """Makes a registered version, whose MLflow model is in a folder, the champion."""
    entry = replace(FIRST, version=version, files={})
    versions.set_tags(version, {ENTRY_TAG: entry.json_line(), PACKAGE_TAG: hash_package(package)})
    store.set_registered_model_alias(MODEL_NAME, versions.CHAMPION, version)
