"""The networks: each function builds an untrained Keras model.

To add one, write a function and add it to MODELS.
"""

from collections.abc import Callable, Sequence

import keras
from keras import layers, ops
from pydantic import Field, field_validator

from pipeline.core.params import ParamsSection, choose
from pipeline.models import wide, wide_features
from pipeline.models.batches import PAD_ID
from pipeline.models.dnc import DNCCell

POOLED_STEPS = 4  # token positions pooled into one before the LSTM, the slowest part
NGRAM_ROWS = 1 << 14  # of the embedding of n-grams, shared by n-grams of equal hash


class NetworkParams(ParamsSection):
    """The hyperparameters of a network; each architecture uses those that it has.

    `search` is the range from which `python -m pipeline tune` draws.
    """

    model: str = Field(description="architecture, a name of MODELS in models/architectures.py")
    embedding_dim: int = Field(
        ge=1,
        description="size of a token's embedding",
        json_schema_extra={"search": {"low": 16, "high": 64, "step": 16}},
    )
    units: int = Field(
        ge=1,
        description="units of the recurrent layer, in each direction",
        json_schema_extra={"search": {"low": 16, "high": 64, "step": 16}},
    )
    dropout: float = Field(
        ge=0,
        lt=1,
        description="share of inputs that is dropped in training",
        json_schema_extra={"search": {"low": 0.0, "high": 0.7, "step": 0.1}},
    )
    token_dropout: float = Field(
        ge=0,
        lt=1,
        description="share of tokens that is dropped in training",
        json_schema_extra={"search": {"low": 0.0, "high": 0.5, "step": 0.1}},
    )
    wide_share: float = Field(
        ge=0,
        le=1,
        description="weight of the wide path in the logit; the deep path has the rest",
        json_schema_extra={"search": {"low": 0.0, "high": 1.0, "step": 0.1}},
    )
    length_exponent: float = Field(
        ge=0,
        le=2,
        description="of a message's length in the wide path: 1 makes all messages equally long, "
        "with less long ones weigh more",
        json_schema_extra={"search": {"low": 0.4, "high": 1.6, "step": 0.2}},
    )
    memory_rows: int = Field(
        ge=1,
        le=1024,
        description="rows of the memory of dnc; the time of a step grows with their square",
    )
    memory_width: int = Field(
        ge=1,
        le=1024,
        description="numbers in a row of the memory of dnc",
    )
    read_heads: int = Field(
        ge=1,
        le=16,
        description="rows of the memory that dnc reads at each token",
    )

    @field_validator("model")
    @classmethod
    def _is_known(cls, name: str) -> str:
        choose(MODELS, name, "params.yaml: train.model")
        return name


Tokens = Sequence[str]  # the vocabulary, in the order of the token ids
Builder = Callable[[Tokens, NetworkParams], keras.Model]  # (n, t) token ids to (n, 1) P(spam)


def build_network(tokens: Tokens, params: NetworkParams) -> keras.Model:
    """The untrained network of these params: (n, t) int32 token ids to (n, 1) probabilities."""
    return MODELS[params.model](tokens, params)


def bilstm_article(tokens: Tokens, params: NetworkParams) -> keras.Model:
    """The article's network: embedding, bidirectional LSTM, 16 ReLU, sigmoid.

    Source: "Neural Networks with Memory"; Hochreiter and Schmidhuber 1997 (LSTM); Schuster and
    Paliwal 1997 (bidirectional).
    """
    token_ids, embedded = _embedding(tokens, params)
    state = layers.Bidirectional(layers.LSTM(params.units))(embedded)  # (n, 2 * units)
    return keras.Model(token_ids, _head(state), name="bilstm_article")


def bilstm(tokens: Tokens, params: NetworkParams) -> keras.Model:
    """Our network: a bidirectional LSTM (deep path) beside a linear model of n-grams (wide path).

    The deep path also sees a word's neighbours, through n-grams and a convolution, and pools all
    of its states, so that a word far from the end counts as much as the last. Dropping whole
    tokens in training keeps a single word from deciding.
    """
    token_ids = layers.Input((None,), dtype="int32", name="token_ids")
    real = ops.not_equal(token_ids, PAD_ID)  # (n, t)
    weight = ops.expand_dims(ops.cast(real, "float32"), -1)  # (n, t, 1), 0 at padding
    ngram_layer = wide_features.Ngrams(len(tokens))
    shape_layer = wide_features.Shape(len(tokens))
    ngrams = ngram_layer(token_ids)  # (n, t, orders)
    shape = shape_layer(token_ids)  # (n, kinds)
    ngram_layer.set_tokens(tokens)
    shape_layer.set_tokens(tokens)

    inputs = _embedding_with_neighbours(token_ids, ngrams, weight, len(tokens), params)
    pooled = _pooled_states(inputs, weight, params)  # (n, 4 * units)
    output = layers.Dense(1, name="deep")  # made before the hidden layer: seeds are drawn in order
    deep_logit = output(layers.Dense(16, activation="relu")(pooled))
    wide_logit = wide.Wide(params.length_exponent, name="wide")(ngrams, shape)
    logit = wide.Blend(params.wide_share)(wide_logit, deep_logit)
    probability = layers.Activation("sigmoid", name="probability")(logit)
    return keras.Model(token_ids, probability, name="bilstm")


def lstm(tokens: Tokens, params: NetworkParams) -> keras.Model:
    """The article's network with one LSTM, from left to right."""
    token_ids, embedded = _embedding(tokens, params)
    return keras.Model(token_ids, _head(layers.LSTM(params.units)(embedded)), name="lstm")


def rnn(tokens: Tokens, params: NetworkParams) -> keras.Model:
    """The article's first network: a plain recurrent layer, which forgets early tokens."""
    token_ids, embedded = _embedding(tokens, params)
    return keras.Model(token_ids, _head(layers.SimpleRNN(params.units)(embedded)), name="rnn")


def dense(tokens: Tokens, params: NetworkParams) -> keras.Model:
    """The article's feed-forward network: the mean of the embedded tokens, in any order."""
    token_ids, embedded = _embedding(tokens, params)
    return keras.Model(token_ids, _head(layers.GlobalAveragePooling1D()(embedded)), name="dense")


def neuron(tokens: Tokens, params: NetworkParams) -> keras.Model:
    """The article's first figure: one sigmoid neuron, on the mean of the embedded tokens."""
    token_ids, embedded = _embedding(tokens, params)
    output = layers.Dense(1, activation="sigmoid", name="probability")
    return keras.Model(token_ids, output(layers.GlobalAveragePooling1D()(embedded)), name="neuron")


def dnc(tokens: Tokens, params: NetworkParams) -> keras.Model:
    """What the article names last: a differentiable neural computer, an LSTM with a memory.

    It reads every token, from left to right, as the article's networks do; the head sees its
    output at the last. A training step takes five to eight times that of `bilstm_article`.

    Source: Graves and others 2016, Hybrid computing using a neural network with dynamic external
    memory.
    """
    token_ids, embedded = _embedding(tokens, params)
    cell = DNCCell(
        units=params.units,
        memory_rows=params.memory_rows,
        memory_width=params.memory_width,
        read_heads=params.read_heads,
        output_size=params.units,
    )
    return keras.Model(token_ids, _head(layers.RNN(cell)(embedded)), name="dnc")


MODELS: dict[str, Builder] = {
    "bilstm_article": bilstm_article,
    "bilstm": bilstm,
    "lstm": lstm,
    "rnn": rnn,
    "dense": dense,
    "neuron": neuron,
    "dnc": dnc,
}


def _embedding(
    tokens: Tokens, params: NetworkParams
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input (n, t), and its embedding (n, t, embedding_dim), which masks padding."""
    token_ids = layers.Input((None,), dtype="int32", name="token_ids")
    embedding = layers.Embedding(len(tokens), params.embedding_dim, mask_zero=True)
    return token_ids, embedding(token_ids)


def _embedding_with_neighbours(
    token_ids: keras.KerasTensor,
    ngrams: keras.KerasTensor,
    weight: keras.KerasTensor,
    vocabulary_size: int,
    params: NetworkParams,
) -> keras.KerasTensor:
    """(n, t, 2 * embedding_dim): tokens and their n-grams embedded, and a convolution of them."""
    of_ngram = layers.Embedding(NGRAM_ROWS, params.embedding_dim)
    embedded = layers.Embedding(vocabulary_size, params.embedding_dim)(token_ids)
    for order in range(wide_features.FEATURES):  # one by one, as (n, t, orders, dim) is large
        embedded = embedded + of_ngram(ngrams[:, :, order] % NGRAM_ROWS)
    embedded = layers.Dropout(params.dropout)(embedded * weight)
    embedded = layers.Dropout(params.token_dropout, noise_shape=(None, None, 1))(embedded)
    convolution = layers.Conv1D(params.embedding_dim, 3, padding="same", activation="relu")
    return layers.Concatenate()([embedded, convolution(embedded)])


def _pooled_states(
    inputs: keras.KerasTensor, weight: keras.KerasTensor, params: NetworkParams
) -> keras.KerasTensor:
    """(n, 4 * units): maximum and mean of the LSTM's states over the tokens."""
    inputs, weight = (
        ops.pad(part, [[0, 0], [0, POOLED_STEPS - 1], [0, 0]]) for part in (inputs, weight)
    )
    pooling = layers.MaxPooling1D(POOLED_STEPS)  # counts from the left, whatever the padding
    inputs = pooling(inputs - (1 - weight) * 1e3)  # (n, ceil(t / POOLED_STEPS), ...)
    weight = pooling(weight)
    lstm_layer = layers.LSTM(params.units, return_sequences=True)
    both_ways = layers.Bidirectional(lstm_layer)
    states = both_ways(inputs * weight, mask=weight[:, :, 0] > 0)  # (n, ..., 2 * units)
    largest = ops.max(states - (1 - weight) * 1e9, axis=1)
    mean = ops.sum(states * weight, axis=1) / ops.sum(weight, axis=1)
    return layers.Dropout(params.dropout)(layers.Concatenate()([largest, mean]))


def _head(features: keras.KerasTensor) -> keras.KerasTensor:
    """(n, 1) probabilities from (n, features)."""
    hidden = layers.Dense(16, activation="relu")(features)
    return layers.Dense(1, activation="sigmoid", name="probability")(hidden)
