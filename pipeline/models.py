"""The architectures, one builder each, and their canonical file."""

import json
import re
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers, ops

from pipeline import stage
from pipeline.stage import PipelineError

PAD = 0  # the token id that fills a batch on the right; no message has it
FIXED_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file knows
ADDRESS = re.compile(rb'(?<="shared_object_id": )\d+')  # of an object that layers share, in memory


@dataclass(frozen=True)
class Size:
    """What the builders can be told; each uses what it has a use for."""

    vocabulary_size: int  # token ids
    embedding_dim: int
    units: int  # of a recurrent layer, in each direction
    dropout: float  # share of inputs, in [0, 1)


Builder = Callable[[Size], keras.Model]  # of a network from (n, t) token ids to (n, 1) P(spam)


def bilstm_article(size: Size) -> keras.Model:
    """The article's network: embedding, bidirectional LSTM, 16 ReLU, sigmoid.

    Source: "Neural Networks with Memory"; Schuster and Paliwal 1997; Hochreiter and Schmidhuber 1997.
    """
    tokens, embedded = _embedding(size)
    state = layers.Bidirectional(layers.LSTM(size.units))(embedded)  # (n, 2 * units)
    return keras.Model(tokens, _head(state), name="bilstm_article")


def bilstm(size: Size) -> keras.Model:
    """Ours: the article's, with word shapes beside the embedding and all states pooled, not the last.

    A convolution of width three sees fragments of words that a sub-word alone does not; a spam's few
    telling words survive max pooling however far from the end they stand.
    """
    tokens = layers.Input((None,), dtype="int32", name="token_ids")
    real = ops.not_equal(tokens, PAD)  # (n, t)
    weight = ops.expand_dims(ops.cast(real, "float32"), -1)  # (n, t, 1)
    embedded = layers.Embedding(size.vocabulary_size, size.embedding_dim)(tokens) * weight
    embedded = layers.Dropout(size.dropout)(embedded)
    shapes = layers.Conv1D(size.embedding_dim, 3, padding="same", activation="relu")(embedded)
    inputs = layers.Concatenate()([embedded, shapes])  # (n, t, 2 * embedding_dim)
    lstm = layers.LSTM(size.units, return_sequences=True)
    states = layers.Bidirectional(lstm)(inputs, mask=real)  # (n, t, 2 * units)
    largest = ops.max(states - (1 - weight) * 1e9, axis=1)
    mean = ops.sum(states * weight, axis=1) / ops.sum(weight, axis=1)
    pooled = layers.Dropout(size.dropout)(layers.Concatenate()([largest, mean]))  # (n, 4 * units)
    return keras.Model(tokens, _head(pooled), name="bilstm")


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


# ---- their file


def save(model: keras.Model, path: Path) -> None:
    """Writes `path` in Keras' format, made canonical, so that equal weights are equal bytes."""
    with tempfile.TemporaryDirectory() as folder, stage.replacing(path) as temporary:
        raw = Path(folder) / "raw.keras"
        with stage.on_disk(folder):
            model.save(raw)
        with zipfile.ZipFile(raw) as source, zipfile.ZipFile(temporary, "w") as target:
            for name in sorted(source.namelist()):
                target.writestr(zipfile.ZipInfo(name, FIXED_DATE), _canonical(name, source.read(name)))


def _canonical(name: str, content: bytes) -> bytes:
    """A file of the zip without what differs each time: the date, and addresses in memory."""
    if name == "metadata.json":
        return json.dumps(json.loads(content) | {"date_saved": "1980-01-01"}).encode()
    if name == "config.json":
        numbers: dict[bytes, int] = {}
        return ADDRESS.sub(lambda found: b"%d" % numbers.setdefault(found[0], len(numbers)), content)
    return content


def load(path: Path) -> keras.Model:
    """The network of a `model.keras`. Raises: PipelineError."""
    if not path.exists():
        raise PipelineError(f"{path}: missing; {stage.MAKE}")
    try:
        if not zipfile.is_zipfile(path):  # of which Keras says that it is not there
            raise zipfile.BadZipFile("it is no zip file")
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        problem = str(error).splitlines()[0]
        raise PipelineError(f"{path}: not a Keras network ({problem}); {stage.MAKE}") from error


def export(model: keras.Model, folder: Path) -> None:
    """Writes the network as a TensorFlow SavedModel, which is loaded without any code of ours."""
    with stage.on_disk(folder):
        model.export(folder, verbose=False)
