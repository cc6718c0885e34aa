"""The table has the medians and their ratio, and the benchmark runs on a small project."""

import re
import sys

import pytest

from benchmarks import speed
from pipeline.core.errors import PipelineError


def test_table_has_medians_and_ratios():
    seconds = {
        "ours trains": [30, 90, 31],
        "article trains": [10, 12, 11],
        "ours scores": [0.5, 0.4, 9],
        "svm scores": [1.0, 2.0, 1.5],
    }
    *_, training, scoring = speed.speed_table(seconds, 3000).splitlines()
    assert training.endswith("| 31 | 11 | 2.8 |")
    assert scoring.endswith("| 6,000 | 2,000 | 3.0 |")


def test_no_rounds_are_refused():
    with pytest.raises(PipelineError, match=r"^--rounds: 0 is too small; choose 1 or more$"):
        speed.main(["--rounds", "0"])


@pytest.mark.slow
def test_benchmark_runs_on_a_small_project(project):
    _, run = project
    printed = run(sys.executable, "-m", "benchmarks.speed", "--rounds", "1").stdout
    assert len(re.findall(r"\| [\d.]+ \|$", printed, re.MULTILINE)) == 2
