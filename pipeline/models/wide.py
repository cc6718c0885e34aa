"""The wide path of a network: a linear SVM on n-grams, words and counts of characters.

Source: Cheng and others 2016, Wide & Deep Learning; Weinberger and others 2009, Feature Hashing;
Cortes and Vapnik 1995, Support-Vector Networks.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray
from scipy import sparse
from sklearn.svm import LinearSVC
from sklearn.utils.sparsefuncs import inplace_csr_column_scale, inplace_csr_row_scale

from pipeline.models.batches import Batch
from pipeline.models.wide_features import (
    CHARACTER_KINDS,
    FEATURES,
    NO_FEATURE,
    ORDERS,
    Ngrams,
    Shape,
)

VIEWS = (slice(0, ORDERS), slice(ORDERS, FEATURES))  # n-grams and words, of equal weight
BUCKETS = 1 << 22  # of the hashed features; with fewer, collisions cost accuracy
BUCKET_DTYPE = "float16"  # of what is stored for a bucket: half the size, and as accurate
SHAPE_SCALE = 0.05  # standard deviation of a shape feature; TF-IDF rows have length 1
INVERSE_REGULARIZATION = 1.0  # scikit-learn's C
TOLERANCE = 0.1  # of the solver, liblinear's own default; scikit-learn's 1e-4 only takes longer
LEAST_SQUARE = 1e-9  # added to a squared length, which may be 0
MARGIN_LOGIT = 4.0  # the logit of a message on the margin, beside those of the deep path


@keras.saving.register_keras_serializable("spam_detector")
class Wide(layers.Layer):  # type: ignore[misc] # Keras has no types
    """A linear model of the TF-IDF of each view, divided by its norm, and of the shape.

    Input: (n, t, FEATURES) hashes of Ngrams, and (n, kinds) counts of Shape.
    Output: (n, 1) logits.

    Gradients do not change it; `fit_wide_layers` finds its weights.

    Args:
        length_exponent: of a norm relative to the typical one; see `_norms`.
    """

    def __init__(self, length_exponent: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length_exponent = length_exponent

    def build(self, ngrams_shape: Sequence[int | None], shape_shape: Sequence[int | None]) -> None:
        """Adds the weights of the linear model."""
        self.of_kind = self._add_zeros((len(CHARACTER_KINDS), 1), "of_kind")
        self.idf = self._add_zeros((BUCKETS,), "idf", BUCKET_DTYPE)
        self.coefficient = self._add_zeros((BUCKETS,), "coefficient", BUCKET_DTYPE)
        self.intercept = self._add_zeros((1,), "intercept")
        self.typical_length = self.add_weight(
            (len(VIEWS),), initializer="ones", trainable=False, name="typical_length"
        )

    def _add_zeros(
        self, shape: tuple[int, ...], name: str, dtype: str = "float32"
    ) -> keras.Variable:
        options = {"initializer": "zeros", "trainable": False, "autocast": False}
        return self.add_weight(shape, name=name, dtype=dtype, **options)

    def call(self, ngrams: keras.KerasTensor, shape: keras.KerasTensor) -> keras.KerasTensor:
        """The logits."""
        bucket = ngrams % BUCKETS
        real = ops.cast(ops.not_equal(ngrams, NO_FEATURE), "float32")
        idf = ops.cast(ops.take(self.idf, bucket), "float32") * real
        evidence = idf * ops.cast(ops.take(self.coefficient, bucket), "float32")
        square = idf * idf
        logit = sum(
            ops.sum(evidence[:, :, view], axis=(1, 2))
            / _norms(ops.sum(square[:, :, view], axis=(1, 2)), typical_length, self.length_exponent)
            for view, typical_length in zip(VIEWS, ops.unstack(self.typical_length), strict=True)
        )
        return ops.expand_dims(logit, -1) + shape @ self.of_kind + self.intercept

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"length_exponent": self.length_exponent}


@keras.saving.register_keras_serializable("spam_detector")
class Blend(layers.Layer):  # type: ignore[misc]
    """The weighted mean of two logits; before the wide path is fitted, the deep path's logit alone.

    The fitted wide path makes no error on its own rows, so the deep path would learn nothing
    beside it. It is therefore trained, and its best epoch chosen, alone.

    Input: (n, 1) logits of the wide and of the deep path. Output: (n, 1) logits.

    Args:
        share: weight of the wide path, in [0, 1].
    """

    def __init__(self, share: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.share = share

    def build(self, wide_shape: Sequence[int | None], deep_shape: Sequence[int | None]) -> None:
        """Adds the switch: 0 before the wide path is fitted, then 1."""
        self.fitted = self.add_weight((), initializer="zeros", trainable=False, name="fitted")

    def call(self, wide: keras.KerasTensor, deep: keras.KerasTensor) -> keras.KerasTensor:
        """The blended logits."""
        return deep + self.share * self.fitted * (wide - deep)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"share": self.share}


# By the names under which Keras files know them.
CUSTOM_LAYERS = {f"spam_detector>{layer.__name__}": layer for layer in (Ngrams, Shape, Wide, Blend)}


def deep_path(model: keras.Model) -> keras.Model:
    """The network with the deep path alone, of the same layers; without a wide path, the network.

    Its probabilities are those of the network before the wide path is fitted.
    """
    blend = _layer_of(model, Blend)
    if blend is None:
        return model
    _, deep_logit = blend.input
    return keras.Model(model.input, layers.Activation("sigmoid")(deep_logit))


def fit_wide_layers(
    model: keras.Model, messages: Iterable[Batch], copies: Iterable[Batch] = ()
) -> None:
    """Fits the wide path in place; a network without one stays as it is.

    Its weights are the mean of those of two linear SVMs: the one of the messages alone ranks clean
    messages better, the one of the messages and their edited copies withstands edits.
    """
    wide_layers = [_layer_of(model, kind) for kind in CUSTOM_LAYERS.values()]
    if None in wide_layers:
        return
    ngrams, shape, wide, blend = wide_layers
    messages = list(messages)
    count = sum(len(targets) for _, targets in messages)
    views, kinds, spam = _features(ngrams, shape, chain(messages, copies))

    documents = sum(np.bincount(view.indices, minlength=BUCKETS) for view in views)
    exact = np.log((1 + len(spam)) / (1 + documents)) + 1
    idf = exact.astype(BUCKET_DTYPE).astype(np.float64)
    mean = kinds.mean(axis=0)
    scale = SHAPE_SCALE / (kinds.std(axis=0) + 1e-9)
    squares = [view @ idf**2 for view in views]
    typical_lengths = [np.median(np.sqrt(square + LEAST_SQUARE)) for square in squares]
    tfidf = sum(
        _tfidf(view, idf, _norms(square, length, wide.length_exponent))
        for view, square, length in zip(views, squares, typical_lengths, strict=True)
    )
    features = sparse.hstack([tfidf, (kinds - mean) * scale], "csr")
    fits = [_fitted_svm(features[:rows], spam[:rows]) for rows in sorted({count, len(spam)})]

    coefficient, intercept = (
        MARGIN_LOGIT * sum(parts) / len(fits) for parts in zip(*fits, strict=True)
    )
    of_bucket, of_kind = np.split(coefficient, [BUCKETS])
    wide.idf.assign(idf)
    wide.typical_length.assign(typical_lengths)
    wide.coefficient.assign(of_bucket)
    wide.of_kind.assign((of_kind * scale)[:, None])
    wide.intercept.assign(intercept - mean @ (of_kind * scale))
    blend.fitted.assign(1)


def _fitted_svm(
    features: sparse.csr_array, spam: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The coefficients and the intercept."""
    fitted = LinearSVC(C=INVERSE_REGULARIZATION, tol=TOLERANCE, random_state=0).fit(features, spam)
    return fitted.coef_[0], fitted.intercept_


def _layer_of(model: keras.Model, kind: type) -> Any:
    return next((layer for layer in model.layers if isinstance(layer, kind)), None)


def _features(
    ngrams: Ngrams, shape: Shape, batches: Iterable[Batch]
) -> tuple[list[sparse.csr_array], NDArray[np.float32], NDArray[np.bool_]]:
    """Of all n messages: counts (n, BUCKETS) for each view, shapes (n, kinds), spam (n,)."""
    features = keras.Model(ngrams.input, [ngrams.output, shape.output])
    counts: list[list[sparse.csr_array]] = []
    shapes, labels = [], []
    for token_ids, targets in batches:
        hashes, kinds = features.predict_on_batch(token_ids)  # compiled
        counts.append([_count_matrix(hashes[:, :, view]) for view in VIEWS])
        shapes.append(kinds)
        labels.append(targets)
    views = [sparse.vstack(parts, "csr") for parts in zip(*counts, strict=True)]
    return views, np.concatenate(shapes), np.concatenate(labels) > 0


def _count_matrix(hashes: NDArray[np.int32]) -> sparse.csr_array:
    """(n, BUCKETS): how often each message has each feature; `hashes` is (n, t, features)."""
    real = hashes != NO_FEATURE
    ends = np.cumsum(np.count_nonzero(real, axis=(1, 2)), dtype=np.int32)
    buckets = hashes[real] % BUCKETS  # in the order of the messages
    parts = (np.ones(len(buckets)), buckets, np.append(np.int32(0), ends))
    counts = sparse.csr_array(parts, (len(hashes), BUCKETS))
    counts.sum_duplicates()
    return counts


def _tfidf(
    counts: sparse.csr_array, idf: NDArray[np.float64], norms: NDArray[np.float64]
) -> sparse.csr_array:
    """(n, BUCKETS)"""
    scaled = counts.copy()
    inplace_csr_row_scale(scaled, 1 / norms)
    inplace_csr_column_scale(scaled, idf)
    return scaled


def _norms(square: Any, typical_length: Any, exponent: float) -> Any:
    """(n,): what the TF-IDF of each message is divided by, in NumPy or Keras.

    It is typical_length * (length / typical_length) ** exponent. With an exponent of 1 all messages
    have length 1. With a smaller one, long messages have more; with a larger one, less.

    Args:
        square: (n,), squares of the lengths, in which every occurrence counts as a feature.
        typical_length: the median length.
    """
    return (square + LEAST_SQUARE) ** (exponent / 2) * typical_length ** (1 - exponent)
