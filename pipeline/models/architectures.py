"""The networks: each builds an untrained Keras model."""

import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
import keras
from keras import layers, ops
from pipeline.models import wide

PAD = 0  # the token id that fills a batch on the right; no message has it
STEPS = 4  # that are pooled into one for the recurrence, which takes longest
NGRAM_ROWS = 1 << 14  # of the embedding of n-grams, which share rows by their hash


@dataclass(frozen=True)
class Size:
    """What the builders can be told; each uses what it has a use for."""

    tokens: Sequence[str]  # how each token id is spelt
    embedding_dim: int
    units: int  # of a recurrent layer, in each direction
    dropout: float  # share of inputs, in [0, 1)
    token_dropout: float  # share of tokens, in [0, 1)
    wide_share: float  # of the logit, in [0, 1]: the wide path's

    @property
    def vocabulary_size(self) -> int:
        return len(self.tokens)


Builder = Callable[[Size], keras.Model]  # of a network from (n, t) token ids to (n, 1) P(spam)


def bilstm_article(size: Size) -> keras.Model:
    """The article's network: embedding, bidirectional LSTM, 16 ReLU, sigmoid.

    Source: "Neural Networks with Memory"; Schuster and Paliwal 1997; Hochreiter and Schmidhuber 1997.
    """
    tokens, embedded = _embedding(size)
    state = layers.Bidirectional(layers.LSTM(size.units))(embedded)  # (n, 2 * units)
    return keras.Model(tokens, _head(state), name="bilstm_article")


def bilstm(size: Size) -> keras.Model:
    """Ours: a wide path of n-grams, words and shape beside a deep one, which pools all of its states.

    A word's neighbours are in the n-grams that end with it, which a convolution widens; a spam's few telling
    words survive max pooling however far from the end they stand. Whole tokens are dropped in training, so
    that no one word decides.
    """
    tokens = layers.Input((None,), dtype="int32", name="token_ids")
    real = ops.not_equal(tokens, PAD)  # (n, t)
    weight = ops.expand_dims(ops.cast(real, "float32"), -1)  # (n, t, 1)
    reader = wide.Ngrams(size.vocabulary_size)
    counter = wide.Shape(size.vocabulary_size)
    ngrams, shape = reader(tokens), counter(tokens)  # (n, t, orders), (n, kinds)
    for layer in (reader, counter):
        layer.fold(size.tokens)

    of_ngrams = layers.Embedding(NGRAM_ROWS, size.embedding_dim)(ngrams % NGRAM_ROWS)
    embedded = layers.Embedding(size.vocabulary_size, size.embedding_dim)(tokens) + ops.sum(of_ngrams, axis=2)
    embedded = layers.Dropout(size.dropout)(embedded * weight)
    embedded = layers.Dropout(size.token_dropout, noise_shape=(None, None, 1))(embedded)
    shapes = layers.Conv1D(size.embedding_dim, 3, padding="same", activation="relu")(embedded)
    inputs = layers.Concatenate()([embedded, shapes])  # (n, t, 2 * embedding_dim)

    inputs, weight = (ops.pad(part, [[0, 0], [0, STEPS - 1], [0, 0]]) for part in (inputs, weight))
    fewer = layers.MaxPooling1D(STEPS)  # counted from the left, however wide the padding is
    inputs, weight = fewer(inputs - (1 - weight) * 1e3), fewer(weight)  # (n, ceil(t / STEPS), ...)
    lstm = layers.LSTM(size.units, return_sequences=True)
    states = layers.Bidirectional(lstm)(inputs * weight, mask=weight[:, :, 0] > 0)  # (n, ..., 2 * units)
    largest = ops.max(states - (1 - weight) * 1e9, axis=1)
    mean = ops.sum(states * weight, axis=1) / ops.sum(weight, axis=1)
    pooled = layers.Dropout(size.dropout)(layers.Concatenate()([largest, mean]))  # (n, 4 * units)

    deep = layers.Dense(1, name="deep")(layers.Dense(16, activation="relu")(pooled))
    logit = wide.Blend(size.wide_share)(wide.Wide(name="wide")(ngrams, shape), deep)
    return keras.Model(tokens, layers.Activation("sigmoid", name="probability")(logit), name="bilstm")


def lstm(size: Size) -> keras.Model:
    """The article's network, reading left to right only."""
    tokens, embedded = _embedding(size)
    return keras.Model(tokens, _head(layers.LSTM(size.units)(embedded)), name="lstm")


def rnn(size: Size) -> keras.Model:
    """A plain recurrent network: the article's first, whose memory fades."""
    tokens, embedded = _embedding(size)
    return keras.Model(tokens, _head(layers.SimpleRNN(size.units)(embedded)), name="rnn")


def dense(size: Size) -> keras.Model:
    """The article's feed-forward network: no memory, the mean of the embedded tokens."""
    tokens, embedded = _embedding(size)
    return keras.Model(tokens, _head(layers.GlobalAveragePooling1D()(embedded)), name="dense")


MODELS: dict[str, Builder] = {
    "bilstm_article": bilstm_article,
    "bilstm": bilstm,
    "lstm": lstm,
    "rnn": rnn,
    "dense": dense,
}


def _embedding(size: Size) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    tokens = layers.Input((None,), dtype="int32", name="token_ids")
    return tokens, layers.Embedding(size.vocabulary_size, size.embedding_dim, mask_zero=True)(tokens)


def _head(features: keras.KerasTensor) -> keras.KerasTensor:
    hidden = layers.Dense(16, activation="relu")(features)
    return layers.Dense(1, activation="sigmoid", name="probability")(hidden)
