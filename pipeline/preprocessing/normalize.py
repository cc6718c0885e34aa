"""Canonical, folded and masked forms of a text."""

import re
import unicodedata

from confusable_homoglyphs.confusables import confusables_data

# Of tags, joiners, marks of direction and selectors: characters that nobody sees, first and last.
INVISIBLE = [
    *(
        (0xAD, 0xAD),
        (0x34F, 0x34F),
        (0x61C, 0x61C),
        (0x180E, 0x180E),
        (0x200B, 0x200F),
        (0x202A, 0x202E),
    ),
    *((0x2060, 0x206F), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xE0000, 0xE01EF)),
]
# Letters and digits of other scripts, and the ASCII ones that they look like, where NFKC leaves them alone.
# Source: Unicode Technical Standard 39, confusables.txt.
CONFUSABLES = {
    found["c"]: plain
    for plain, alike in confusables_data.items()
    if len(plain) == 1 and plain.isascii() and plain.isalnum()
    for found in alike
    if len(found["c"]) == 1
    and not found["c"].isascii()
    and unicodedata.is_normalized("NFKC", found["c"])
    if not unicodedata.combining(found["c"])
    and unicodedata.category(found["c"]) != "Mc"  # goes with another
}
CHARACTERS = {
    chr(code): "" for first, last in INVISIBLE for code in range(first, last + 1)
} | CONFUSABLES
_CHARACTERS = str.maketrans(CHARACTERS)
# What stands between the letters of a word, or in place of them, and what a reader reads; both Python and
# the tokenizer's own engine take these patterns.
_LONE = r"(?:(?<=\A[A-Za-z])|(?<=[ .\-_*][A-Za-z]))[ .\-_*](?=[A-Za-z](?![A-Za-z0-9']))"  # f r e e, f-r-e-e
_DIGIT = (
    r"(?<=[A-Za-z])%(?=[0-9]?[A-Za-z])|(?<=[A-Za-z][0-9])%(?=[A-Za-z])"  # fr33, b00k: one or two
)
_LETTERS = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g"}
DISGUISES = {_LONE: ""} | {_DIGIT.replace("%", digit): letter for digit, letter in _LETTERS.items()}
_DISGUISES = [(re.compile(pattern), plain) for pattern, plain in DISGUISES.items()]
_LINK = re.compile(r"(?:https?://|www\.)\S+")
_DIGITS = re.compile(r"\d+")


def canonicalise(text: str) -> str:
    """The text as it is read: no invisible characters, look-alikes as ASCII, NFKC, words without disguise.

    The tokenizer's normaliser does the same, but that a mark which combines with a look-alike goes with it.
    """
    text = unicodedata.normalize("NFKC", text.translate(_CHARACTERS))
    for pattern, plain in _DISGUISES:
        text = pattern.sub(plain, text)
    return text


def fold(text: str) -> str:
    """The text as far as a reader tells two apart: case and white space folded."""
    return " ".join(text.casefold().split())


def mask(text: str) -> str:
    """The text without what a campaign varies: digits, links, case, spacing, invisible characters."""
    return fold(_DIGITS.sub("0", _LINK.sub("@", canonicalise(text).casefold())))
