"""Edits training messages as spammers do, so that the network recognises edited spam.

The added words, separators, signs and typing errors differ from those of evaluation/attacks.py,
which measures the result.
"""

import math
import re
import string
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
from tokenizers import Tokenizer

from pipeline.core.hashing import unit_hash
from pipeline.models.batches import Rows
from pipeline.preprocessing import normalize
from pipeline.preprocessing.tokenizer import encode_texts

MAX_SHARE = 0.4  # of a message's characters, in one edit
EDIT_COUNTS = (1, 2, 3)  # edits of a corrupted message, one after the other
PADDING_WORDS = (4, 60)  # fewest and most, drawn on a logarithmic scale
SIGNS = string.digits + "@$!+*^|&#%"
SEPARATORS = [".", "-", "_", "*", "  "]

Corruption = Callable[[str, float, Random, Sequence[str]], str]
"""From (message, share of its characters in [0, 1], random, words of ham) to the edited message."""

RowCorrupter = Callable[[Sequence[int], float], Rows]
"""From (seed, share of the messages to corrupt in [0, 1]) to the rows, some of them corrupted."""


def random_leet(message: str, share: float, random: Random, words: Sequence[str]) -> str:
    """Replaces letters by digits and signs, by a table that is drawn anew for each message."""
    table = {letter: random.choice(SIGNS) for letter in string.ascii_lowercase}
    return "".join(
        table.get(letter.lower(), letter) if random.random() < share else letter
        for letter in message
    )


def slips(message: str, share: float, random: Random, words: Sequence[str]) -> str:
    """Replaces letters by random ones, drops them, or inserts a random one after them."""

    def slip(letter: str) -> str:
        other = random.choice(string.ascii_lowercase)
        return random.choice(["", other, letter + other])

    return "".join(
        slip(letter) if letter.isalpha() and random.random() < share else letter
        for letter in message
    )


def separated(message: str, share: float, random: Random, words: Sequence[str]) -> str:
    """Puts one sign, or a gap, between the letters of words: f-r-e-e."""
    sign = random.choice(SEPARATORS)

    def separate(word: re.Match[str]) -> str:
        return sign.join(word[0]) if random.random() < share else word[0]

    return re.sub(r"[^\W\d_]{3,}", separate, message)


def ham_words(message: str, share: float, random: Random, words: Sequence[str]) -> str:
    """Adds words of ham before or after the message. Source: Lowd and Meek 2005."""
    added = random.choices(words, k=random.randint(2, 16)) if words else []
    return " ".join([message, *added] if random.random() < 0.7 else [*added, message])


def padding(message: str, share: float, random: Random, words: Sequence[str]) -> str:
    """Puts a run of the words of ham before or after the message, as a harmless notice."""
    count = round(math.exp(random.uniform(*map(math.log, PADDING_WORDS))))
    start = random.randrange(len(words)) if words else 0
    run = words[start : start + count]
    return " ".join([message, *run] if random.random() < 0.5 else [*run, message])


CORRUPTIONS: dict[str, Corruption] = {
    "leet": random_leet,
    "slips": slips,
    "separated": separated,
    "ham_words": ham_words,
    "padding": padding,
}


def may_train(word: str) -> bool:
    """Whether training may add this word; the other half of all words is kept for attacks."""
    plain = normalize.fold(word).strip(string.punctuation)
    return unit_hash("good words", plain) < 0.5


def corrupted(message: str, names: Sequence[str], random: Random, words: Sequence[str]) -> str:
    """The message after one to three random edits.

    Args:
        names: the corruptions to draw from, names of CORRUPTIONS.
        words: words of ham that may be added.
    """
    for _ in range(random.choice(EDIT_COUNTS)):
        corruption = CORRUPTIONS[random.choice(names)]
        message = corruption(message, random.uniform(0, MAX_SHARE), random, words)
    return message


def row_corrupter(rows: Rows, tokenizer: Tokenizer, names: Sequence[str]) -> RowCorrupter:
    """The function that corrupts a random share of the rows: decodes, edits and encodes them again.

    Without `names` it returns the rows unchanged.
    """
    if not names:
        return lambda seed, share: rows
    texts = [_text_of(ids.tolist(), tokenizer) for ids in rows.token_ids]
    ham = [text for text, target in zip(texts, rows.labels, strict=True) if not target]
    words = [word for text in ham for word in text.split() if may_train(word)]

    def corrupt(seed: Sequence[int], share: float) -> Rows:
        random = Random(repr(tuple(seed)))
        chosen = [i for i in range(len(texts)) if random.random() < share]
        edited = [corrupted(texts[i], names, random, words) for i in chosen]
        token_ids = list(rows.token_ids)
        for i, ids in zip(chosen, encode_texts(edited, tokenizer), strict=True):
            token_ids[i] = np.array(ids, np.int32)
        return Rows(token_ids, rows.labels)

    return corrupt


def _text_of(token_ids: list[int], tokenizer: Tokenizer) -> str:
    """The text, without the start token and the space that the tokenizer adds."""
    return tokenizer.decode(token_ids[1:])[1:]
