"""pipeline/core/run_summary.py"""

import json

import pytest

from pipeline.core import run_summary
from pipeline.core.reports import write_report
from pipeline.core.run_summary import STAGE_SECONDS, record_seconds, summary_lines

STAGES = "stages: {collect: {}, train: {}, evaluate: {}, register: {}}"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Ends a stage of this many seconds in a folder with four stages and two reports."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text(STAGES)
    write_report(tmp_path / "reports" / "train.json", 27325, {}, "bilstm: epoch 3 of 8 is the best")
    write_report(tmp_path / "reports" / "evaluate.json", 5782, {}, "f1 0.772")

    def run(stage, seconds):
        monkeypatch.setenv("DVC_STAGE", stage)
        monkeypatch.setattr(run_summary, "process_seconds", lambda: seconds)
        record_seconds()

    return run


def test_summary_has_seconds_rows_and_result_of_each_stage(run, tmp_path):
    run("collect", 0.51)
    run("evaluate", 150.04)
    run("register", 59.0)
    assert summary_lines(tmp_path / "reports", "next: make ui") == [
        "stage        seconds       rows  result",
        "collect          0.5",
        "train      unchanged     27,325  bilstm: epoch 3 of 8 is the best",
        "evaluate       150.0      5,782  f1 0.772",
        "register        59.0",
        "all            209.5",
        "next: make ui",
    ]


def test_first_stage_forgets_the_seconds_of_the_last_run(run):
    run("train", 250.0)
    run("collect", 0.5)
    assert json.loads(STAGE_SECONDS.read_text()) == {"collect": 0.5}


def test_seconds_count_from_the_start_of_the_process():
    first = run_summary.process_seconds()
    assert first > 0
    assert run_summary.process_seconds() >= first


def test_outside_of_dvc_nothing_is_noted_and_shown(run, tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    record_seconds()
    assert not STAGE_SECONDS.exists()
    assert summary_lines(tmp_path / "reports", "next: make ui") == []
