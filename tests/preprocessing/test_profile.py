"""A profile counts what its names say, and reports no term that could identify a message."""

import math
import subprocess
import sys

import pandas as pd
import pytest

from pipeline.preprocessing.profile import (
    describe_sets,
    log_odds,
    profile_figures,
    profile_tables,
    unknown_word_shares,
    words_of,
)
from tests.harness.small_project import ROOT

TRAIN = {
    "Win a prize, win a PRIZE now": "spam",
    "Call 08001 now": "spam",
    "see you at home": "ham",
    "I'll call you": "ham",
    "home": "ham",
}
VAL = {"a new prize at home": "spam", "привет home": "ham", "123 !": "ham"}
TOKENS = {"train": [8, 5, 4, 4, 1]}
FIGURES = """
                train     val
rows            5         3
spam_share      0.4       0.333333
length.p5       5.8       5.6
length.median   14        11
length.p95      25.4      18.2
tokens.p5       1.6
tokens.median   4
tokens.p95      7.4
unknown_words   0.316667  0.233333
script.cyrillic 0         0.24
script.latin    1         0.76
"""


def described(**sets):
    columns = ["text", "label"]
    tables = {
        name: pd.DataFrame(rows, columns=columns).astype("str") for name, rows in sets.items()
    }
    return describe_sets(tables)


SETS = described(train=TRAIN.items(), val=VAL.items())


def values_of(sets, token_counts=None):
    return {name: figure.value for name, figure in profile_figures(sets, token_counts).items()}


# ---- words


def test_words_are_the_distinct_runs_of_letters():
    texts = ["Win WIN w123n £100", "don't", "see http://a.example/b", "42 :)", "ＷＩＮ"]
    words = words_of(texts)
    by_message = [[words.vocabulary[w] for w in words.word[words.message == i]] for i in range(5)]
    assert by_message == [["win", "w", "n"], ["don't"], ["see"], [], ["win"]]
    assert len(set(words.vocabulary)) == len(words.vocabulary)


def test_a_word_is_unknown_if_no_other_reference_has_it():
    shares = unknown_word_shares(SETS.words, SETS.rows("train"))
    train = [3 / 4, 0, 2 / 4, 1 / 3, 0]  # win a prize; none; see at; i'll
    val = [1 / 5, 1 / 2, 0]  # new; привет; no words
    assert shares.tolist() == pytest.approx(train + val)


def test_log_odds_by_hand():
    spam = [("prize now", "spam")] * 9 + [("now", "spam")] * 3
    sets = described(a=[*spam, ("prize", "ham"), *[("now", "ham")] * 7])
    prize = math.log(9.5 / 3.5) - math.log(1.5 / 7.5)
    now = math.log(12.5 / 0.5) - math.log(7.5 / 1.5)
    assert prize > now
    assert log_odds(sets.words, ~sets.spam, sets.spam) == [
        ("prize", pytest.approx(prize), 9, 1),
        ("now", pytest.approx(now), 12, 7),
    ]


def test_a_rare_term_is_not_reported():
    rows = [("secret", "spam")] * 9 + [("prize", "spam")] * 10 + [("home", "ham")] * 10
    tables = profile_tables(described(a=rows), {})
    terms = [tables[name][1] for name in ("terms_spam", "terms_ham")]
    counts = [[(term, spam, ham) for term, _, spam, ham in rows] for rows in terms]
    assert counts == [[("prize", 10, 0)], [("home", 0, 10)]]


def test_terms_are_the_twenty_strongest_of_the_first_set():
    words = ["".join(chr(97 + int(digit)) for digit in str(i)) + "x" for i in range(100, 125)]
    spam = [(word, "spam") for i, word in enumerate(words) for _ in range(10 + i)]
    sets = described(a=[*spam, *[("ham", "ham")] * 30], b=[("other", "spam")] * 50)
    tables = profile_tables(sets, {})
    assert [row[0] for row in tables["terms_spam"][1]] == words[:4:-1]
    assert [row[0] for row in tables["terms_ham"][1]] == ["ham"]


# ---- figures and tables


def test_figures_describe_each_set():
    names, *rows = [line.split() for line in FIGURES.strip().splitlines()]
    expected = {
        f"{name}.{figure}": float(value)
        for figure, *values in rows
        for name, value in zip(names, values, strict=False)
    }
    assert values_of(SETS, TOKENS) == pytest.approx(expected, rel=1e-5)


def test_undefined_figures_are_null():
    rows = [("a", "spam"), (None, None), ("c", "junk"), ("defg", "ham")]
    values = values_of(described(a=rows, b=[]), {"b": []})
    assert (values["a.spam_share"], values["a.length.p5"]) == (0.5, pytest.approx(0.15))
    assert (values["b.rows"], values["b.script.latin"]) == (0, 0)
    undefined = ("spam_share", "length.median", "tokens.median", "unknown_words")
    assert {values[f"b.{name}"] for name in undefined} == {None}


def test_tables_hold_lengths_and_scripts_of_each_set():
    tables = profile_tables(SETS, TOKENS)
    columns, lengths = tables["lengths_train"]
    assert columns == ["percentile", "characters", "tokens"]
    assert [row[0] for row in lengths] == [*range(0, 101, 5)]
    assert (lengths[0], lengths[20]) == ((0, 4, 1), (100, 28, 8))
    assert tables["lengths_val"][1][-1] == (100, 19, None)
    assert tables["scripts_train"] == (["script", "share"], [("cyrillic", 0), ("latin", 1)])
    assert tables["terms_spam"] == (["term", "log_odds", "spam", "ham"], [])


@pytest.mark.slow
def test_vectorize_imports_no_heavy_library():
    """In a fresh interpreter, as other tests have imported them here."""
    heavy = "{'sklearn', 'keras', 'tensorflow', 'mlflow', 'great_expectations'}"
    code = f"import sys, pipeline.vectorize; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("set()\n", "")
