"""The benchmark of the server prints a row for each number of clients."""

import re
import sys

import pytest


@pytest.mark.slow
def test_benchmark_runs_on_a_small_project(project):
    printed = project[1](sys.executable, "-m", "benchmarks.serve", "--rounds", "1").stdout
    rows = re.findall(r"^\| (\d+) \| [\d.]+ \| [\d.]+ \| [\d,]+ \|$", printed, re.MULTILINE)
    assert rows == ["1", "8", "64"]
