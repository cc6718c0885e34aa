"""Canonical, folded and masked forms of a text."""

import re
import unicodedata

from confusable_homoglyphs.confusables import confusables_data

# Invisible characters, first and last: tags, joiners, direction marks and variation selectors.
INVISIBLE_RANGES = [
    (0xAD, 0xAD),
    (0x34F, 0x34F),
    (0x61C, 0x61C),
    (0x180E, 0x180E),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xE0000, 0xE01EF),
]


def _is_confusable(character: str) -> bool:
    """Whether a character needs an entry in CONFUSABLES: alone, not ASCII, unchanged by NFKC."""
    return (
        len(character) == 1
        and not character.isascii()
        and unicodedata.is_normalized("NFKC", character)
        and not unicodedata.combining(character)
        and unicodedata.category(character) != "Mc"  # combines with another character
    )


# Letters and digits of other scripts, and the ASCII character that each looks like.
# Source: Unicode Technical Standard 39, confusables.txt.
CONFUSABLES = {
    entry["c"]: plain
    for plain, entries in confusables_data.items()
    if len(plain) == 1 and plain.isascii() and plain.isalnum()
    for entry in entries
    if _is_confusable(entry["c"])
}
CHARACTER_MAP = {
    chr(code): "" for first, last in INVISIBLE_RANGES for code in range(first, last + 1)
} | CONFUSABLES
_TRANSLATION = str.maketrans(CHARACTER_MAP)

# Disguises of words, and their replacement. Python and the tokenizer's Rust engine both run these.
# A separator between single letters: f r e e, f-r-e-e.
_SEPARATOR = r"(?:(?<=\A[A-Za-z])|(?<=[ .\-_*][A-Za-z]))[ .\-_*](?=[A-Za-z](?![A-Za-z0-9']))"
# One or two digits within a word: fr33, b00k. `%` stands for the digit.
_DIGIT = r"(?<=[A-Za-z])%(?=[0-9]?[A-Za-z])|(?<=[A-Za-z][0-9])%(?=[A-Za-z])"
_DIGIT_LETTERS = {
    "0": "o",
    "1": "i",
    "3": "e",
    "4": "a",
    "5": "s",
    "7": "t",
    "8": "b",
    "9": "g",
}
DISGUISE_PATTERNS = {_SEPARATOR: ""} | {
    _DIGIT.replace("%", digit): letter for digit, letter in _DIGIT_LETTERS.items()
}
_DISGUISES = [(re.compile(pattern), plain) for pattern, plain in DISGUISE_PATTERNS.items()]

_LINK = re.compile(r"(?:https?://|www\.)\S+")
_DIGITS = re.compile(r"\d+")


def canonicalise(text: str) -> str:
    """The text in Unicode form NFKC, without invisible characters, look-alikes and disguises.

    The tokenizer's normaliser does the same, except that it also removes a combining mark that
    follows a look-alike.
    """
    text = unicodedata.normalize("NFKC", text.translate(_TRANSLATION))
    for pattern, plain in _DISGUISES:
        text = pattern.sub(plain, text)
    return text


def fold(text: str) -> str:
    """The case-folded text, with one space for each run of white space and none at the ends."""
    return " ".join(text.casefold().split())


def mask(text: str) -> str:
    """The canonical, folded text with `0` for each run of digits and `@` for each link.

    Texts that differ only in numbers, links, case or white space have the same mask.
    """
    return fold(_DIGITS.sub("0", _LINK.sub("@", canonicalise(text).casefold())))
