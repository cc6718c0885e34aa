"""The benchmark prints both ratios for a small project."""

import re
import sys

import pytest


@pytest.mark.slow
def test_benchmark_runs_on_a_small_project(project):
    printed = project[1](sys.executable, "-m", "benchmarks.speed", "--rounds", "1").stdout
    assert len(re.findall(r"\| [\d.]+ \|$", printed, re.MULTILINE)) == 2
