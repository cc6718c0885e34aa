"""The training loop: deterministic, resumable, with early stopping."""

import json
import logging
import math
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tqdm import tqdm
from pipeline.core.errors import PipelineError
from pipeline.core.params import choose
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.metrics import Scored
from pipeline.models import architectures
from pipeline.models import augmentation
from pipeline.models import wide
from pipeline.models.batches import Batch
from pipeline.models.batches import CHUNK
from pipeline.models.batches import Rows
from pipeline.models.batches import TokenIds
from pipeline.models.batches import hold_out
from pipeline.models.batches import order_by_length
from pipeline.models.batches import read_rows
from pipeline.models.batches import shuffled_batches
from pipeline.models.batches import sorted_batches
from pipeline.models.checkpoints import Checkpoint
from pipeline.models.checkpoints import State

log = logging.getLogger(__name__)
Score = Callable[[TokenIds], tf.Tensor]  # of token ids (n, t), P(spam) (n,)
THREADS = 2  # fixed, so that a machine with more cores adds up in the same order

tf.config.threading.set_intra_op_parallelism_threads(
    THREADS
)  # here, as TensorFlow refuses once it has computed
tf.config.threading.set_inter_op_parallelism_threads(THREADS)


@dataclass(frozen=True)
class Params:
    model: str  # of MODELS in pipeline/models/architectures.py
    embedding_dim: int
    units: int  # of the recurrent layer, in each direction
    dropout: float  # share of inputs, in [0, 1)
    token_dropout: float  # share of tokens, in [0, 1)
    wide_share: float  # of the logit, in [0, 1]: the wide path's, the rest is the deep one's
    corruptions: list[str]  # of CORRUPTIONS in pipeline/models/augmentation.py
    corrupted: float  # share of messages that are corrupted anew in each epoch, in [0, 1]
    copies: int  # corrupted ones of each message, for the wide path
    learning_rate: float  # Adam's at first; it falls to 0 along a cosine
    batch_size: int  # messages
    epochs: int  # at most
    patience: int  # epochs without a better average precision before it stops
    stop_share: float  # of train's campaigns, kept aside to decide when to stop
    seed: int  # of weights, order and dropout

    def __post_init__(self) -> None:
        choose(architectures.MODELS, self.model, "params.yaml: train.model")
        for name in self.corruptions:
            choose(augmentation.CORRUPTIONS, name, "params.yaml: train.corruptions")
        if not (0 < self.stop_share < 1 and 0 <= self.dropout < 1 and 0 <= self.token_dropout < 1):
            raise ValueError("stop_share must lie in (0, 1), dropout and token_dropout in [0, 1)")
        if not (0 <= self.wide_share <= 1 and 0 <= self.corrupted <= 1 and 0 <= self.copies <= 100):
            raise ValueError("wide_share and corrupted must lie in [0, 1], copies in 0 to 100")
        if min(self.epochs, self.patience, self.batch_size, self.units, self.embedding_dim) < 1:
            raise ValueError("epochs, patience, batch_size, units and embedding_dim must be at least 1")
        if self.learning_rate <= 0 or self.seed < 0:
            raise ValueError("learning_rate must be above 0 and seed at least 0")


@dataclass(frozen=True)
class Epoch:
    """What one pass over the rows came to: one point of every training curve."""

    epoch: int  # from 1
    loss: float  # binary cross-entropy on the rows trained on
    accuracy: float
    stop_loss: float  # on the campaigns kept aside
    stop_accuracy: float
    stop_average_precision: float


# ---- corruption

Vary = Callable[[tuple[int, int], float], Rows]  # the rows, a share of them corrupted as a seed decides


def corrupter(rows: Rows, tokenizer: Tokenizer, names: Sequence[str]) -> Vary:
    """Corrupts rows: back to text, edited, and tokenized again, as an edited message will be."""
    if not names:
        return lambda seed, share: rows
    texts = [tokenizer.decode(ids[1:].tolist())[1:] for ids in rows.token_ids]  # without [START] and a space
    words = [
        word for text_, spam in zip(texts, rows.labels, strict=True) if not spam for word in text_.split()
    ]
    words = [word for word in words if augmentation.may_train(word)]

    def vary(seed: tuple[int, int], share: float) -> Rows:
        random = Random(repr(seed))
        chosen = [i for i in range(len(texts)) if random.random() < share]
        edited = [augmentation.corrupted(texts[i], names, random, words) for i in chosen]
        token_ids = list(rows.token_ids)
        for i, encoding in zip(chosen, tokenizer.encode_batch_fast(edited), strict=True):
            token_ids[i] = np.array(encoding.ids, np.int32)
        return Rows(token_ids, rows.labels)

    return vary


def fit_wide(model: keras.Model, vary: Vary, params: Params) -> None:
    """Fits the wide path, if there is one, on the rows and their corrupted copies."""
    copies = range(params.copies + 1 if params.corruptions else 1)  # the first is the rows as they are
    varied = (vary((params.seed, -1 - copy), float(copy > 0)) for copy in copies)
    wide.fit(model, (batch for rows in varied for batch in sorted_batches(rows, CHUNK)))


# ---- the loop


def train(
    rows: Rows,
    stop: Rows,
    model: keras.Model,
    params: Params,
    report: Callable[[list[Epoch]], None],
    saved: Checkpoint | None = None,
    vary: Vary | None = None,
) -> list[Epoch]:
    """Trains `model` in place and leaves the weights of its best epoch in it. Returns the curves.

    With a checkpoint it goes on after the last epoch that was saved there, to the same weights, bit for bit.
    """
    steps = math.ceil(len(rows.labels) / params.batch_size)
    falling = keras.optimizers.schedules.CosineDecay(params.learning_rate, params.epochs * steps)
    optimizer = keras.optimizers.Adam(falling)
    step = _training_step(model, optimizer)
    score = scorer(model)
    curves: list[Epoch] = []
    best_weights = model.get_weights()
    variables = [*model.weights, *optimizer.variables]
    if state := saved and saved.load():
        curves, best_weights = [Epoch(int(n), *rest) for n, *rest in state.curves], state.best_weights
        for variable, value in zip(variables, state.variables, strict=True):
            variable.assign(value)
        log.info("resumed after epoch %d", len(curves))
        report(curves)
    while not is_over(curves, params):
        number, loss, right = len(curves) + 1, 0.0, 0.0
        seed_dropout(model, (params.seed, number))
        varied = vary((params.seed, number), params.corrupted) if vary else rows
        order = shuffled_batches(varied, params.batch_size, (params.seed, number))
        for ids, labels in _progress(order, steps, number):
            batch_loss, batch_right = step(tf.constant(ids), tf.constant(labels))
            loss, right = loss + float(batch_loss), right + float(batch_right)
        n = len(rows.labels)
        curves.append(Epoch(number, loss / n, right / n, *_judge(stop, score, params.batch_size)))
        if best_epoch(curves) is curves[-1]:
            best_weights = model.get_weights()
        if saved:
            points = [tuple(vars(epoch).values()) for epoch in curves]
            saved.save(State(points, [v.numpy() for v in variables], best_weights))
        report(curves)
    model.set_weights(best_weights)
    return curves


def is_over(curves: list[Epoch], params: Params) -> bool:
    """Whether the epochs are used up, or the last `patience` of them were no better."""
    waited = len(curves) - best_epoch(curves).epoch if curves else 0
    return len(curves) >= params.epochs or waited >= params.patience


def seed_dropout(model: keras.Model, seed: tuple[int, int]) -> None:
    """What each layer drops follows from (seed, epoch), not from what was dropped before."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.path.endswith("seed_generator_state"):
            variable.assign(random.integers(2**32, size=2, dtype=np.uint32))


def best_epoch(curves: list[Epoch]) -> Epoch:
    """The one with the best average precision on the held-out campaigns; of equals, the least loss there."""
    return max(curves, key=lambda epoch: (epoch.stop_average_precision, -epoch.stop_loss))


def _training_step(
    model: keras.Model, optimizer: keras.Optimizer
) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    optimizer.build(model.trainable_variables)

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.float32)])
    def step(token_ids: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One batch: the sum of its losses, and how many it had right."""
        with tf.GradientTape() as tape:
            probability = model(token_ids, training=True)[:, 0]
            losses = keras.losses.binary_crossentropy(labels[:, None], probability[:, None])
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        right = tf.reduce_sum(tf.cast((probability >= 0.5) == (labels >= 0.5), tf.float32))
        return tf.reduce_sum(losses), right

    return step


def scorer(model: keras.Model) -> Score:
    """The network as one compiled function."""
    return tf.function(lambda ids: model(ids, training=False)[:, 0], reduce_retracing=True)


def score_rows(rows: Rows, score: Score, size: int) -> Scored:
    """The rows with the network's scores, spam from 0.5."""
    y_score = np.empty(len(rows.labels))
    y_score[order_by_length(rows)] = np.concatenate([score(ids).numpy() for ids, _ in sorted_batches(rows, size)])
    return Scored(rows.labels > 0, y_score, y_score >= 0.5)


def _judge(stop: Rows, score: Score, size: int) -> tuple[float, float, float]:
    """Loss, accuracy and average precision on the campaigns kept aside."""
    found = score_rows(stop, score, size)
    names = "log_loss", "accuracy", "average_precision"
    loss, accuracy, precision = (METRICS[name](found) for name in names)
    return loss, accuracy, precision


def _progress(order: Iterator[Batch], total: int, epoch: int) -> Iterable[Batch]:
    """A bar in a terminal, nothing elsewhere."""
    return tqdm(order, f"epoch {epoch}", total, leave=False, unit="batch", disable=None)


def be_repeatable(seed: int) -> None:
    """The same seed, data and machine give the same weights, bit for bit; a network before is forgotten."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def network_size(spec: dict[str, Any], params: Params) -> architectures.Size:
    """What the builders need, of a tokenizer's JSON and the params."""
    tokens = sorted(spec["model"]["vocab"], key=spec["model"]["vocab"].__getitem__)
    sizes = params.embedding_dim, params.units, params.dropout, params.token_dropout, params.wide_share
    return architectures.Size(tokens, *sizes)


def split_rows(table: pd.DataFrame, params: Params) -> tuple[Rows, Rows]:
    """The shards' rows to train on, and those to stop by. Raises: PipelineError where one has one class."""
    aside = hold_out(table, params.stop_share, params.seed)
    rows, stop = read_rows(table[~aside]), read_rows(table[aside])
    for part, place, way_out in ((stop, "in", "raise"), (rows, "outside of", "lower")):
        if len(np.unique(part.labels)) < 2:
            problem = f"no ham or no spam {place} it; {way_out} it or bring more messages"
            raise PipelineError(f"params.yaml: train.stop_share: {problem}")
    return rows, stop


def fit(
    rows: Rows,
    stop: Rows,
    spec: dict[str, Any],
    params: Params,
    report: Callable[[list[Epoch]], None],
    saved: Checkpoint | None = None,
) -> tuple[keras.Model, list[Epoch]]:
    """The network of these params, and its curves: those of the deep path, which is trained first, alone.

    The wide path, if there is one, is then fitted on all rows: it needs none to stop by.
    """
    be_repeatable(params.seed)
    model = architectures.MODELS[params.model](network_size(spec, params))
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    curves = train(rows, stop, model, params, report, saved, corrupter(rows, tokenizer, params.corruptions))
    every = Rows(rows.token_ids + stop.token_ids, np.concatenate([rows.labels, stop.labels]))
    fit_wide(model, corrupter(every, tokenizer, params.corruptions), params)
    return model, curves
