"""Each letter counts for the script that the network sees it in."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.preprocessing import scripts
from pipeline.preprocessing.scripts import letters_by_script, script_of

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=9)
SCRIPTS = {"aÉｗ𝐖ª": "latin", "жа": "cyrillic", "λ": "greek", "你": "cjk", "1 £😀\u0301": None}


def test_script_of_a_character():
    for characters, script in SCRIPTS.items():
        assert {script_of(character) for character in characters} == {script}


@given(TEXTS, st.integers(1, 10))
@settings(derandomize=True, max_examples=30)
def test_every_letter_is_counted_once(texts, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scripts, "TEXTS_AT_ONCE", chunk)
        names, letters = letters_by_script(texts)
    assert names == sorted({script_of(character) for character in "".join(texts)} - {None})
    assert letters.shape == (len(texts), len(names))
    for text, counts in zip(texts, letters.tolist(), strict=True):
        of_text = [script_of(character) for character in text]
        assert counts == [of_text.count(name) for name in names]
