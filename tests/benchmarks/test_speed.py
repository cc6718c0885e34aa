"""The table has the medians and their ratios, and the benchmark runs on what a small project left."""

import re
import sys

import pytest

from benchmarks import speed
from pipeline.core.errors import PipelineError


def test_table_has_medians_and_ratios():
    taken = {"ours trains": [30, 90, 31], "article trains": [10, 12, 11]}
    taken |= {"ours scores": [0.5, 0.4, 9], "svm scores": [1.0, 2.0, 1.5]}
    *_, training, scoring = speed.table(taken, 3000).splitlines()
    assert training.endswith("| 31 | 11 | 2.8 |")
    assert scoring.endswith("| 6,000 | 2,000 | 3.0 |")


def test_no_round_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["speed", "--rounds", "0"])
    with pytest.raises(PipelineError, match=r"^--rounds: 0 is not at least 1$"):
        speed.main()


@pytest.mark.slow
def test_it_runs_on_what_a_small_project_left(project):
    _, run = project
    printed = run(sys.executable, "-m", "benchmarks.speed", "--rounds", "1").stdout
    assert len(re.findall(r"\| [\d.]+ \|$", printed, re.MULTILINE)) == 2
