"""Trains the network on token ids, stops early on campaigns it never trained on, keeps the best weights."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from pipeline import checkpoint, models, stage, text, tracking
from pipeline.checkpoint import Checkpoint, State
from pipeline.metrics import METRICS, Scored
from pipeline.stage import Figure, PipelineError

log = logging.getLogger(__name__)

TokenIds = NDArray[np.int32]  # (n, t), padded on the right with 0
Labels = NDArray[np.float32]  # (n,), spam is 1
Batch = tuple[TokenIds, Labels]
THREADS = 2  # fixed, so that a machine with more cores adds up in the same order
WINDOW = 40  # batches whose messages are sorted by length together; larger pads less, shuffles less


@dataclass(frozen=True)
class Params:
    model: str  # of MODELS in pipeline/models.py
    embedding_dim: int
    units: int  # of the recurrent layer, in each direction
    dropout: float  # share of inputs, in [0, 1)
    learning_rate: float  # Adam's
    batch_size: int  # messages
    epochs: int  # at most
    patience: int  # epochs without a better average precision before it stops
    stop_share: float  # of train's campaigns, kept aside to decide when to stop
    seed: int  # of weights, order and dropout

    def __post_init__(self) -> None:
        stage.choose(models.MODELS, self.model, "params.yaml: train.model")
        if not (0 < self.stop_share < 1 and 0 <= self.dropout < 1):
            raise ValueError("stop_share must lie in (0, 1) and dropout in [0, 1)")
        if min(self.epochs, self.patience, self.batch_size, self.units, self.embedding_dim) < 1:
            raise ValueError("epochs, patience, batch_size, units and embedding_dim must be at least 1")
        if self.learning_rate <= 0 or self.seed < 0:
            raise ValueError("learning_rate must be above 0 and seed at least 0")


@dataclass(frozen=True)
class Rows:
    """Messages as the network sees them."""

    token_ids: list[NDArray[np.int32]]  # n arrays of 1 to sequence_length ids
    labels: Labels

    def take(self, index: NDArray[np.int64]) -> "Rows":
        return Rows([self.token_ids[i] for i in index], self.labels[index])


@dataclass(frozen=True)
class Epoch:
    """What one pass over the rows came to: one point of every training curve."""

    epoch: int  # from 1
    loss: float  # binary cross-entropy on the rows trained on
    accuracy: float
    stop_loss: float  # on the campaigns kept aside
    stop_accuracy: float
    stop_average_precision: float


# ---- batches


def hold_out(table: pd.DataFrame, share: float, seed: int) -> NDArray[np.bool_]:
    """(n,): the rows of a share of the campaigns; a campaign is held out whole."""
    return np.array([text.share_of(f"stop:{seed}", key) < share for key in table["campaign_key"]], np.bool_)


def pad(token_ids: list[NDArray[np.int32]]) -> TokenIds:
    """The rows as one rectangle as wide as the longest, filled with 0 on the right."""
    rectangle = np.full((len(token_ids), max(map(len, token_ids))), models.PAD, np.int32)
    for row, ids in zip(rectangle, token_ids, strict=True):
        row[: len(ids)] = ids
    return rectangle


def batches(rows: Rows, size: int, seed: tuple[int, int]) -> Iterator[Batch]:
    """All rows once, in an order that (seed, epoch) decides, batched with others of their length.

    Padding all to the longest would waste three quarters of the work.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(rows.labels))
    lengths = np.array([len(ids) for ids in rows.token_ids])
    windows = [order[i : i + size * WINDOW] for i in range(0, len(order), size * WINDOW)]
    by_length = [window[np.argsort(lengths[window], kind="stable")] for window in windows]
    parts = [window[i : i + size] for window in by_length for i in range(0, len(window), size)]
    for i in random.permutation(len(parts)):
        part = rows.take(parts[i])
        yield pad(part.token_ids), part.labels


# ---- the loop


def train(
    rows: Rows,
    stop: Rows,
    model: keras.Model,
    params: Params,
    report: Callable[[list[Epoch]], None],
    saved: Checkpoint | None = None,
) -> list[Epoch]:
    """Trains `model` in place and leaves the weights of its best epoch in it. Returns the curves.

    With a checkpoint it goes on after the last epoch that was saved there, to the same weights, bit for bit.
    """
    optimizer = keras.optimizers.Adam(params.learning_rate)
    step = _training_step(model, optimizer)
    score = tf.function(lambda ids: model(ids, training=False)[:, 0], reduce_retracing=True)
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
        order = batches(rows, params.batch_size, (params.seed, number))
        for ids, labels in _progress(order, math.ceil(len(rows.labels) / params.batch_size), number):
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


def _judge(stop: Rows, score: Callable[..., tf.Tensor], size: int) -> tuple[float, float, float]:
    """Loss, accuracy and average precision on the campaigns kept aside."""
    by_length = np.argsort([len(ids) for ids in stop.token_ids], kind="stable")
    parts = [stop.take(by_length[i : i + size]) for i in range(0, len(by_length), size)]
    y_score = np.concatenate([score(pad(part.token_ids)).numpy() for part in parts]).astype(np.float64)
    y_true = stop.labels[by_length] > 0
    scored = Scored(y_true, y_score, y_score >= 0.5)
    names = "log_loss", "accuracy", "average_precision"
    loss, accuracy, precision = (METRICS[name](scored) for name in names)
    return loss, accuracy, precision


def _progress(order: Iterator[Batch], total: int, epoch: int) -> Iterable[Batch]:
    """A bar in a terminal, nothing elsewhere."""
    return tqdm(order, f"epoch {epoch}", total, leave=False, unit="batch", disable=None)


def read_rows(table: pd.DataFrame) -> Rows:
    """The shards' rows as the network's."""
    return Rows(list(table["token_ids"]), table["label"].to_numpy(np.float32))


def be_repeatable(seed: int) -> None:
    """The same seed, data and machine give the same weights, bit for bit."""
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def figures_of(curves: list[Epoch], model: keras.Model, rows: Rows, stop: Rows) -> dict[str, Figure]:
    best = best_epoch(curves)
    return {
        "epochs": Figure(len(curves)),
        "best_epoch": Figure(best.epoch),
        "weights": Figure(model.count_params()),
        "loss": Figure(best.loss, n=len(rows.labels)),
        "accuracy": Figure(best.accuracy, n=len(rows.labels)),
        "stop_average_precision": Figure(best.stop_average_precision, n=len(stop.labels)),
    }


def main(argv: list[str] | None = None) -> None:
    names = "tokenizer", "shards", "network", "curves", "report"
    tokenizer, shards, network, curves_path, report = stage.paths(argv, __doc__, *names)
    params = stage.read_params(Params, "train")

    table = stage.read_parquet(shards).to_pandas()
    aside = hold_out(table, params.stop_share, params.seed)
    rows, stop = read_rows(table[~aside]), read_rows(table[aside])
    for part, place, way_out in ((stop, "in", "raise"), (rows, "outside of", "lower")):
        if len(np.unique(part.labels)) < 2:
            raise PipelineError(
                f"{shards}: no ham or no spam {place} train.stop_share; {way_out} it or bring more messages"
            )

    be_repeatable(params.seed)
    vocabulary_size = len(stage.read_json(tokenizer)["model"]["vocab"])
    size = models.Size(vocabulary_size, params.embedding_dim, params.units, params.dropout)
    model = models.MODELS[params.model](size)
    as_written = {"train": stage.read_yaml()["train"]}  # 0, where params say 0.0: register logs it again
    key = checkpoint.key_of(as_written, tokenizer, *sorted(shards.iterdir()))
    saved = Checkpoint(key)
    with tracking.live_run(params.model, as_written, key) as live:

        def told(curves: list[Epoch]) -> None:
            live.log_curves([vars(epoch) for epoch in curves])
            log.info(
                "epoch %d: loss %.4f, accuracy %.4f, held out: average precision %.4f",
                *(curves[-1].epoch, curves[-1].loss, curves[-1].accuracy, curves[-1].stop_average_precision),
            )

        curves = train(rows, stop, model, params, told, saved)
        models.save(model, network)
        live.finish(stage.sha256(network))

    stage.write_csv(curves_path, list(Epoch.__annotations__), [tuple(vars(e).values()) for e in curves])
    best = best_epoch(curves)
    verdict = (
        f"{params.model}: epoch {best.epoch} of {len(curves)} is the best, "
        f"average precision {best.stop_average_precision:.4f} on {len(stop.labels)} held-out messages"
    )
    stage.write_report(report, len(table), figures_of(curves, model, rows, stop), verdict)
    saved.finish()
    log.info("train: %s", verdict)


if __name__ == "__main__":
    stage.run(main)
