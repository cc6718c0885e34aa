"""The benchmark of the server prints a row for each number of clients."""

import re
import sys

import pytest


@pytest.mark.slow
def test_benchmark_runs_on_a_small_project(project):
    command = (sys.executable, "-m", "benchmarks.serve", "--rounds", "1", "--requests", "64")
    printed = project[1](*command).stdout
    rows = re.findall(r"^\| (\d+) \| [\d.]+ \| [\d.]+ \| [\d,]+ \|$", printed, re.MULTILINE)
    assert rows == ["1", "8", "64"]
