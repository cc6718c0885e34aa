"""A hand-made vocabulary, and messages of its token ids."""

import itertools
import re

import numpy as np

TOKENS = ["[PAD]", "[START]", *"abcdefgh", *"ABC", "Ġa", "Ġbc", "ĠBC", "!", "Ġ!!", "9"]
A, B, C, WORD_A, WORD_BC, WORD_BC_UPPER, SIGN, SIGNS, NINE = 2, 3, 4, 13, 14, 15, 16, 17, 18
MESSAGES = [
    [1, WORD_A, B, C, WORD_A, B],
    [1],
    [1, WORD_BC, SIGN, C, NINE],
    [1, WORD_BC_UPPER, SIGNS, SIGN, WORD_A],
    [1, WORD_A, 6, B, 7],
    [1, WORD_BC, A, WORD_BC],
]
ORDERS = (1, 2, 3, 4)


def padded(messages, width=6):
    """(n, width) token ids."""
    return np.array([ids + [0] * (width - len(ids)) for ids in messages], np.int32)


def ngrams_of(ids):
    """All runs of one to four tokens, in lower case."""
    lower = [TOKENS[i].lower() for i in ids]
    return [tuple(lower[i : i + n]) for n in ORDERS for i in range(len(ids) - n + 1)]


def words_of(ids):
    """The start token, then runs of letters and digits, or of other characters, in lower case."""
    text = "".join(TOKENS[i].lower() for i in ids[1:]).replace("ġ", " ")
    return ["[start]", *re.findall(r"\w+|[^\w\s]+", text)]


def words_and_pairs_of(ids):
    """The words, and each two that follow each other."""
    words = words_of(ids)
    return [*words, *map(" ".join, itertools.pairwise(words))]


def shape_of(ids):
    """log(1 + characters) of each kind, counted one by one."""
    text = "".join(TOKENS[i] for i in ids[1:]).replace("Ġ", " ")
    kinds = "[a-z]", "[A-Z]", "[0-9]", " ", "!", "[£$]"
    signs = re.sub(r"[\w\s]", "", text)
    return np.log1p([*(len(re.findall(kind, text)) for kind in kinds), len(signs)])
