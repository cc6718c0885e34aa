"""What a spammer does to a message that is caught: edits that hardly trouble a reader."""

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocessing import normalize

SHARES = (5, 15, 30)  # per cent of a message's characters
QUERIES = 50  # of the adaptive attack, a message
LEET = {
    "a": "4@",
    "b": "8",
    "e": "3",
    "g": "9",
    "i": "1!",
    "l": "1",
    "o": "0",
    "s": "5$",
    "t": "7+",
    "z": "2",
}
INVISIBLE = "\u200b\u200c\u200d\u2060\u00ad"
KEYS = "qwertyuiop", "asdfghjkl", "zxcvbnm"
LOOKALIKES: dict[str, str] = {}
for _other, _letter in normalize.CONFUSABLES.items():
    LOOKALIKES[_letter] = LOOKALIKES.get(_letter, "") + _other
NEAR_KEYS = {  # those beside each key, on its own row and the next
    key: "".join(
        row[max(0, column - 1) : column + 2] for row in KEYS[max(0, n - 1) : n + 2]
    ).replace(key, "")
    for n, keys in enumerate(KEYS)
    for column, key in enumerate(keys)
}
# What people write to those they know. None of it is in corruption.py, whose words training may see.
FRIENDLY = """
lol dad dinner breakfast shower homework library rain train bus sister cousin birthday cake tea pizza bored
sorry thanks goodnight yesterday
""".split()  # noqa: SIM905 # a list of words reads best as words
KEPT = {"http", "https", "www", "com", "co", "uk", "net", "org", "info", "biz"}  # parts of a link
_WORD = re.compile(r"[^\W\d_]{3,}")
_LINK = re.compile(r"(?:https?://|www\.)[^\s,]+", re.IGNORECASE)
_NUMBER = re.compile(r"\d{5,}")

Edit = Callable[[str, int, Random], str]  # of (message, strength, random)
Score = Callable[[Sequence[str]], NDArray[np.floating]]  # of messages; higher is more like spam


@dataclass(frozen=True)
class Attack:
    """An edit, and how strongly it is tried."""

    edit: Edit
    strengths: Sequence[int] = SHARES
    least: int = 1  # what the adaptive attack does at once: one character, one word


def leet(message: str, share: int, random: Random) -> str:
    """Letters become digits and signs that look like them: fr33."""
    return _replaced(message, share, random, lambda letter: LEET.get(letter.lower(), ""))


def homoglyphs(message: str, share: int, random: Random) -> str:
    """Letters become those of other scripts that look the same.

    Source: Unicode Technical Standard 39, confusables.
    """
    return _replaced(message, share, random, lambda letter: LOOKALIKES.get(letter, ""))


def zero_width(message: str, share: int, random: Random) -> str:
    """Characters that nobody sees stand between the letters."""
    for place in sorted(_places(range(1, len(message)), message, share, random), reverse=True):
        message = message[:place] + random.choice(INVISIBLE) + message[place:]
    return message


def spaced_letters(message: str, share: int, random: Random) -> str:
    """Words are s p e l t out, until that many letters stand alone."""
    words = list(_WORD.finditer(message))
    random.shuffle(words)
    left, chosen = _count(message, share), []
    while words and left > 0:
        chosen.append(words.pop())
        left -= len(chosen[-1][0])
    for word in sorted(chosen, key=re.Match.start, reverse=True):
        message = message[: word.start()] + " ".join(word[0]) + message[word.end() :]
    return message


def typos(message: str, share: int, random: Random) -> str:
    """Letters are doubled, dropped, swapped with the next, or the key beside them is hit."""
    letters = [i for i, letter in enumerate(message) if letter.lower() in NEAR_KEYS]
    for place in sorted(_places(letters, message, share, random), reverse=True):
        here, after = message[place], message[place + 1 : place + 2]
        slip = random.choice(
            [here * 2 + after, after, after + here, random.choice(NEAR_KEYS[here.lower()]) + after]
        )
        message = message[:place] + slip + message[place + 2 :]
    return message


def good_words(message: str, words: int, random: Random) -> str:
    """Friendly words stand at the end. Source: Lowd and Meek 2005."""
    return " ".join([message, *random.sample(FRIENDLY, words)])


def link_shuffling(message: str, share: int, random: Random) -> str:
    """That share of links and long numbers become others of their shape."""

    def other(found: re.Match[str]) -> str:
        return _alike(found[0], random) if random.random() < share / 100 else found[0]

    return _NUMBER.sub(other, _LINK.sub(other, message))


ATTACKS: dict[str, Attack] = {
    "leet": Attack(leet),
    "homoglyphs": Attack(homoglyphs),
    "zero_width": Attack(zero_width),
    "spaced_letters": Attack(spaced_letters),
    "typos": Attack(typos),
    "good_words": Attack(good_words, strengths=(4, 8, 16)),  # words
    "link_shuffling": Attack(link_shuffling, strengths=(100,), least=100),  # per cent of them
}
EVERY = [(name, strength) for name, attack in ATTACKS.items() for strength in attack.strengths]


def attacked(messages: Sequence[str], attack: Attack, strength: int, seed: int) -> list[str]:
    """Each message, edited; what is done to it follows from (seed, message) alone."""
    return [attack.edit(message, strength, Random(f"{seed}:{message}")) for message in messages]


def adaptive(messages: Sequence[str], score: Score, threshold: float, seed: int) -> list[str]:
    """Each message as a greedy attacker leaves it, who sees the model's score of QUERIES messages of his.

    From one query to the next he tries one more small edit of any kind, and keeps it where the score falls;
    below the threshold he stops.
    """
    best, lowest = list(messages), np.asarray(score(messages))
    kinds = list(ATTACKS.values())
    for query in range(QUERIES - 1):
        caught = np.flatnonzero(lowest >= threshold).tolist()
        if not caught:
            break
        random = Random(f"{seed}:{query}")
        tried = [
            kind.edit(best[i], kind.least, random)
            for i in caught
            for kind in [random.choice(kinds)]
        ]
        for i, message, value in zip(caught, tried, score(tried), strict=True):
            if value < lowest[i]:
                best[i], lowest[i] = message, value
    return best


def _count(message: str, share: int) -> int:
    """How many characters that share is, one at least."""
    return max(1, round(len(message) * share / 100))


def _places(eligible: Sequence[int], message: str, share: int, random: Random) -> list[int]:
    return random.sample(eligible, min(len(eligible), _count(message, share)))


def _replaced(message: str, share: int, random: Random, others: Callable[[str], str]) -> str:
    letters = list(message)
    for place in _places(
        [i for i, letter in enumerate(letters) if others(letter)], message, share, random
    ):
        letters[place] = random.choice(others(letters[place]))
    return "".join(letters)


def _alike(link: str, random: Random) -> str:
    """Another one with letters and digits where they were; www. and .com stay."""

    def other(part: re.Match[str]) -> str:
        kinds = string.digits, string.ascii_lowercase, string.ascii_uppercase
        drawn = (
            next((random.choice(kind) for kind in kinds if sign in kind), sign) for sign in part[0]
        )
        return part[0] if part[0].lower() in KEPT else "".join(drawn)

    return re.sub(r"\w+", other, link)
