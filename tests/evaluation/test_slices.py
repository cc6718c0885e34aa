"""Each slice holds the messages that its name promises."""

import sys
from unicodedata import category

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.slices import CURRENCY_SIGN, LEAST_ROWS, SLICES, slice_masks

INSIDE = {
    "short": ["ok", "", "x" * 39],
    "medium": ["x" * 40, "x" * 120],
    "long": ["x" * 121],
    "has_link": ["http://a.b/c", "WWW.x.com now", "log in at icicibank.com", "at ringtones.co.uk"],
    "has_phone_number": ["now.87121", "08452over18's", "0800 542-0578", "+44 (0)20 7946 0018"],
    "has_currency_sign": ["a £1500 prize", "$5", "€9", "¥", "₹20", "＄", "&pound;500", "&#163;5"],
    "non_ascii": ["£5", "naïve", "ok \N{THUMBS UP SIGN}", "\u200b"],
    "no_letters": ["", ":)", "12 34!", "?_?"],
}
OUTSIDE = {
    "short": ["x" * 40],
    "medium": ["x" * 39, "x" * 121],
    "long": ["x" * 120],
    "has_link": ["ok.come over", "mail joe@mail.example.com", "a.b.c", "www", "the http thing"],
    "has_phone_number": ["pin 4041", "won £50000", "pi is 3.14159265", "rooms 12 34 56 78 90"],
    "has_currency_sign": ["150p a minute", "3GBP", "100 pounds", "&poundage", "a & b", "#163"],
    "non_ascii": ["plain ~ text\t\n", ""],
    "no_letters": ["a1", "é", "\N{CYRILLIC SMALL LETTER A}", "你"],
}


@pytest.mark.parametrize("name", INSIDE)
def test_slice_holds_what_its_name_promises(name):
    texts = INSIDE[name] + OUTSIDE[name]
    selected = SLICES[name](pd.Series(texts))
    assert [text for text, inside in zip(texts, selected, strict=True) if inside] == INSIDE[name]


def test_currency_signs_are_those_of_unicode():
    matched = set(CURRENCY_SIGN.findall("".join(map(chr, range(sys.maxunicode + 1)))))
    signs = {sign for sign in map(chr, range(sys.maxunicode + 1)) if category(sign) == "Sc"}
    assert len(signs) > 60
    assert signs <= matched
    assert {category(character) for character in matched - signs} <= {"Cn"}  # not yet assigned


def test_each_source_is_a_slice_after_the_named_ones():
    texts, sources = ["ok", "see www.x.com", "hm"], ["sms", "inbox/2026-11.csv", "sms"]
    messages = pd.DataFrame(
        {"text": texts, "source": sources, "language": None, "kind": None}, index=[7, 5, 7]
    )
    masks = {name: mask.tolist() for name, mask in slice_masks(messages)}
    assert list(masks) == [*SLICES, "source_inbox", "source_sms"]
    assert masks["source_sms"] == [True, False, True]
    assert masks["has_link"] == [False, True, False]
    assert masks["long"] == [False, False, False]


def test_groups_of_enough_rows_are_slices():
    rows = LEAST_ROWS
    messages = pd.DataFrame(
        {
            "text": ["скидка ok"] * rows + ["a"] * (rows - 1) + ["7"] * rows,
            "source": "files/a.csv",
            "language": ["ru"] * rows + [None] * (2 * rows - 1),
            "kind": ["toll"] * (rows - 1) + ["chat"] * (2 * rows),
        }
    )
    masks = {name: mask for name, mask in slice_masks(messages) if name not in SLICES}
    assert list(masks) == ["source_files", "language_ru", "script_cyrillic", "kind_chat"]
    assert np.flatnonzero(masks["script_cyrillic"]).tolist() == list(range(rows))
    assert masks["kind_chat"].sum() == 2 * rows
