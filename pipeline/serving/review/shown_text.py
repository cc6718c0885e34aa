"""How a message is shown to a person: harmless, visible for what it is, private parts masked."""

import re
import unicodedata

MASKED_DIGIT = "•"
SHOWN_CHARACTERS = 20_000  # of a text, unless a person wants all of it
SNIPPET_CHARACTERS = 120  # of a text in a list
HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # of Unicode: nothing to see
JOINERS = "\u200c\u200d"  # visible in what they do between letters, as in Persian, and in emoji
LINK_PATH = re.compile(
    r"(https?://[^\s/?#]{1,255}|(?<![\w.@-])(?:[\w-]{1,63}\.){1,8}[a-z]{2,24})[/?#]\S+",
    re.IGNORECASE,
)
MAIL_ADDRESS = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
LONG_NUMBER = re.compile(r"\+?\d(?:[ .()/-]{0,2}\d){6,}")  # a telephone or a card


def visible_text(text: str) -> str:
    """The text with ⟦U+202E⟧ and the like in place of what cannot be seen; lines stay."""
    return "".join(
        _code_point(character) if _is_invisible(text, place) else character
        for place, character in enumerate(text)
    )


def _is_invisible(text: str, place: int) -> bool:
    character = text[place]
    if character in JOINERS:
        return text[max(0, place - 1) : place + 2].replace(character, "").isascii()
    return character != "\n" and unicodedata.category(character) in HIDDEN_CATEGORIES


def _code_point(character: str) -> str:
    return f"⟦U+{ord(character):04X}⟧"


def mask_private(text: str) -> str:
    """The text without mail addresses, paths of links and long numbers."""
    text = LINK_PATH.sub(r"\1/⟦path⟧", text)
    text = MAIL_ADDRESS.sub("⟦e-mail⟧", text)
    return LONG_NUMBER.sub("⟦number⟧", text)


def mask_word(word: str) -> str:
    """A word by itself, which may be a part of a number."""
    return re.sub(r"\d", MASKED_DIGIT, mask_private(word))


def snippet(text: str | None) -> str:
    """The start of a text on one line, masked."""
    if text is None:
        return "(no text)"
    start = " ".join(text[: 4 * SNIPPET_CHARACTERS].split())
    shown = visible_text(mask_private(start))
    return shown if len(shown) <= SNIPPET_CHARACTERS else f"{shown[:SNIPPET_CHARACTERS]}…"
