"""Canonical, folded and masked forms of a text."""

import html
import re
import string
import unicodedata

from confusable_homoglyphs.confusables import confusables_data

ENTITY_LEVELS = 3  # HTML is escaped by a sender, by a form and by an export, and no deeper
HUGE_ENTITY = r"&#\d{500,};?"  # html.unescape raises an error for some of them

# Characters that a reader does not see, first and last: controls other than white space and U+0000,
# which the tokenizer's trie cannot hold, fillers, joiners, direction marks, variants and tags.
INVISIBLE_RANGES = [
    (0x01, 0x08),
    (0x0E, 0x1F),
    (0x7F, 0x84),
    (0x86, 0x9F),
    (0xAD, 0xAD),
    (0x34F, 0x34F),
    (0x61C, 0x61C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF9, 0xFFFB),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
]
# Letters in a black circle or square, which NFKC leaves as they are.
BLACK_LETTERS = {
    chr(first + i): letter
    for first in (0x1F150, 0x1F170)
    for i, letter in enumerate(string.ascii_uppercase)
}
BRAILLE_BLANK = "\u2800"


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
    **{chr(code): "" for first, last in INVISIBLE_RANGES for code in range(first, last + 1)},
    **CONFUSABLES,
    **BLACK_LETTERS,
    BRAILLE_BLANK: " ",
}
_TRANSLATION = str.maketrans(CHARACTER_MAP)

# Disguises of words, and their replacement. Python and the tokenizer's Rust engine both run these.
# What stands before a disguise is looked up behind its first character, so that the search for a
# first character skips most texts.
# Combining marks that NFKC joined with no letter, digit or sign: strikethrough, Zalgo. The vowel
# signs of other scripts are not in these blocks; U+20E3, the keycap, makes an emoji.
_MARK = (
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20e2\u20e4-\u20ff\ufe20-\ufe2f]"
)
_STRAY_MARKS = f"{_MARK}(?<=[ -ʯḀ-ỿ₠-⃏].){_MARK}*"
# What the NUS SMS Corpus shows in place of numbers, times and addresses: only ham has it, and
# anybody can add it. One space stays, so that `<<#>#>` becomes no placeholder.
_PLACEHOLDERS = "(?<! )(?: *<(?:#|DECIMAL|TIME|URL|EMAIL)>)+ *"
# A separator between single letters: f r e e, f-r-e-e.
_SEPARATOR = r"[ .\-_*](?:(?<=\A[A-Za-z].)|(?<=[ .\-_*][A-Za-z].))(?=[A-Za-z](?![A-Za-z0-9']))"
# One or two digits within a word: fr33, b00k. `%` stands for the digit.
_DIGIT = r"%(?:(?<=[A-Za-z].)(?=[0-9]?[A-Za-z])|(?<=[A-Za-z][0-9].)(?=[A-Za-z]))"
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
DISGUISE_PATTERNS = {_STRAY_MARKS: "", _PLACEHOLDERS: " ", _SEPARATOR: ""} | {
    _DIGIT.replace("%", digit): letter for digit, letter in _DIGIT_LETTERS.items()
}
_DISGUISES = [(re.compile(pattern), plain) for pattern, plain in DISGUISE_PATTERNS.items()]

_LINK = re.compile(r"(?:https?://|www\.)\S+")
_DIGITS = re.compile(r"\d+")


def undo_entities(text: str) -> str:
    """The text without HTML escapes, such as `&amp;`, `&#72;` and, escaped twice, `&amp;#72;`."""
    for _ in range(ENTITY_LEVELS):
        if "&" not in text:
            break
        text = html.unescape(re.sub(HUGE_ENTITY, "\ufffd", text))
    return text


def canonicalise(text: str) -> str:
    """The text in Unicode form NFKC, without HTML escapes, invisible characters and disguises.

    `undo_entities` and the tokenizer's normaliser together do the same, except that a combining
    mark that follows a look-alike goes before it could be joined with the letter.
    """
    text = unicodedata.normalize("NFKC", undo_entities(text).translate(_TRANSLATION))
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
