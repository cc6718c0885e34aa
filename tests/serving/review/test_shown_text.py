"""Texts are shown for what they are, and private parts are masked."""

import pytest

from pipeline.serving.review.shown_text import (
    SNIPPET_CHARACTERS,
    mask_private,
    mask_word,
    snippet,
    visible_text,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\x00c\x1b[31m", "a⟦U+0009⟧b⟦U+0000⟧c⟦U+001B⟧[31m"),
        ("user\u202egnp.exe", "user⟦U+202E⟧gnp.exe"),
        ("fr\u200dee \u200bnow\u2028", "fr⟦U+200D⟧ee ⟦U+200B⟧now⟦U+2028⟧"),
        ("<script>alert(1)</script>\n&amp;", "<script>alert(1)</script>\n&amp;"),
        ("می\u200cخواهم 👩\u200d👧 q\u00a0r", "می\u200cخواهم 👩\u200d👧 q\u00a0r"),
    ],
)
def test_what_cannot_be_seen_is_named(text, shown):
    assert visible_text(text) == shown


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("call 0800 123-4567 now", "call ⟦number⟧ now"),
        ("+44 (0)20 7946 0958.", "⟦number⟧."),
        ("4111 1111 1111 1111", "⟦number⟧"),
        ("اتصل ٠٨٠٠١٢٣٤٥٦", "اتصل ⟦number⟧"),
        ("ana.b+c@mail.example.org!", "⟦e-mail⟧!"),
        ("https://x.example/a?user=ana ok", "https://x.example/⟦path⟧ ok"),
        ("see bit.ly/Ab3", "see bit.ly/⟦path⟧"),
        ("text CLAIM to 87121, 3.50/min, 10/12, 1,000,000", None),
    ],
)
def test_private_parts_are_masked(text, masked):
    assert mask_private(text) == (masked or text)


def test_digits_of_a_word_are_masked():
    assert mask_word(" 0800") == " ••••"


def test_long_text_of_one_kind_is_masked_whole():
    for character in ("1", "a", "a@", "a.", "http://"):
        assert mask_private(character * 200_000) is not None
    assert mask_private("1" * 1_000_000) == "⟦number⟧"


def test_snippet_is_the_masked_start_on_one_line():
    assert snippet("call\n0800 1234567") == "call ⟦number⟧"
    assert len(snippet("word " * 1000)) == SNIPPET_CHARACTERS + 1
    assert snippet(None) == "(no text)"
