"""The benchmark of the start prints a row for each command."""

import re
import sys

import pytest


@pytest.mark.slow
def test_benchmark_runs_on_a_small_project(copied):
    printed = copied[1](sys.executable, "-m", "benchmarks.start", "--rounds", "1").stdout
    rows = re.findall(r"^\| (\w+) \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$", printed, re.MULTILINE)
    assert rows == ["predict", "score", "serve"]
    assert list((copied[0] / ".compiled").rglob("*.pb"))
