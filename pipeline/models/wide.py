"""The wide path of a network: n-grams of sub-words, words and shape, weighed as a convex problem has it."""

import hashlib
import string
from collections.abc import Iterable, Sequence
from typing import Any
import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression


ORDERS = 4  # an n-gram has one to four sub-words
LONGEST = 12  # sub-words of a word; of a longer one the last are read
VIEWS = slice(0, ORDERS), slice(ORDERS, ORDERS + 1)  # n-grams, and words: each counts as much as the other
BUCKETS = 1 << 17  # that n-grams are hashed into; with half as many more of them collide than help
SPACE = "Ġ"  # how the tokenizer's alphabet of bytes writes one
SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
KINDS = (  # of characters, which are counted
    *(string.ascii_lowercase, string.ascii_uppercase, string.digits),
    *(SPACE, "!", "£$", string.punctuation),
)
SHAPE = 0.05  # deviation of a kind's logarithm among the other features, whose rows have length one
COST = 50.0  # of an error against the size of the weights: scikit-learn's C
NONE = -1  # where an n-gram would begin before the message, or at padding
_FACTOR = 0x01000193  # of the hash of Fowler, Noll and Vo
_MIX = 0x2C1B3C6D

Batches = Iterable[tuple[NDArray[np.int32], NDArray[np.float32]]]  # token ids (n, t), labels (n,)


@keras.saving.register_keras_serializable("spam_detector")
class Ngrams(layers.Layer):  # type: ignore[misc] # Keras has no types
    """(n, t) token ids to (n, t, ORDERS + 1) int32: hashes of the n-grams and the word ending there, or NONE.

    What differs in case alone is one. A word is a run of ASCII letters and digits, or of other signs, however
    the tokenizer cut it, but that a token with any such sign is one of signs. Integer arithmetic and one
    gather: it runs in the network.
    """

    def __init__(self, vocabulary_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size

    def build(self, shape: Sequence[int | None]) -> None:
        how = {"initializer": "zeros", "dtype": "int32", "trainable": False}
        self.spelt = self.add_weight((self.vocabulary_size, len(_spelt("x"))), name="spelt", **how)

    def fold(self, tokens: Sequence[str]) -> None:
        """Takes the spelling of each token id."""
        self.spelt.assign(
            np.array([_spelt(token.translate(SMALL)) for token in tokens], np.uint32).view(np.int32)
        )

    def call(self, token_ids: keras.KerasTensor) -> keras.KerasTensor:
        real = ops.not_equal(token_ids, 0)
        folded, letters, growth, begins, kind = ops.unstack(
            ops.take(self.spelt, token_ids, axis=0), 5, axis=-1
        )
        hashed, found = ops.zeros_like(folded), []
        for back in range(ORDERS):
            hashed = hashed * _FACTOR + _later(folded, back) + back
            found.append(ops.where(ops.logical_and(real, _later(real, back)), _mixed(hashed), NONE))

        first = ops.logical_or(begins > 0, ops.not_equal(kind, _later(kind, 1)))  # token of its word
        last = ops.logical_or(_sooner(first), ops.logical_not(_sooner(real)))
        within, word, scale = real, ops.zeros_like(letters), ops.ones_like(letters)
        for back in range(LONGEST):
            word = word + ops.where(within, _later(letters, back) * scale, 0)
            scale = scale * _later(growth, back)
            within = ops.logical_and(within, ops.logical_not(_later(first, back)))
        found.append(ops.where(ops.logical_and(real, last), _mixed(word), NONE))
        return ops.stack(found, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"vocabulary_size": self.vocabulary_size}


@keras.saving.register_keras_serializable("spam_detector")
class Shape(layers.Layer):  # type: ignore[misc]
    """(n, t) token ids to (n, KINDS): logarithms of one more than the characters of each kind.

    No edit of its letters changes how many digits and capitals a message has, or how long it is.
    """

    def __init__(self, vocabulary_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size

    def build(self, shape: Sequence[int | None]) -> None:
        how = {"initializer": "zeros", "trainable": False}
        self.counts = self.add_weight((self.vocabulary_size, len(KINDS)), name="counts", **how)

    def fold(self, tokens: Sequence[str]) -> None:
        """Takes the spelling of each token id, but of the first two: padding and start have no shape."""
        counted = [[sum(letter in kind for letter in token) for kind in KINDS] for token in tokens]
        self.counts.assign(np.array([[0] * len(KINDS)] * 2 + counted[2:], np.float32))

    def call(self, token_ids: keras.KerasTensor) -> keras.KerasTensor:
        return ops.log1p(ops.sum(ops.take(self.counts, token_ids, axis=0), axis=1))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"vocabulary_size": self.vocabulary_size}


@keras.saving.register_keras_serializable("spam_detector")
class Wide(layers.Layer):  # type: ignore[misc]
    """(n, t, ORDERS + 1) n-grams and words, and (n, KINDS) shapes, to (n, 1) logits.

    A linear model of TF-IDF, each of VIEWS scaled to length one, and of the shape. Gradients leave it alone;
    `fit` finds its weights.
    """

    def build(self, ngrams_shape: Sequence[int | None], shape_shape: Sequence[int | None]) -> None:
        how = {"initializer": "zeros", "trainable": False}
        self.of_kind = self.add_weight((len(KINDS), 1), name="of_kind", **how)
        self.idf = self.add_weight((BUCKETS,), name="idf", **how)
        self.coefficient = self.add_weight((BUCKETS,), name="coefficient", **how)
        self.intercept = self.add_weight((1,), name="intercept", **how)

    def call(self, ngrams: keras.KerasTensor, shape: keras.KerasTensor) -> keras.KerasTensor:
        bucket = ngrams % BUCKETS
        idf = ops.take(self.idf, bucket) * ops.cast(ops.not_equal(ngrams, NONE), "float32")
        evidence, square = idf * ops.take(self.coefficient, bucket), idf * idf
        logit = sum(
            ops.sum(evidence[:, :, view], axis=(1, 2))
            / ops.sqrt(ops.sum(square[:, :, view], axis=(1, 2)) + 1e-9)
            for view in VIEWS
        )
        return ops.expand_dims(logit, -1) + shape @ self.of_kind + self.intercept


@keras.saving.register_keras_serializable("spam_detector")
class Blend(layers.Layer):  # type: ignore[misc]
    """The mean of two logits, `share` of it the wide path's once that is fitted; till then the deep one's.

    The wide path has no error left on the rows that it was fitted on, so beside it the deep one would learn
    nothing; and it is judged alone, so that its best epoch is its own.
    """

    def __init__(self, share: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.share = share

    def build(self, wide_shape: Sequence[int | None], deep_shape: Sequence[int | None]) -> None:
        self.fitted = self.add_weight((), initializer="zeros", trainable=False, name="fitted")  # 0 or 1

    def call(self, wide: keras.KerasTensor, deep: keras.KerasTensor) -> keras.KerasTensor:
        return deep + self.share * self.fitted * (wide - deep)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"share": self.share}


def fit(model: keras.Model, batches: Batches) -> None:
    """Finds the weights of the model's wide path, if it has one: logistic regression.

    Source: Cheng and others 2016, Wide & Deep Learning; Weinberger and others 2009, Feature Hashing.
    """
    kinds = Ngrams, Shape, Wide, Blend
    own = [layer for kind in kinds for layer in model.layers if isinstance(layer, kind)]
    if len(own) < len(kinds):
        return
    ngrams, shape, wide, blend = own
    counts, shapes, labels = zip(
        *((_counts(ngrams(ids)), ops.convert_to_numpy(shape(ids)), labels) for ids, labels in batches),
        strict=True,
    )
    views = [sparse.vstack(of_view, "csr") for of_view in zip(*counts, strict=True)]
    kind, spam = np.concatenate(shapes), np.concatenate(labels) > 0
    messages = sum(np.bincount(view.indices, minlength=BUCKETS) for view in views)
    idf = np.log((1 + len(spam)) / (1 + messages)) + 1
    mean, scale = kind.mean(axis=0), SHAPE / (kind.std(axis=0) + 1e-9)
    features = sparse.hstack([sum(_tfidf(view, idf) for view in views), (kind - mean) * scale], "csr")
    fitted = LogisticRegression(C=COST, max_iter=1000).fit(features, spam)
    of_bucket, of_kind = np.split(fitted.coef_[0], [BUCKETS])
    wide.idf.assign(idf)
    wide.coefficient.assign(of_bucket)
    wide.of_kind.assign((of_kind * scale)[:, None])
    wide.intercept.assign(fitted.intercept_ - mean @ (of_kind * scale))
    blend.fitted.assign(1)


def _counts(ngrams: keras.KerasTensor) -> list[sparse.csr_array]:
    """Of each of VIEWS, (n, BUCKETS): how often each message has what was found in it."""
    found = ops.convert_to_numpy(ngrams)
    return [_counted(found[:, :, view]) for view in VIEWS]


def _counted(found: NDArray[np.int32]) -> sparse.csr_array:
    rows, *_ = np.nonzero(found != NONE)
    buckets = found[found != NONE] % BUCKETS
    counts = sparse.coo_array((np.ones(len(rows)), (rows, buckets)), (len(found), BUCKETS)).tocsr()
    counts.sum_duplicates()
    return counts


def _tfidf(counts: sparse.csr_array, idf: NDArray[np.float64]) -> sparse.csr_array:
    """Each row over the length that it would have if no n-gram came twice, as the network has it."""
    length = np.sqrt(counts @ idf**2 + 1e-9)
    return sparse.diags_array(1 / length) @ counts @ sparse.diags_array(idf)


def _spelt(token: str) -> tuple[int, int, int, int, int]:
    """Of a token, modulo 2^32: its hash, its letters as the digits of a number, the base to their count,

    whether a word begins with it, and whether it is of letters and digits.
    """
    digest = hashlib.blake2b(token.encode(), digest_size=4).digest()
    word, letters = token.removeprefix(SPACE), 0
    for letter in word:
        letters = (letters * _FACTOR + ord(letter)) % 2**32
    plain = word.isascii() and word.isalnum()
    return int.from_bytes(digest, "big"), letters, pow(_FACTOR, len(word), 2**32), word != token, plain


def _mixed(hashed: keras.KerasTensor) -> keras.KerasTensor:
    """Hashes whose low bits depend on all of them, 0 or more."""
    mixed = ops.bitwise_xor(hashed, ops.bitwise_right_shift(hashed, 15)) * _MIX
    return ops.bitwise_and(ops.bitwise_xor(mixed, ops.bitwise_right_shift(mixed, 13)), 0x7FFFFFFF)


def _later(columns: keras.KerasTensor, by: int) -> keras.KerasTensor:
    """(n, t), moved to the right, with zeros on the left."""
    return ops.pad(columns, [[0, 0], [by, 0]])[:, : ops.shape(columns)[1]] if by else columns


def _sooner(columns: keras.KerasTensor) -> keras.KerasTensor:
    """(n, t), moved to the left by one, with zeros on the right."""
    return ops.pad(columns[:, 1:], [[0, 0], [0, 1]])
