"""The benchmark of explanations counts agreement, and prints times a length."""

import re

from benchmarks import explanations
from benchmarks.explanations import CASES, Case
from pipeline.serving.explanations import explain_message
from tests.harness.word_model import WordModel

PAIR = [Case("spam", "FREE prize, hi", "free prize hi"), Case("ham", "lunch at one", "one at")]


def test_agreement_counts_the_words_of_the_person():
    answers = [explain_message(case.text, WordModel()) for case in PAIR]
    line = "at least one word agrees in 1 of 2 cases, at least two in 1"
    assert explanations.agreement_line(PAIR, answers) == line
    *_, spam, ham = explanations.case_table(PAIR, answers).splitlines()
    assert spam == "| spam | spam | FREE, prize | free prize hi | 2 |"
    assert ham == "| ham | ham | lunch | one at | 0 |"
    assert max(map(explanations.sum_error, answers)) < 1e-9


def test_each_length_has_its_times():
    table = explanations.time_table(WordModel(), rounds=1)
    rows = re.findall(r"^\| ([\d,]+) \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$", table, re.MULTILINE)
    assert rows == [f"{length:,}" for length in explanations.LENGTHS]


def test_marked_words_are_in_their_message():
    for case in CASES:
        words = re.findall(r"\S+", re.sub(r"[.,?!:](?=\s|$)", "", case.text.casefold()))
        assert not set(case.words.split()) - set(words)
    assert sum(case.label == "spam" for case in CASES) == len(CASES) / 2
