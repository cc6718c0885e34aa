"""The benchmark of takeovers tells stale answers from good ones, and runs."""

import re
import subprocess
import sys

import pytest

from benchmarks.takeover import Answer, Move, backward_answers, seconds_until_seen, stale_answers
from tests.harness.small_project import ROOT

MOVES = [Move(0, "1"), Move(100, "2"), Move(150, "1"), Move(200, "2")]


@pytest.mark.parametrize(
    ("answer", "is_stale"),
    [
        (Answer(50, 51, "1"), False),
        (Answer(50, 51, "2"), True),  # before it became the champion
        (Answer(99, 101, "2"), False),  # it became the champion meanwhile
        (Answer(109, 120, "1"), False),
        (Answer(111, 112, "1"), True),
        (Answer(140, 151, "1"), False),
        (Answer(211, 212, "1"), True),
        (Answer(900, 901, "2"), False),
        (Answer(900, 901, "3"), True),
    ],
)
def test_answer_is_stale_ten_seconds_after_its_version(answer, is_stale):
    assert stale_answers([answer], MOVES) == ([answer] if is_stale else [])


def test_move_is_seen_with_the_first_answer_of_its_version():
    answers = [Answer(1, 2, "2"), Answer(98, 104, "2"), Answer(102, 103, "1"), Answer(5, 109, "2")]
    assert seconds_until_seen(answers, MOVES[1]) == 4
    assert seconds_until_seen(answers, MOVES[3]) == float("inf")


def test_answer_goes_back_once_the_new_version_has_answered():
    new, late, back = Answer(101, 103, "2"), Answer(102, 104, "1"), Answer(105, 106, "1")
    after = Answer(149, 151, "1")  # it became the champion meanwhile
    assert backward_answers([new, late, back, after], MOVES) == [back]


@pytest.mark.slow
def test_alias_moves_under_load_without_a_failure():
    command = [sys.executable, "-m", "benchmarks.takeover", "--moves", "2", "--requests", "300"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line in ("failed requests: 0", "after the new one had answered: 0"):
        assert re.search(f"{line}$", done.stdout, re.MULTILINE)
    assert re.search(r"[3-9]\d\d|\d,\d{3} requests by \d+ clients, 2 moves", done.stdout)
