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
        ("4pm I am 4 u gr8 0800 W1234X", "4pm I am 4 u gr8 0800 W1234X"),
    ],
)
def test_canonicalise_undoes_disguises(written, canonical):
    assert canonicalise(written) == canonical


@given(TEXTS)
@settings(derandomize=True, deadline=None, max_examples=50)
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
