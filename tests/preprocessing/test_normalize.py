"""What a reader does not see, and what a campaign varies, changes no canonical or masked text."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.preprocessing.normalize import canonicalise, fold, mask

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("ＷＩＮ ①", "WIN 1"),
        ("fr\u200be\u2060e\u00ad", "free"),
        ("e\u200b\u0301", "é"),
        ("Kept As It IS\n", "Kept As It IS\n"),
        ("frее рrіzе", "free prize"),  # Cyrillic е, р and і
        ("ＷΟΝ", "WON"),  # fullwidth, and Greek capitals
        ("f r e e, p-r-i-z-e, w.o.n now", "free, prize, won now"),
        ("pr1ze b00ks fr33 v1@gra", "prize books fr33 v1@gra"),
        ("Y\u0336o\u0336u\u0336r\u0336 \u03363\u03366\u0336p\u0336", "Your 36p"),
        ("p\u0315\u0321\u034er\u0489i\u20d2\u1dffz\ufe20e\u1ab0", "prize"),
        ("е\u0336", "e"),  # Cyrillic
        ("f\u3164r\x02e\U000e0065\u180be", "free"),
        ("🅕🅡🅔🅔⠀🅽🅾🆆", "FREE NOW"),
        ("&#89;&#x6F;&#117r &pound;36 &lt;#&gt;&nbsp;&#8203;R&D", "Your £36 R&D"),
        ("win <#> <#>, <DECIMAL>m &lt;&lt;#&gt;#&gt; <b>", "win , m < #> <b>"),
        (f"&#{'9' * 5000};&amp;#{'9' * 5000}", "\ufffd\ufffd"),
        ("&amp;#72;i &amp;amp;lt; AT&T fish & chips", "Hi < AT&T fish & chips"),
        ("&#119;&#111;&#1085; w&zwnj;o&shy;n", "woн won"),
        ("4pm I am 4 u gr8 0800 W1234X", "4pm I am 4 u gr8 0800 W1234X"),
    ],
)
def test_canonicalise_undoes_disguises(written, canonical):
    assert canonicalise(written) == canonical


@pytest.mark.parametrize(
    "text",
    ["é ñ ü", "Việt Nam", "हिन्दी में", "مُحَمَّد", "ที่นี่", "שָׁלוֹם", "が", "한국", "й", "≠"],
)
def test_marks_of_languages_stay(text):
    assert canonicalise(unicodedata.normalize("NFD", text)) == text


def test_marks_of_emoji_stay():
    assert canonicalise("1\ufe0f\u20e3 👩\u200d🚀") == "1\u20e3 👩🚀"


@given(TEXTS)
@settings(derandomize=True, max_examples=50)
def test_canonicalise_and_fold_are_idempotent(written):
    canonical = canonicalise(written)
    assert canonicalise(canonical) == canonical
    assert unicodedata.is_normalized("NFKC", canonical)
    assert fold(fold(written)) == fold(written)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("WIN £1,000 now", "win £0,0 now"),
        ("see https://a.example/x?y=1 or ＷWW.b.example!", "see @ or @"),
        (" Straße\t 0800\u200b123\n456", "strasse 0 0"),
    ],
)
def test_mask_hides_digits_links_case_and_spacing(text, masked):
    assert mask(text) == masked
