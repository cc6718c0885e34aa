"""The wide path of a network: hashed n-grams of sub-words, weighed as a convex problem has it."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression

ORDERS = 3  # an n-gram has one, two or three sub-words
BUCKETS = 1 << 17  # that n-grams are hashed into; with half as many more of them collide than help
COST = 50.0  # of an error against the size of the weights: scikit-learn's C
NONE = -1  # where an n-gram would begin before the message, or at padding
_FACTOR = 0x01000193  # of the hash of Fowler, Noll and Vo
_MIX = 0x2C1B3C6D

Batches = Iterable[tuple[NDArray[np.int32], NDArray[np.float32]]]  # token ids (n, t), labels (n,)


@keras.saving.register_keras_serializable("spam_detector")
class Ngrams(layers.Layer):  # type: ignore[misc] # Keras has no types
    """(n, t) token ids to (n, t, ORDERS) int32: the hash of each n-gram that ends there, or NONE.

    Sub-words that differ in case alone are one. Integer arithmetic and one gather: it runs in the network.
    """

    def __init__(self, vocabulary_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size

    def build(self, shape: Sequence[int | None]) -> None:
        how = {"initializer": "zeros", "dtype": "int32", "trainable": False}
        self.folded = self.add_weight((self.vocabulary_size,), name="folded", **how)

    def fold(self, tokens: Sequence[str]) -> None:
        """Takes the spelling of each token id."""
        digests = (hashlib.blake2b(token.casefold().encode(), digest_size=4) for token in tokens)
        self.folded.assign(
            np.array([int.from_bytes(d.digest(), "big", signed=True) for d in digests], np.int32)
        )

    def call(self, token_ids: keras.KerasTensor) -> keras.KerasTensor:
        real = ops.not_equal(token_ids, 0)
        folded = ops.take(self.folded, token_ids)
        hashed, found = ops.zeros_like(folded), []
        for back in range(ORDERS):
            hashed = hashed * _FACTOR + _later(folded, back) + back
            mixed = ops.bitwise_xor(hashed, ops.bitwise_right_shift(hashed, 15)) * _MIX
            mixed = ops.bitwise_and(ops.bitwise_xor(mixed, ops.bitwise_right_shift(mixed, 13)), 0x7FFFFFFF)
            begins = ops.logical_and(real, _later(real, back))
            found.append(ops.where(begins, mixed, NONE))
        return ops.stack(found, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"vocabulary_size": self.vocabulary_size}


@keras.saving.register_keras_serializable("spam_detector")
class Wide(layers.Layer):  # type: ignore[misc]
    """(n, t, ORDERS) n-grams to (n, 1) logits: a linear model of their TF-IDF, scaled to length one.

    Gradients leave it alone; `fit` finds its weights.
    """

    def build(self, shape: Sequence[int | None]) -> None:
        how = {"initializer": "zeros", "trainable": False}
        self.idf = self.add_weight((BUCKETS,), name="idf", **how)
        self.coefficient = self.add_weight((BUCKETS,), name="coefficient", **how)
        self.intercept = self.add_weight((1,), name="intercept", **how)

    def call(self, ngrams: keras.KerasTensor) -> keras.KerasTensor:
        bucket = ngrams % BUCKETS
        idf = ops.take(self.idf, bucket) * ops.cast(ops.not_equal(ngrams, NONE), "float32")
        evidence = ops.sum(idf * ops.take(self.coefficient, bucket), axis=(1, 2))
        length = ops.sqrt(ops.sum(idf * idf, axis=(1, 2)) + 1e-9)
        return ops.expand_dims(evidence / length, -1) + self.intercept


@keras.saving.register_keras_serializable("spam_detector")
class Blend(layers.Layer):  # type: ignore[misc]
    """The mean of two logits, `share` of it the wide path's; in training the deep path stands alone.

    The wide path has no error left on the rows that it was fitted on, so beside it the deep one would learn
    nothing.
    """

    def __init__(self, share: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.share = share

    def call(
        self, wide: keras.KerasTensor, deep: keras.KerasTensor, training: bool = False
    ) -> keras.KerasTensor:
        return deep if training else self.share * wide + (1 - self.share) * deep

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"share": self.share}


def fit(model: keras.Model, batches: Batches) -> None:
    """Finds the weights of the model's wide path, if it has one: logistic regression.

    Source: Cheng and others 2016, Wide & Deep Learning; Weinberger and others 2009, Feature Hashing.
    """
    own = [layer for kind in (Ngrams, Wide) for layer in model.layers if isinstance(layer, kind)]
    if len(own) < 2:
        return
    ngrams, wide = own
    counted, labels = zip(
        *((_counts(ngrams(token_ids)), labels) for token_ids, labels in batches), strict=True
    )
    counts, spam = sparse.vstack(counted, "csr"), np.concatenate(labels) > 0
    messages = np.bincount(counts.indices, minlength=BUCKETS)
    idf = np.log((1 + counts.shape[0]) / (1 + messages)) + 1
    length = np.sqrt(counts @ idf**2)
    features = sparse.diags_array(1 / length) @ counts @ sparse.diags_array(idf)
    found = LogisticRegression(C=COST, max_iter=1000).fit(features.tocsr(), spam)
    wide.idf.assign(idf)
    wide.coefficient.assign(found.coef_[0])
    wide.intercept.assign(found.intercept_)


def _counts(ngrams: Any) -> sparse.csr_array:
    """(n, BUCKETS): how often each message has each n-gram."""
    found = ops.convert_to_numpy(ngrams)
    rows, *_ = np.nonzero(found != NONE)
    buckets = found[found != NONE] % BUCKETS
    counts = sparse.coo_array((np.ones(len(rows)), (rows, buckets)), (len(found), BUCKETS)).tocsr()
    counts.sum_duplicates()
    return counts


def _later(columns: keras.KerasTensor, by: int) -> keras.KerasTensor:
    """(n, t), moved to the right, with zeros on the left."""
    return ops.pad(columns, [[0, 0], [by, 0]])[:, : ops.shape(columns)[1]] if by else columns
