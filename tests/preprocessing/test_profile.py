"""A profile counts what its names say, and reports no term that could identify a message."""

import math

import pandas as pd
import pytest

from pipeline.preprocessing.profile import (
    describe_sets,
    log_odds,
    profile_figures,
    profile_tables,
)

TRAIN = {
    "Win a prize, win a PRIZE now": "spam",
    "Call 08001 now": "spam",
    "see you at home": "ham",
    "I'll call you": "ham",
    "home": "ham",
}
VAL = {"a new prize at home": "spam", "привет home": "ham", "123 !": "ham"}
TOKENS = {"train": [8, 5, 4, 4, 1]}
FIGURES = {
    "rows": (5, 3),
    "spam_share": (2 / 5, 1 / 3),
    "length.p5": (5.8, 5.6),
    "length.median": (14, 11),
    "length.p95": (25.4, 18.2),
    "tokens.p5": (1.6,),
    "tokens.median": (4,),
    "tokens.p95": (7.4,),
    # Of the words of each message: win a prize; see at; I'll. Then: new; привет.
    "unknown_words": ((3 / 4 + 2 / 4 + 1 / 3) / 5, (1 / 5 + 1 / 2) / 3),
    "script.cyrillic": (0, 0.24),
    "script.latin": (1, 0.76),
}
COLUMNS = ["text", "label"]


def described(**sets):
    tables = {name: pd.DataFrame(rows, columns=COLUMNS, dtype="str") for name, rows in sets.items()}
    return describe_sets(tables)


SETS = described(train=TRAIN.items(), val=VAL.items())


def values_of(sets, token_counts=None):
    return {name: figure.value for name, figure in profile_figures(sets, token_counts).items()}


def test_log_odds_of_words_that_are_not_rare_by_hand():
    spam = [("prize now rare", "spam")] * 9 + [("now", "spam")] * 3
    sets = described(a=[*spam, ("prize", "ham"), *[("now", "ham")] * 7])
    prize = math.log(9.5 / 3.5) - math.log(1.5 / 7.5)
    now = math.log(12.5 / 0.5) - math.log(7.5 / 1.5)
    assert prize > now
    assert log_odds(sets.words, ~sets.spam, sets.spam) == [
        ("prize", pytest.approx(prize), 9, 1),  # 10 messages are enough
        ("now", pytest.approx(now), 12, 7),
    ]


def test_terms_are_the_twenty_strongest_of_the_first_set():
    words = ["".join(chr(97 + int(digit)) for digit in str(i)) + "x" for i in range(100, 125)]
    spam = [(word, "spam") for i, word in enumerate(words) for _ in range(10 + i)]
    sets = described(a=[*spam, *[("ham", "ham")] * 30], b=[("other", "spam")] * 50)
    tables = profile_tables(sets, {})
    assert [row[0] for row in tables["terms_spam"][1]] == words[:4:-1]
    assert [row[0] for row in tables["terms_ham"][1]] == ["ham"]


def test_figures_describe_each_set():
    expected = {
        f"{name}.{figure}": value
        for figure, values in FIGURES.items()
        for name, value in zip(("train", "val"), values, strict=False)
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
