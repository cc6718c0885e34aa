"""The benchmark of the start prints a row for a command, and leaves what was compiled."""

import re
import sys

import pytest


@pytest.mark.slow
def test_benchmark_runs_on_a_small_project(copied):
    options = ["--rounds", "1", "--only", "score"]
    printed = copied[1](sys.executable, "-m", "benchmarks.start", *options).stdout
    rows = re.findall(r"^\| (\w+) \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$", printed, re.MULTILINE)
    assert rows == ["score"]
    assert list((copied[0] / ".compiled").rglob("*.pb"))
