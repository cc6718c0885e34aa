"""A profile counts what its names say, and names no term that could give a message away."""

import json
import math
import subprocess
import sys
import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.reports import write_report
from pipeline.core.tables import read_csv, write_csv
from pipeline.preprocessing import near_duplicates, profile

TRAIN = [
    ("Win a prize, win a PRIZE now", "spam"),
    ("Call 08001 now", "spam"),
    ("see you at home", "ham"),
    ("I'll call you", "ham"),
    ("home", "ham"),
]
VAL = [("a new prize at home", "spam"), ("привет home", "ham"), ("123 !", "ham")]
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=9)


def messages(rows):
    return pd.DataFrame(rows, columns=["text", "label"]).astype("str")


def described(**sets):
    return profile.describe({name: messages(rows) for name, rows in sets.items()})


FOUND = described(train=TRAIN, val=VAL)


def mask(*rows, n):
    held = np.zeros(n, np.bool_)
    held[list(rows)] = True
    return held


# ---- words


def test_words_are_runs_of_letters_of_the_masked_text_each_once_a_message():
    found = profile.words_of(
        ["Win WIN w123n £100", "don't", "see http://a.example/b", "42 :)", "ＷＩＮ"]
    )
    by_message = [[found.vocabulary[w] for w in found.word[found.message == i]] for i in range(5)]
    assert by_message == [["win", "w", "n"], ["don't"], ["see"], [], ["win"]]
    assert len(set(found.vocabulary)) == len(found.vocabulary)


def test_messages_with_a_word_are_counted_among_those_asked_for():
    held = FOUND.words.messages_with(FOUND.rows("train"))
    by_word = dict(zip(FOUND.words.vocabulary, held.tolist(), strict=True))
    assert {word: by_word[word] for word in ("win", "now", "home", "you", "new")} == {
        "win": 1,
        "now": 2,
        "home": 2,
        "you": 2,
        "new": 0,
    }


def test_a_word_is_unknown_that_no_other_message_of_the_reference_holds():
    shares = profile.unknown_share(FOUND.words, FOUND.rows("train"))
    train = [3 / 4, 0, 2 / 4, 1 / 3, 0]  # win a prize; none; see at; i'll
    val = [1 / 5, 1 / 2, 0]  # new; привет; without words
    assert shares.tolist() == pytest.approx(train + val)


def test_a_message_is_asked_the_same_in_the_reference_and_outside_of_it():
    rows = [
        (f"{one} {two}", "ham")
        for one in ("red", "blue", "green")
        for two in ("car", "bus", "tram")
    ]
    inside = described(a=rows)
    outside = described(a=rows[:4] + rows[5:], b=[rows[4]])
    assert profile.unknown_share(inside.words, inside.rows("a"))[4] == 0
    assert profile.unknown_share(outside.words, outside.rows("a"))[-1] == 0


def test_log_odds_are_those_of_a_word_in_spam_against_ham():
    rows = (
        [("prize now", "spam")] * 9
        + [("now", "spam")] * 3
        + [("prize", "ham")]
        + [("now", "ham")] * 7
    )
    found = described(a=rows)
    ranked = profile.log_odds(found.words, ~found.spam, found.spam)
    prize = math.log(9.5 / 3.5) - math.log(1.5 / 7.5)
    now = math.log(12.5 / 0.5) - math.log(7.5 / 1.5)
    assert ranked == [("prize", pytest.approx(prize), 9, 1), ("now", pytest.approx(now), 12, 7)]
    assert prize > now


def test_no_term_is_named_that_few_messages_hold():
    rows = [("secret", "spam")] * 9 + [("prize", "spam")] * 10 + [("home", "ham")] * 10
    terms = profile.tables(described(a=rows))["terms"][1]
    assert [(label, term, spam, ham) for label, term, _, spam, ham in terms] == [
        ("spam", "prize", 10, 0),
        ("ham", "home", 0, 10),
    ]


def test_terms_are_those_of_the_first_set_at_most_twenty_a_class_the_strongest_first():
    words = ["".join(chr(97 + int(digit)) for digit in str(i)) + "x" for i in range(100, 125)]
    rows = [(word, "spam") for i, word in enumerate(words) for _ in range(10 + i)] + [
        ("ham", "ham")
    ] * 30
    terms = profile.tables(described(a=rows, b=[("other", "spam")] * 50))["terms"][1]
    assert [term for label, term, *_ in terms if label == "spam"] == words[:4:-1]
    assert [term for label, term, *_ in terms if label == "ham"] == ["ham"]
    odds = [row[2] for row in terms if row[0] == "spam"]
    assert odds == sorted(odds, reverse=True)


# ---- scripts


@pytest.mark.parametrize(
    ("character", "script"),
    [
        *[("a", "latin"), ("É", "latin"), ("ｗ", "latin"), ("𝐖", "latin"), ("ª", "latin")],
        *[("ж", "cyrillic"), ("а", "cyrillic"), ("λ", "greek"), ("你", "cjk"), ("ひ", "hiragana")],
        *[("1", None), (" ", None), ("£", None), ("😀", None), ("\u0301", None), ("\u200b", None)],
    ],
)
def test_script_is_that_of_the_letter_that_the_network_sees(character, script):
    assert profile.script_of(character) == script


def test_letters_of_each_text_are_counted_by_script():
    scripts, letters = profile.letters_of(["ab ж 1", "", "你好a", "123"])
    assert scripts == ["cjk", "cyrillic", "latin"]
    assert letters.tolist() == [[0, 1, 2], [0, 0, 0], [2, 0, 1], [0, 0, 0]]
    assert profile.letters_of(["12", ""])[1].shape == (2, 0)
    assert profile.letters_of([])[1].shape == (0, 0)


@given(TEXTS)
@settings(derandomize=True, deadline=None)
def test_every_letter_is_counted_once(texts):
    scripts, letters = profile.letters_of(texts)
    for one, counts in zip(texts, letters.tolist(), strict=True):
        of_text = [profile.script_of(character) for character in one]
        assert counts == [of_text.count(script) for script in scripts]


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_letters_do_not_depend_on_the_chunks(monkeypatch, chunk):
    texts = [
        unicodedata.lookup(name) * 2 for name in ("GREEK SMALL LETTER PI", "DIGIT ONE")
    ] * 3 + [
        "abc",
        "",
    ]
    whole = profile.letters_of(texts)[1].tolist()
    monkeypatch.setattr(near_duplicates, "CHUNK", chunk)
    assert profile.letters_of(texts)[1].tolist() == whole


# ---- figures and tables


def test_figures_are_those_of_each_set():
    found = profile.figures(FOUND, {"train": [8, 5, 4, 4, 1]})
    values = {name: figure.value for name, figure in found.items()}
    letters = sum(len(letter) for one, _ in VAL for letter in one if letter.isalpha())
    assert values == {
        "train.rows": 5,
        "train.spam_share": pytest.approx(0.4),
        "train.length.p5": pytest.approx(5.8),
        "train.length.median": 14,
        "train.length.p95": pytest.approx(25.4),
        "train.tokens.p5": pytest.approx(1.6),
        "train.tokens.median": 4,
        "train.tokens.p95": pytest.approx(7.4),
        "train.unknown_words": pytest.approx((3 / 4 + 2 / 4 + 1 / 3) / 5),
        "train.script.cyrillic": 0,
        "train.script.latin": 1,
        "val.rows": 3,
        "val.spam_share": pytest.approx(1 / 3),
        "val.length.p5": pytest.approx(5.6),
        "val.length.median": 11,
        "val.length.p95": pytest.approx(18.2),
        "val.unknown_words": pytest.approx(0.7 / 3),
        "val.script.cyrillic": pytest.approx(6 / letters),
        "val.script.latin": pytest.approx(1 - 6 / letters),
    }


def test_what_has_no_label_counts_for_no_spam_share():
    values = profile.figures(
        described(a=[("a", "spam"), ("b", None), ("c", "junk"), ("d", "ham")], b=[("e", None)])
    )
    assert (values["a.spam_share"].value, values["b.spam_share"].value) == (0.5, None)


def test_a_null_is_the_empty_text_and_an_empty_set_has_no_figures_but_its_rows():
    found = described(a=[(None, "ham"), ("abc", "spam")], b=[])
    values = {name: figure.value for name, figure in profile.figures(found, {"b": []}).items()}
    assert values["a.length.p5"] == pytest.approx(0.15)
    assert values["b.rows"] == 0
    assert values["b.script.latin"] == 0
    for name in ("spam_share", "length.median", "tokens.median", "unknown_words"):
        assert values[f"b.{name}"] is None


def test_tables_hold_lengths_scripts_and_terms_of_each_set():
    tables = profile.tables(FOUND, {"train": [8, 5, 4, 4, 1]})
    columns, lengths = tables["lengths"]
    assert columns == ("split", "percentile", "characters", "tokens")
    assert [row[1] for row in lengths] == [*range(0, 101, 5)] * 2
    assert lengths[0] == ("train", 0, 4, 1)
    assert lengths[20] == ("train", 100, 28, 8)
    assert lengths[-1] == ("val", 100, 19, None)
    assert tables["scripts"][0] == ("split", "script", "share")
    assert [row[:2] for row in tables["scripts"][1]] == [
        (name, script) for name in ("train", "val") for script in ("cyrillic", "latin")
    ]
    assert tables["terms"] == (("label", "term", "log_odds", "spam", "ham"), [])


def test_figures_and_tables_can_be_written_as_any_report(tmp_path):
    write_report(tmp_path / "profile.json", 8, profile.figures(FOUND), "8 messages")
    assert len(json.loads((tmp_path / "profile.json").read_text())["figures"]) == 16
    for name, (columns, rows) in profile.tables(FOUND).items():
        write_csv(tmp_path / f"{name}.csv", columns, rows)
        assert list(read_csv(tmp_path / f"{name}.csv")) == list(columns)


def test_the_order_of_messages_changes_no_figure_and_no_term():
    rows = [(f"win {word} now", "spam") for word in ("cash", "prize") for _ in range(11)] + [
        ("home", "ham")
    ] * 12
    one, other = described(a=rows), described(a=rows[::-1])
    assert profile.figures(one) == profile.figures(other)
    assert profile.tables(one) == profile.tables(other)


def test_a_profile_loads_no_heavy_library():
    """vectorize uses it; in a fresh interpreter, as others may have loaded them here."""
    code = "import sys, pipeline.profile; print({'sklearn', 'keras', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
