"""Counts the letters of each script in each text."""

import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

LetterCounts = NDArray[np.int64]  # (n, scripts), letters of each script in each text
TEXTS_AT_ONCE = 10_000


@cache
def script_of(character: str) -> str | None:
    """The script of a letter, such as `latin`, `cyrillic` or `cjk`; None if it is no letter.

    It is the first word of the Unicode name of the character's NFKC form.
    """
    canonical = unicodedata.normalize("NFKC", character)[:1]
    if not canonical.isalpha():
        return None
    return unicodedata.name(canonical, "").partition(" ")[0].lower() or None


def letters_by_script(texts: Sequence[str]) -> tuple[list[str], LetterCounts]:
    """The sorted names of the scripts in n texts, and (n, scripts): letters of each script."""
    characters = set[str]().union(*texts)
    script_of_character = {character: script_of(character) for character in characters}
    scripts = sorted({script for script in script_of_character.values() if script})
    no_letter = len(scripts)  # an extra column
    column = np.full(max(map(ord, characters), default=0) + 1, no_letter, np.int64)
    for character, script in script_of_character.items():
        if script:
            column[ord(character)] = scripts.index(script)
    counts = [np.zeros((0, len(scripts)), np.int64)]
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        chunk = texts[start : start + TEXTS_AT_ONCE]
        counts.append(_count_columns(chunk, column, len(scripts)))
    return scripts, np.concatenate(counts)


def _count_columns(texts: Sequence[str], column: NDArray[np.int64], scripts: int) -> LetterCounts:
    """(n, scripts): how often each text has a character of each column."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    row = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    width = scripts + 1
    counts = np.bincount(row * width + column[codes], minlength=len(texts) * width)
    return counts.reshape(len(texts), width)[:, :scripts]
