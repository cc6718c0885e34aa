"""Trains a network: deterministic, resumable, with early stopping on held-out campaigns.

`Trainer.train` tells the method in order. The loop is our own, and not Keras' `fit`, because a
training that resumes after an interruption must end with the same weights, bit for bit.
"""

import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from itertools import chain
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray
from pydantic import Field, field_validator
from tokenizers import Tokenizer
from tqdm import tqdm

from pipeline.core.errors import PipelineError
from pipeline.core.hashing import unit_hash
from pipeline.core.params import choose
from pipeline.evaluation.metrics import Predictions, accuracy, average_precision, log_loss
from pipeline.models import augmentation
from pipeline.models.architectures import NetworkParams, build_network
from pipeline.models.augmentation import RowCorrupter, row_corrupter
from pipeline.models.batches import (
    Batch,
    Rows,
    TokenIds,
    order_by_length,
    rows_from_table,
    shuffled_batches,
    sorted_batches,
)
from pipeline.models.checkpoints import Checkpoint, TrainingState
from pipeline.models.served_model import count_characters, score_in_windows
from pipeline.models.wide import deep_path, fit_wide_layers
from pipeline.models.workers import ALONE, BatchShare, Workers
from pipeline.preprocessing.size_checks import stop_share_problem
from pipeline.preprocessing.splits import held_out_mask

log = logging.getLogger(__name__)

THREADS = 2  # fixed, so that every machine adds numbers up in the same order
FOLDS = 4  # of the rows that are scored out of fold
MAX_PASSES = 3  # of an epoch over few rows
WIDE_BATCH_SIZE = 256  # messages whose features the wide path computes at once

# At import, because TensorFlow refuses it after its first computation.
tf.config.threading.set_intra_op_parallelism_threads(THREADS)
tf.config.threading.set_inter_op_parallelism_threads(THREADS)


class Params(NetworkParams):
    """The section `train` of params.yaml."""

    corruptions: list[str] = Field(
        description="edits of training messages, names of CORRUPTIONS in models/augmentation.py"
    )
    corrupted: float = Field(
        ge=0,
        le=1,
        description="share of messages that each epoch corrupts anew",
        json_schema_extra={"search": {"low": 0.0, "high": 1.0, "step": 0.1}},
    )
    copies: int = Field(
        ge=0,
        le=100,
        description="corrupted copies of each message that the wide path is fitted on",
        json_schema_extra={"search": {"low": 0, "high": 16, "step": 2}},
    )
    learning_rate: float = Field(
        gt=0,
        description="initial learning rate of Adam; it decays to 0 along a cosine",
        json_schema_extra={"search": {"low": 5e-4, "high": 1e-2, "log": True}},
    )
    deep_tokens: int = Field(
        ge=1,
        description="first tokens of a message that the deep path learns from; the wide path "
        "learns from all",
    )
    batch_size: int = Field(
        ge=1,
        description="messages in a batch",
        json_schema_extra={"search": {"low": 32, "high": 128, "step": 32}},
    )
    epochs: int = Field(ge=1, description="maximum number of epochs")
    fewest_steps: int = Field(
        ge=0,
        description="batches that all epochs should have together: with few messages an epoch "
        "reads them up to MAX_PASSES times",
    )
    patience: int = Field(
        ge=1, description="epochs without a better average precision before training stops"
    )
    stop_share: float = Field(
        gt=0, lt=1, description="share of train's campaigns that is held out for early stopping"
    )
    out_of_fold_rows: int = Field(
        ge=0,
        description="with at most so many rows in train, FOLDS more networks score them out of "
        "fold, so that the thresholds rest on the ham of train too",
    )
    refit: bool = Field(
        description="whether a second network, trained on val and test too, serves; the figures "
        "are of the network that was trained on train alone"
    )
    seed: int = Field(ge=0, description="of initial weights, order, dropout and corruption")

    def passes(self, rows: int) -> int:
        """How often an epoch reads so many rows."""
        steps = self.epochs * math.ceil(rows / self.batch_size)
        return min(MAX_PASSES, max(1, math.ceil(self.fewest_steps / steps)))

    @field_validator("corruptions")
    @classmethod
    def _are_known(cls, names: list[str]) -> list[str]:
        for name in names:
            choose(augmentation.CORRUPTIONS, name, "params.yaml: train.corruptions")
        return names


@dataclass(frozen=True)
class Epoch:
    """One point of every training curve; the loss is the mean binary cross-entropy."""

    epoch: int  # from 1
    loss: float  # on the training rows
    accuracy: float
    stop_loss: float  # on the held-out campaigns
    stop_accuracy: float
    stop_average_precision: float


Reporter = Callable[[list[Epoch]], None]  # called after each epoch with all epochs so far
TokenScorer = Callable[[TokenIds], tf.Tensor]  # (n, t) token ids to P(spam), (n,)


# ---- the method


class Trainer:
    """A network that is built and compiled once, and can be trained any number of times.

    Every training starts from the same weights, and is the same as with a new Trainer. To compile
    takes about as long as to train on three thousand messages.

    Args:
        spec: the content of tokenizer.json.
        workers: those that train it together; each makes the same calls.
    """

    def __init__(self, spec: dict[str, Any], params: Params, workers: Workers = ALONE) -> None:
        make_deterministic(params.seed)
        vocabulary = spec["model"]["vocab"]
        self.params = params
        self.spec = spec
        self.model = build_network(sorted(vocabulary, key=vocabulary.__getitem__), params)
        self.score = compiled_scorer(self.model)
        self._deep = CompiledNetwork(deep_path(self.model), params, workers)

    def train(
        self,
        rows: Rows,
        stop: Rows,
        report: Reporter = lambda curves: None,
        checkpoint: Checkpoint | None = None,
    ) -> list[Epoch]:
        """Trains `model` from its first weights; returns the curves of its deep path.

        The deep path is trained first and alone. Then the wide path, if the network has one, is
        fitted on all rows: it needs none for early stopping.

        Args:
            rows: the training rows.
            stop: the rows for early stopping.
            checkpoint: where to resume from and to save each epoch.
        """
        params = self.params
        tokenizer = Tokenizer.from_str(json.dumps(self.spec))
        short, short_stop = rows.cut(params.deep_tokens), stop.cut(params.deep_tokens)
        corrupt = row_corrupter(short, tokenizer, params.corruptions)
        curves = run_epochs(short, short_stop, self._deep, params, report, checkpoint, corrupt)
        both = rows + stop
        corrupt_both = row_corrupter(both, tokenizer, params.corruptions)
        fit_wide_path(self.model, both, corrupt_both, params)
        return curves


def out_of_fold_scores(table: pd.DataFrame, trainer: Trainer) -> NDArray[np.float64]:
    """(n,): the score of each row by a network that was trained without the fold of its campaign.

    It is NaN for rows that were cut: the served model reads more of them.

    Args:
        table: n rows with the columns of SHARD.
        trainer: trained anew for each fold.

    Raises: PipelineError, when there is too little ham or spam outside of a fold.
    Source: Vovk 2015, Cross-conformal Predictors.
    """
    fold = np.array([int(FOLDS * unit_hash("fold", key)) for key in table["campaign_key"]])
    truncation = trainer.spec["truncation"]
    characters = count_characters(Tokenizer.from_str(json.dumps(trainer.spec)))
    score = partial(_score_tokens, trainer.score, trainer.params.batch_size)
    scores = np.zeros(len(table))
    folds = range(FOLDS if len(table) else 0)
    for number in tqdm(folds, "out of fold", leave=False, disable=None):
        if not np.any(fold == number):
            continue
        trainer.train(*_split_fold(table[fold != number], trainer.params))
        in_fold = table["token_ids"][fold == number].tolist()
        scores[fold == number] = score_in_windows(
            in_fold, characters, score, window_length=truncation["window_length"]
        )
    was_cut = table["token_ids"].map(len) >= truncation["max_length"]
    return np.where(was_cut, np.nan, scores)


def _split_fold(table: pd.DataFrame, params: Params) -> tuple[Rows, Rows]:
    """As `split_rows`; with too few campaigns for that, early stopping has a row of each label."""
    if not stop_share_problem(table, params.stop_share, params.seed):
        return split_rows(table, params)
    held_out = ~table["label"].duplicated(keep="last")
    if table["label"][~held_out].nunique() < 2:
        raise PipelineError(
            "params.yaml: train.out_of_fold_rows: too little ham or spam to train without a fold; "
            "set it to 0, or bring more messages"
        )
    return rows_from_table(table[~held_out]), rows_from_table(table[held_out])


def _score_tokens(
    score: TokenScorer, size: int, token_ids: list[list[int]]
) -> NDArray[np.floating[Any]]:
    rows = [np.array(ids, np.int32) for ids in token_ids]
    return score_rows(Rows(rows, np.zeros(len(rows), np.float32)), score, size).y_score


def split_rows(table: pd.DataFrame, params: Params) -> tuple[Rows, Rows]:
    """The training rows and the rows for early stopping, of a table with the columns of SHARD.

    Raises: PipelineError, when one of the two has only one class.
    """
    if problem := stop_share_problem(table, params.stop_share, params.seed):
        raise PipelineError(problem)
    held_out = held_out_mask(table, params.stop_share, params.seed)
    return rows_from_table(table[~held_out]), rows_from_table(table[held_out])


def make_deterministic(seed: int) -> None:
    """Seeds all randomness: equal seed, data and machine give equal weights, bit for bit."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


class CompiledNetwork:
    """A network with its optimizer; its training step and its scorer compile at their first call.

    Attributes:
        model: (n, t) token ids to (n, 1) P(spam).
        variables: all that training changes.
    """

    def __init__(self, model: keras.Model, params: Params, workers: Workers = ALONE) -> None:
        self.model = model
        self.workers = workers
        self._decay_steps = tf.Variable(1.0)  # no constant, or each number of rows would compile
        decay = keras.optimizers.schedules.CosineDecay(params.learning_rate, self._decay_steps)
        optimizer = keras.optimizers.Adam(decay)
        self.train_step = _train_step(model, optimizer, workers)
        self.score = compiled_scorer(model)
        self.variables = [*model.weights, *optimizer.variables]
        self._first_values = [variable.numpy() for variable in self.variables]

    def start_anew(self, steps: int) -> None:
        """Back to the first weights; the learning rate will decay over so many steps."""
        self._decay_steps.assign(steps)
        for variable, value in zip(self.variables, self._first_values, strict=True):
            variable.assign(value)


def run_epochs(
    rows: Rows,
    stop: Rows,
    network: CompiledNetwork,
    params: Params,
    report: Reporter,
    checkpoint: Checkpoint | None = None,
    corrupt: RowCorrupter | None = None,
) -> list[Epoch]:
    """Trains the network from its first weights, and leaves those of its best epoch in it.

    With a checkpoint it resumes after the last saved epoch.

    Returns: the curves.
    """
    model, variables, workers = network.model, network.variables, network.workers
    passes = params.passes(len(rows.labels))
    steps = passes * math.ceil(len(rows.labels) / params.batch_size)
    network.start_anew(params.epochs * steps)
    curves: list[Epoch] = []
    best_weights = model.get_weights()
    if checkpoint and (state := checkpoint.load()):
        curves = _restore(state, variables)
        best_weights = state.best_weights
        report(curves)

    while not is_finished(curves, params):
        seed = params.seed, len(curves) + 1
        seed_dropout(model, seed if workers.is_chief else (*seed, workers.index))
        order = _batches_of_epoch(rows, passes, params, seed, corrupt)
        shares = map(workers.share, _progress(order, steps, seed[1]))
        loss, right = _train_on(shares, network.train_step)
        workers.copy_chief(variables)
        scored = score_rows(stop, network.score, params.batch_size)
        stop_figures = workers.figures_of_chief(_stop_figures(scored))
        n = passes * len(rows.labels)
        curves.append(Epoch(seed[1], loss / n, right / n, *stop_figures))
        if best_epoch(curves) is curves[-1]:
            best_weights = model.get_weights()
        if checkpoint:
            values = [variable.numpy() for variable in variables]
            checkpoint.save(TrainingState([*map(astuple, curves)], values, best_weights))
        report(curves)
    model.set_weights(best_weights)
    return curves


def fit_wide_path(model: keras.Model, rows: Rows, corrupt: RowCorrupter, params: Params) -> None:
    """Fits the wide path, if there is one, on all rows and their corrupted copies."""
    count = params.copies if params.corruptions else 0
    copies = (corrupt((params.seed, -2 - copy), 1.0) for copy in range(count))
    of_copies = chain.from_iterable(sorted_batches(copy, WIDE_BATCH_SIZE) for copy in copies)
    fit_wide_layers(model, sorted_batches(rows, WIDE_BATCH_SIZE), of_copies)


# ---- epochs


def is_finished(curves: list[Epoch], params: Params) -> bool:
    """Whether all epochs are done, or the last `patience` of them brought no improvement."""
    waited = len(curves) - best_epoch(curves).epoch if curves else 0
    return len(curves) >= params.epochs or waited >= params.patience


def best_epoch(curves: list[Epoch]) -> Epoch:
    """The epoch with the highest average precision on the held-out campaigns; ties: lowest loss."""
    return max(curves, key=lambda epoch: (epoch.stop_average_precision, -epoch.stop_loss))


def seed_dropout(model: keras.Model, seed: tuple[int, ...]) -> None:
    """Makes dropout a function of (seed, epoch) and the worker: Keras does not save its state."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.path.endswith("seed_generator_state"):
            variable.assign(random.integers(2**32, size=2, dtype=np.uint32))


def compiled_scorer(model: keras.Model) -> TokenScorer:
    """The network as one compiled function."""
    signature = [tf.TensorSpec((None, None), tf.int32)]
    return tf.function(lambda ids: model(ids, training=False)[:, 0], input_signature=signature)


def score_rows(rows: Rows, score: TokenScorer, size: int) -> Predictions:
    """The rows with the network's scores, labelled spam from 0.5; `size` messages at once."""
    parts = [score(token_ids).numpy() for token_ids, _ in sorted_batches(rows, size)]
    y_score = np.empty(len(rows.labels))
    y_score[order_by_length(rows)] = np.concatenate(parts)
    return Predictions(y_true=rows.labels > 0, y_score=y_score, y_pred=y_score >= 0.5)


def _batches_of_epoch(
    rows: Rows, passes: int, params: Params, seed: Sequence[int], corrupt: RowCorrupter | None
) -> Iterator[Batch]:
    """All rows, `passes` times, each time corrupted and shuffled anew."""
    for number in range(passes):
        of_pass = (*seed, number) if number else seed
        varied = corrupt(of_pass, params.corrupted) if corrupt else rows
        yield from shuffled_batches(varied, params.batch_size, of_pass)


TrainStep = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def _train_step(model: keras.Model, optimizer: keras.Optimizer, workers: Workers) -> TrainStep:
    """The compiled function that trains on one worker's share of a batch."""
    variables = model.trainable_variables
    optimizer.build(variables)
    # As one XLA kernel: of many small operations, the update took a fifth of a step.
    update = tf.function(lambda *gradients: optimizer.apply(gradients, variables), jit_compile=True)
    signature = [
        tf.TensorSpec((None, None), tf.int32),
        tf.TensorSpec((None,), tf.float32),
        tf.TensorSpec((), tf.float32),
    ]

    @tf.function(input_signature=signature)
    def step(
        token_ids: tf.Tensor, labels: tf.Tensor, share: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the sum of the losses and the number of correct labels, of all workers."""
        with tf.GradientTape() as tape:
            probability = model(token_ids, training=True)[:, 0]
            losses = keras.losses.binary_crossentropy(labels[:, None], probability[:, None])
            loss = tf.reduce_mean(losses) * share
        # Dense, as in Adam's paper; of the slices of an embedding Keras would leave out other rows.
        gradients = [*map(tf.convert_to_tensor, tape.gradient(loss, variables))]
        right = tf.reduce_sum(tf.cast((probability >= 0.5) == (labels >= 0.5), tf.float32))
        sums = [tf.sign(share) * tf.reduce_sum(losses), tf.sign(share) * right]
        *gradients, loss_sum, right_sum = workers.total([*gradients, *sums])
        update(*gradients)
        return loss_sum, right_sum

    return step


def _train_on(shares: Iterable[BatchShare], train_step: TrainStep) -> tuple[float, float]:
    """Trains on all batches; returns the sum of the losses and the number of correct labels."""
    loss = 0.0
    right = 0.0
    for share in shares:
        batch_loss, batch_right = train_step(*map(tf.constant, share))
        loss += float(batch_loss)
        right += float(batch_right)
    return loss, right


def _stop_figures(stop: Predictions) -> tuple[float, float, float]:
    """Loss, accuracy and average precision."""
    return log_loss(stop), accuracy(stop), average_precision(stop)


def _restore(state: TrainingState, variables: list[Any]) -> list[Epoch]:
    """Sets all variables to their saved values; returns the curves so far."""
    for variable, value in zip(variables, state.variables, strict=True):
        variable.assign(value)
    log.info("resumed after epoch %d", len(state.curves))
    return [Epoch(int(number), *rest) for number, *rest in state.curves]


def _progress(batches: Iterator[Batch], total: int, epoch: int) -> Iterable[Batch]:
    """Shows a progress bar when run in a terminal."""
    return tqdm(batches, f"epoch {epoch}", total, leave=False, unit="batch", disable=None)
