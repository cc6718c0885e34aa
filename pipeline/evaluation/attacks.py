"""Edits with which spammers evade a filter, and what they do to a model's labels."""

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import pandas as pd

from pipeline.core.reports import Figure
from pipeline.evaluation.behavioural_tests import BUSINESS_HAM, messages_of_today
from pipeline.evaluation.metrics import Labels, Scorer, is_spam
from pipeline.preprocessing import normalize

Edit = Callable[[str, int, Random], str]  # (message, strength, random) to the edited message;
# the strength is a percentage of the message's characters, unless the edit says otherwise

EDITED_PERCENTS = (5, 15, 30)  # of a message's characters
ATTACKED_MESSAGES = 250  # of each label at most; the adaptive attack takes minutes for thousands
CUT_PERCENT = 25  # of the message's characters: how far from the middle it may be cut in two
QUERIES_PER_MESSAGE = 50  # scores that the adaptive attack may ask the model for


@dataclass(frozen=True)
class Attack:
    """An edit, and the strengths at which it is evaluated."""

    edit: Edit
    strengths: Sequence[int] = EDITED_PERCENTS
    smallest_strength: int = 1  # of one step of the adaptive attack: one character, one word
    keeps_message: bool = True  # or a part of it is sent, which is not a step of that attack


# ---- edits

LEET_CHARACTERS = {
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


def leet_speak(message: str, percent: int, random: Random) -> str:
    """Replaces letters by digits and signs that look similar, as in fr33."""
    return _replace(
        message, percent, random, lambda letter: LEET_CHARACTERS.get(letter.lower(), "")
    )


LOOKALIKES: dict[str, str] = {}  # letter or digit: all characters that look like it
for _confusable, _letter in normalize.CONFUSABLES.items():
    LOOKALIKES[_letter] = LOOKALIKES.get(_letter, "") + _confusable


def homoglyphs(message: str, percent: int, random: Random) -> str:
    """Replaces letters by letters of other scripts that look the same.

    Source: Unicode Technical Standard 39, confusables.txt.
    """
    return _replace(message, percent, random, lambda letter: LOOKALIKES.get(letter, ""))


ZERO_WIDTH_CHARACTERS = "\u200b\u200c\u200d\u2060\u00ad"


def zero_width(message: str, percent: int, random: Random) -> str:
    """Inserts invisible characters at random positions."""
    positions = _sample_positions(range(1, len(message)), message, percent, random)
    for position in sorted(positions, reverse=True):
        invisible = random.choice(ZERO_WIDTH_CHARACTERS)
        message = message[:position] + invisible + message[position:]
    return message


def html_escapes(message: str, percent: int, random: Random) -> str:
    """Replaces characters by their numeric HTML entities, as in &#102;re&#x65;."""

    def entities(character: str) -> list[str]:
        return [f"&#{ord(character)};", f"&#x{ord(character):x};"]

    return _replace(message, percent, random, entities)


STROKES = "\u0334\u0335\u0336\u0337"  # combining marks that go through a letter


def strikethrough(message: str, percent: int, random: Random) -> str:
    """Strikes characters through with combining marks."""
    return _replace(message, percent, random, lambda letter: [letter + mark for mark in STROKES])


_LONG_WORD = re.compile(r"[^\W\d_]{3,}")


def spaced_letters(message: str, percent: int, random: Random) -> str:
    """Puts spaces between the letters of random words, as in p r i z e."""
    words = list(_LONG_WORD.finditer(message))
    random.shuffle(words)
    letters_left = _character_count(message, percent)
    chosen: list[re.Match[str]] = []
    while words and letters_left > 0:
        chosen.append(words.pop())
        letters_left -= len(chosen[-1][0])
    for word in sorted(chosen, key=re.Match.start, reverse=True):
        message = message[: word.start()] + " ".join(word[0]) + message[word.end() :]
    return message


KEYBOARD_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
NEIGHBOUR_KEYS = {  # keys beside each key, in its own and the adjacent rows
    key: "".join(
        row[max(0, column - 1) : column + 2]
        for row in KEYBOARD_ROWS[max(0, number - 1) : number + 2]
    ).replace(key, "")
    for number, keys in enumerate(KEYBOARD_ROWS)
    for column, key in enumerate(keys)
}


def typos(message: str, percent: int, random: Random) -> str:
    """Doubles, drops or swaps letters, or replaces them by a neighbouring key."""
    letters = [i for i, letter in enumerate(message) if letter.lower() in NEIGHBOUR_KEYS]
    positions = _sample_positions(letters, message, percent, random)
    for position in sorted(positions, reverse=True):
        letter = message[position]
        following = message[position + 1 : position + 2]
        neighbour = random.choice(NEIGHBOUR_KEYS[letter.lower()])
        slips = [letter * 2 + following, following, following + letter, neighbour + following]
        message = message[:position] + random.choice(slips) + message[position + 2 :]
    return message


# Words that friends use. Training does not see them: models/augmentation.py has other words.
FRIENDLY_WORDS = """
lol dad dinner breakfast shower homework library rain train bus sister cousin birthday cake
tea pizza bored sorry thanks goodnight yesterday
""".split()  # noqa: SIM905 # a list of words is easiest to read as words


def good_words(message: str, words: int, random: Random) -> str:
    """Appends `words` of FRIENDLY_WORDS, at random. Source: Lowd and Meek 2005."""
    return " ".join([message, *random.sample(FRIENDLY_WORDS, words)])


def padding_before(message: str, characters: int, random: Random) -> str:
    """Puts `characters` of harmless notices before the message."""
    return f"{_padding(characters, random)} {message}"


def padding_after(message: str, characters: int, random: Random) -> str:
    """Puts `characters` of harmless notices after the message."""
    return f"{message} {_padding(characters, random)}"


def _padding(characters: int, random: Random) -> str:
    notices = messages_of_today(BUSINESS_HAM)
    return " ".join(random.sample(notices, len(notices)))[:characters]


def first_part(message: str, percent: int, random: Random) -> str:
    """The first of two messages, if the message is sent as two; cut near `percent` of it."""
    return _two_parts(message, percent, random)[0]


def last_part(message: str, percent: int, random: Random) -> str:
    """The second of these two messages; the same seed cuts at the same place."""
    return _two_parts(message, percent, random)[1]


def _two_parts(message: str, percent: int, random: Random) -> tuple[str, str]:
    """Cuts between words, in a random place up to CUT_PERCENT away; one word is cut within it."""
    place = round(len(message) * (percent + random.uniform(-CUT_PERCENT, CUT_PERCENT)) / 100)
    spaces = [gap.start() for gap in re.finditer(r"(?<=\S)\s+(?=\S)", message)]
    cut = min(spaces, key=lambda space: abs(space - place), default=place)
    return message[:cut].strip(), message[cut:].strip()


PLACEHOLDERS = ["<#>", "&lt;#&gt;", "&#60;#&#62;", "<DECIMAL>"]  # of numbers


def placeholders(message: str, count: int, random: Random) -> str:
    """Appends `count` placeholders of numbers, as `&lt;#&gt;`, which only ham of the SMS has."""
    return " ".join([message, *random.choices(PLACEHOLDERS, k=count)])


_URL = re.compile(r"(?:https?://|www\.)[^\s,]+", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"\d{5,}")
KEPT_LINK_PARTS = {"http", "https", "www", "com", "co", "uk", "net", "org", "info", "biz"}


def link_shuffling(message: str, percent: int, random: Random) -> str:
    """Replaces `percent` of the links and long numbers by random ones of the same shape."""

    def replacement(match: re.Match[str]) -> str:
        return _same_shape(match[0], random) if random.random() < percent / 100 else match[0]

    return _LONG_NUMBER.sub(replacement, _URL.sub(replacement, message))


ATTACKS: dict[str, Attack] = {
    "leet": Attack(leet_speak),
    "homoglyphs": Attack(homoglyphs),
    "zero_width": Attack(zero_width),
    "spaced_letters": Attack(spaced_letters),
    "html_escapes": Attack(html_escapes, strengths=(100,)),
    "strikethrough": Attack(strikethrough, strengths=(100,)),
    "typos": Attack(typos),
    "good_words": Attack(good_words, strengths=(4, 8, 16)),  # words
    "padding_before": Attack(padding_before, strengths=(300, 1700), smallest_strength=100),
    "padding_after": Attack(padding_after, strengths=(300, 1700), smallest_strength=100),
    "first_part": Attack(first_part, strengths=(50,), keeps_message=False),
    "last_part": Attack(last_part, strengths=(50,), keeps_message=False),
    "placeholders": Attack(placeholders, strengths=(3,)),  # placeholders
    "link_shuffling": Attack(link_shuffling, strengths=(100,), smallest_strength=100),
}
ATTACK_STRENGTHS = [
    (name, strength) for name, attack in ATTACKS.items() for strength in attack.strengths
]


# ---- attacks


def attack_messages(messages: Sequence[str], attack: Attack, strength: int, seed: int) -> list[str]:
    """The n messages, each edited. The edit of a message depends on it and the seed alone."""
    return [attack.edit(message, strength, Random(f"{seed}:{message}")) for message in messages]


def adaptive_attack(
    messages: Sequence[str], score: Scorer, threshold: float, seed: int
) -> list[str]:
    """The n messages, each after a greedy search for edits that lower its score.

    At most QUERIES_PER_MESSAGE scores per message: the first is that of the message itself, each
    other one tries one more small edit, which is kept if the score falls. The search stops when the
    score is below the threshold.
    """
    best = list(messages)
    lowest = np.asarray(score(messages))
    attacks = [attack for attack in ATTACKS.values() if attack.keeps_message]
    for query in range(QUERIES_PER_MESSAGE - 1):
        above = np.flatnonzero(lowest >= threshold).tolist()
        if not above:
            break
        random = Random(f"{seed}:{query}")
        edited = [_small_edit(best[i], random.choice(attacks), random) for i in above]
        for i, message, value in zip(above, edited, score(edited), strict=True):
            if value < lowest[i]:
                best[i] = message
                lowest[i] = value
    return best


def attack_figures(
    probabilities: Scorer,
    threshold: float,
    test: pd.DataFrame,
    seed: int,
    strengths: Sequence[tuple[str, int]] = ATTACK_STRENGTHS,
) -> dict[str, Figure]:
    """Percentages of spam caught and of ham blocked after each attack on the test messages.

    The figures are `ATTACK_STRENGTH.spam_caught_percent`, `ATTACK_STRENGTH.ham_blocked_percent` and
    `adaptive.spam_caught_percent`. n is the number of spam, or of ham: ATTACKED_MESSAGES at most.

    Args:
        probabilities: the model, with calibrated scores.
        test: columns text and label.
        strengths: (name in ATTACKS, strength).
    """
    attacked = _attacked_messages(test, seed)
    texts = attacked["text"].tolist()
    spam = is_spam(attacked)
    figures: dict[str, Figure] = {}
    for name, strength in strengths:
        edited = attack_messages(texts, ATTACKS[name], strength, seed)
        y_pred = probabilities(edited) >= threshold
        figures[f"{name}_{strength}.spam_caught_percent"] = _percent_true(y_pred[spam])
        figures[f"{name}_{strength}.ham_blocked_percent"] = _percent_true(y_pred[~spam])
    edited = adaptive_attack(attacked["text"][spam].tolist(), probabilities, threshold, seed)
    y_pred = probabilities(edited) >= threshold
    return figures | {"adaptive.spam_caught_percent": _percent_true(y_pred)}


def _attacked_messages(test: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A random choice of ATTACKED_MESSAGES of each label, in the order of `test`."""
    shuffled = test.sample(frac=1, random_state=seed)
    return shuffled.groupby("label").head(ATTACKED_MESSAGES).sort_index()


def _percent_true(labels: Labels) -> Figure:
    return Figure(100 * float(labels.mean()) if len(labels) else None, n=len(labels))


# ---- parts of edits


def _small_edit(message: str, attack: Attack, random: Random) -> str:
    return attack.edit(message, attack.smallest_strength, random)


def _character_count(message: str, percent: int) -> int:
    """`percent` of the number of the message's characters, at least 1."""
    return max(1, round(len(message) * percent / 100))


def _sample_positions(
    eligible: Sequence[int], message: str, percent: int, random: Random
) -> list[int]:
    return random.sample(eligible, min(len(eligible), _character_count(message, percent)))


def _replace(
    message: str,
    percent: int,
    random: Random,
    replacements: Callable[[str], Sequence[str]],
) -> str:
    """Replaces `percent` of the characters, each by one of its replacements."""
    characters = list(message)
    eligible = [i for i, character in enumerate(characters) if replacements(character)]
    for position in _sample_positions(eligible, message, percent, random):
        characters[position] = random.choice(replacements(characters[position]))
    return "".join(characters)


def _same_shape(link: str, random: Random) -> str:
    """A link or number with other letters and digits; KEPT_LINK_PARTS stay."""

    def replacement(part: re.Match[str]) -> str:
        if part[0].lower() in KEPT_LINK_PARTS:
            return part[0]
        return "".join(_same_kind(character, random) for character in part[0])

    return re.sub(r"\w+", replacement, link)


def _same_kind(character: str, random: Random) -> str:
    for kind in (string.digits, string.ascii_lowercase, string.ascii_uppercase):
        if character in kind:
            return random.choice(kind)
    return character
