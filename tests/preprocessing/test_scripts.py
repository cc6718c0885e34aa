"""Each letter counts for the script that the network sees it in."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.preprocessing import scripts
from pipeline.preprocessing.scripts import letters_by_script, script_of

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=9)


@pytest.mark.parametrize(
    ("characters", "script"),
    [
        ("aÉｗ𝐖ª", "latin"),
        ("жа", "cyrillic"),
        ("λ", "greek"),
        ("你", "cjk"),
        ("ひ", "hiragana"),
        ("1 £😀\u0301\u200b", None),
    ],
)
def test_script_of_a_character(characters, script):
    assert {script_of(character) for character in characters} == {script}


def test_letters_are_counted_by_script():
    names, letters = letters_by_script(["ab ж 1", "", "你好a", "123"])
    assert names == ["cjk", "cyrillic", "latin"]
    assert letters.tolist() == [[0, 1, 2], [0, 0, 0], [2, 0, 1], [0, 0, 0]]
    assert letters_by_script(["12", ""])[1].shape == (2, 0)
    assert letters_by_script([])[1].shape == (0, 0)


@given(TEXTS, st.integers(1, 10))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_every_letter_is_counted_once(texts, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scripts, "TEXTS_AT_ONCE", chunk)
        names, letters = letters_by_script(texts)
    for text, counts in zip(texts, letters.tolist(), strict=True):
        of_text = [script_of(character) for character in text]
        assert counts == [of_text.count(name) for name in names]
