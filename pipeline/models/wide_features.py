"""Keras layers that read token ids as n-grams of sub-words, words, and counts of characters."""

import hashlib
import string
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from pipeline.models.batches import PAD_ID

ORDERS = 4  # n-grams of one to four sub-words
MAX_WORD_TOKENS = 12  # of a longer word only the last tokens are read
# To know a word, the window of tokens that ends at a token grows from 1 to 2, 4, 8 and 12: a window
# of so many tokens is joined with an earlier one of so many, if the word began before it.
JOINED_WINDOWS = ((1, 1), (2, 2), (4, 4), (8, 4))
FEATURES = ORDERS + 2  # at each token: these n-grams, the word, and the pair of words
NO_FEATURE = -1  # stands where no n-gram or word ends
SPACE_SYMBOL = "Ġ"  # a space in the tokenizer's byte-level alphabet
LOWERCASE = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
CHARACTER_KINDS = (  # counted by the layer Shape
    string.ascii_lowercase,
    string.ascii_uppercase,
    string.digits,
    SPACE_SYMBOL,
    "!",
    "£$",
    string.punctuation,
)
SPECIAL_TOKENS = 2  # padding and start come first in the vocabulary
FNV_PRIME = 0x01000193  # of the hash of Fowler, Noll and Vo
MIX_FACTOR = 0x2C1B3C6D  # any large odd number


@keras.saving.register_keras_serializable("spam_detector")
class Ngrams(layers.Layer):  # type: ignore[misc] # Keras has no types
    """Hashes of the n-grams and words of a message, whatever their case.

    Input: (n, t) token ids. Output: (n, t, FEATURES) int32; at each token the hashes of the ORDERS
    n-grams, of the word and of the pair of words that end there, or NO_FEATURE. A word is a run of
    ASCII letters and digits, or a run of other characters, however the tokenizer has cut it.
    """

    def __init__(self, vocabulary_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size

    def build(self, shape: Sequence[int | None]) -> None:
        """Adds the table of token spellings, (vocabulary_size, 5)."""
        columns = len(_token_spelling("x"))
        self.spellings = self.add_weight(
            (self.vocabulary_size, columns),
            name="spelt",
            initializer="zeros",
            dtype="int32",
            trainable=False,
        )

    def set_tokens(self, tokens: Sequence[str]) -> None:
        """Stores the spelling of each token; `tokens` is in the order of the ids."""
        spellings = [_token_spelling(token.translate(LOWERCASE)) for token in tokens]
        self.spellings.assign(np.array(spellings, np.uint32).view(np.int32))

    def call(self, token_ids: keras.KerasTensor) -> keras.KerasTensor:
        """The hashes, by integer arithmetic and one gather: they are part of the network."""
        real = ops.not_equal(token_ids, PAD_ID)
        columns = ops.take(self.spellings, token_ids, axis=0)
        token_hash, letters, base_power, begins_word, is_plain = ops.unstack(columns, 5, axis=-1)

        features = []
        ngram = ops.zeros_like(token_hash)
        for back in range(ORDERS):
            ngram = ngram * FNV_PRIME + _shifted_right(token_hash, back) + back
            whole = ops.logical_and(real, _shifted_right(real, back))
            features.append(ops.where(whole, _mixed(ngram), NO_FEATURE))

        kind_changes = ops.not_equal(is_plain, _shifted_right(is_plain, 1))
        is_first = ops.logical_or(begins_word > 0, kind_changes)
        is_last = ops.logical_or(_shifted_left(is_first), ops.logical_not(_shifted_left(real)))
        word = _mixed(_word_hashes(letters, base_power, is_first))
        ends = ops.logical_and(real, is_last)
        features.append(ops.where(ends, word, NO_FEATURE))
        previous = _previous_words(word, real, is_first)
        has_previous = ops.logical_and(ends, ops.not_equal(previous, NO_FEATURE))
        features.append(ops.where(has_previous, _mixed(previous * FNV_PRIME + word), NO_FEATURE))
        return ops.stack(features, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"vocabulary_size": self.vocabulary_size}


@keras.saving.register_keras_serializable("spam_detector")
class Shape(layers.Layer):  # type: ignore[misc]
    """How many characters of each kind a message has; edits of letters do not change it.

    Input: (n, t) token ids. Output: (n, len(CHARACTER_KINDS)), log(1 + characters of the kind).
    """

    def __init__(self, vocabulary_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size

    def build(self, shape: Sequence[int | None]) -> None:
        """Adds the table of counts, (vocabulary_size, kinds)."""
        self.counts = self.add_weight(
            (self.vocabulary_size, len(CHARACTER_KINDS)),
            name="counts",
            initializer="zeros",
            trainable=False,
        )

    def set_tokens(self, tokens: Sequence[str]) -> None:
        """Stores the counts of each token; `tokens` is in the order of the ids."""
        counts = np.array([_count_kinds(token) for token in tokens], np.float32)
        counts[:SPECIAL_TOKENS] = 0
        self.counts.assign(counts)

    def call(self, token_ids: keras.KerasTensor) -> keras.KerasTensor:
        """The logarithms of the counts."""
        return ops.log1p(ops.sum(ops.take(self.counts, token_ids, axis=0), axis=1))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"vocabulary_size": self.vocabulary_size}


def _count_kinds(token: str) -> list[int]:
    return [sum(character in kind for character in token) for kind in CHARACTER_KINDS]


def _token_spelling(token: str) -> tuple[int, int, int, int, int]:
    """What the layer needs of a token; all numbers are modulo 2^32.

    Returns: its hash; its letters as the digits of a number in base FNV_PRIME; the base to the
    power of their count; whether it begins a word; whether it is of ASCII letters and digits.
    """
    digest = hashlib.blake2b(token.encode(), digest_size=4).digest()
    word = token.removeprefix(SPACE_SYMBOL)
    letters = 0
    for letter in word:
        letters = (letters * FNV_PRIME + ord(letter)) % 2**32
    base_power = pow(FNV_PRIME, len(word), 2**32)
    is_plain = word.isascii() and word.isalnum()
    return int.from_bytes(digest, "big"), letters, base_power, word != token, is_plain


def _word_hashes(
    letters: keras.KerasTensor, base_power: keras.KerasTensor, is_first: keras.KerasTensor
) -> keras.KerasTensor:
    """(n, t): at each token, the number that the letters of its word spell up to there."""
    windows = {1: (letters, base_power, ops.logical_not(is_first))}
    for size, more in JOINED_WINDOWS:
        word, scale, is_open = windows[size]
        word_before, scale_before, open_before = (
            _shifted_right(part, size) for part in windows[more]
        )
        windows[size + more] = (
            word + ops.where(is_open, word_before * scale, 0),
            scale * scale_before,  # only read where the window is open
            ops.logical_and(is_open, open_before),
        )
    return windows[MAX_WORD_TOKENS][0]


def _previous_words(
    word: keras.KerasTensor, real: keras.KerasTensor, is_first: keras.KerasTensor
) -> keras.KerasTensor:
    """(n, t): at each token, the hash of the word before its own; NO_FEATURE if there is none.

    Args:
        word: (n, t), at the last token of each word its hash.
    """
    before = ops.where(_shifted_right(real, 1), _shifted_right(word, 1), NO_FEATURE)
    is_open = ops.logical_not(is_first)
    windows = {1: (ops.where(is_first, before - NO_FEATURE, 0), is_open)}
    for size, more in JOINED_WINDOWS:
        previous, is_open = windows[size]
        earlier, open_before = (_shifted_right(part, size) for part in windows[more])
        windows[size + more] = (
            ops.where(is_open, earlier, previous),
            ops.logical_and(is_open, open_before),
        )
    return windows[MAX_WORD_TOKENS][0] + NO_FEATURE


def _mixed(hashed: keras.KerasTensor) -> keras.KerasTensor:
    """Non-negative hashes whose low bits depend on all bits."""
    mixed = ops.bitwise_xor(hashed, ops.bitwise_right_shift(hashed, 15)) * MIX_FACTOR
    return ops.bitwise_and(ops.bitwise_xor(mixed, ops.bitwise_right_shift(mixed, 13)), 0x7FFFFFFF)


def _shifted_right(values: keras.KerasTensor, by: int) -> keras.KerasTensor:
    """(n, t), with zeros on the left."""
    return ops.pad(values, [[0, 0], [by, 0]])[:, : ops.shape(values)[1]] if by else values


def _shifted_left(values: keras.KerasTensor) -> keras.KerasTensor:
    """(n, t), moved by one, with zeros on the right."""
    return ops.pad(values[:, 1:], [[0, 0], [0, 1]])
