"""Edits of training messages, so that one edited to slip through is no stranger to the network.

Its words and separators are other ones than those of attacks.py, which judges; its signs and slips are drawn
at random, where an attacker's look like the letter or lie beside it.
"""

import re
import string
from collections.abc import Callable, Sequence
from random import Random

from pipeline.core.hashing import unit_hash
from pipeline.preprocessing import normalize

STRONGEST = 0.4  # share of a message's characters
EDITS = (1, 2, 3)  # how many a corrupted message has, one after the other
SIGNS = string.digits + "@$!+*^|&#%"
SEPARATORS = [".", "-", "_", "*", "  "]
_WORD = re.compile(r"[^\W\d_]{3,}")

Corruption = Callable[[str, float, Random, Sequence[str]], str]  # of (message, share, random, words of ham)


def leet(message: str, share: float, random: Random, words: Sequence[str]) -> str:
    """Letters become digits and signs, by a table drawn anew for each message."""
    table = {letter: random.choice(SIGNS) for letter in string.ascii_lowercase}
    return "".join(
        table.get(letter.lower(), letter) if random.random() < share else letter for letter in message
    )


def slips(message: str, share: float, random: Random, words: Sequence[str]) -> str:
    """Letters become any others, are dropped, or get company."""

    def slip(letter: str) -> str:
        other = random.choice(string.ascii_lowercase)
        return random.choice(["", other, letter + other])

    return "".join(
        slip(letter) if letter.isalpha() and random.random() < share else letter for letter in message
    )


def separated(message: str, share: float, random: Random, words: Sequence[str]) -> str:
    """Words have s-i-g-n-s between their letters, or gaps."""
    sign = random.choice(SEPARATORS)
    return _WORD.sub(lambda word: sign.join(word[0]) if random.random() < share else word[0], message)


def ham_words(message: str, share: float, random: Random, words: Sequence[str]) -> str:
    """Words of ham stand at either end. Source: Lowd and Meek 2005."""
    added = random.choices(words, k=random.randint(2, 16)) if words else []
    return " ".join([message, *added] if random.random() < 0.7 else [*added, message])


CORRUPTIONS: dict[str, Corruption] = {
    "leet": leet,
    "slips": slips,
    "separated": separated,
    "ham_words": ham_words,
}


def may_train(word: str) -> bool:
    """Whether a word may be added in training; the other half of all words is left for attacks to add."""
    return unit_hash("good words", normalize.fold(word).strip(string.punctuation)) < 0.5


def corrupted(message: str, names: Sequence[str], random: Random, words: Sequence[str]) -> str:
    """The message after one to three of CORRUPTIONS, each of a share of up to STRONGEST."""
    for _ in range(random.choice(EDITS)):
        message = CORRUPTIONS[random.choice(names)](message, random.uniform(0, STRONGEST), random, words)
    return message
