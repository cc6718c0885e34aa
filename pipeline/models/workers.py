"""Several workers that train one network together: each computes its share of every batch.

The environment variable TF_CONFIG names them, as TensorFlow has it. Without it there is one worker,
and nothing here changes what it computes. All workers have the same rows, build the same network,
and draw the same batches. Of each batch a worker computes the gradient of its own rows; the
gradients are added up over the workers, and all apply the same update. What takes a fraction of
the time every worker does alone: corrupting messages, early stopping, the fit of the wide path.

Source: https://www.tensorflow.org/guide/distributed_training#multiworkermirroredstrategy
"""

import faulthandler
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
import tensorflow as tf

from pipeline.core.errors import PipelineError
from pipeline.core.params import parse_params
from pipeline.models.batches import Batch, Targets, TokenIds

log = logging.getLogger(__name__)

CONFIG_VARIABLE = "TF_CONFIG"
START_SECONDS = 600  # that a worker waits for the others at the start
CONNECT_SECONDS = 60  # that TensorFlow then has to connect them
RETRY_SECONDS = 1.0
LENGTH_BYTES = 8  # of the length of what the chief sends
FAILURES = (  # of TensorFlow, when another worker has ended or does not answer
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
    tf.errors.FailedPreconditionError,
)
STOPPED = (
    "has ended or does not answer; start all workers again: training goes on after the last "
    "finished epoch"
)


Address = Annotated[str, pydantic.Field(pattern=r"^.+:\d{1,5}$")]  # host:port
BatchShare = tuple[
    TokenIds, Targets, np.float32
]  # rows of a batch, and their share of it in [0, 1]


class Task(pydantic.BaseModel):
    """Which of the workers this one is."""

    type: Literal["chief", "worker"]
    index: int = pydantic.Field(ge=0)


class Cluster(pydantic.BaseModel):
    """The content of TF_CONFIG."""

    cluster: dict[Literal["chief", "worker"], list[Address]]
    task: Task

    @pydantic.model_validator(mode="after")
    def _task_is_in_the_cluster(self) -> "Cluster":
        if self.task.index >= len(self.cluster.get(self.task.type, [])):
            raise ValueError(f"the cluster has no {self.task.type} {self.task.index}")
        return self

    @property
    def addresses(self) -> list[str]:
        """Those of all workers, the chief's first."""
        return [*self.cluster.get("chief", []), *self.cluster.get("worker", [])]

    @property
    def count(self) -> int:
        """The number of workers, the chief among them."""
        return len(self.addresses)

    @property
    def index(self) -> int:
        """The number of this worker; 0 is the chief, which is the first worker if none is named."""
        chiefs = len(self.cluster.get("chief", []))
        return self.task.index + (chiefs if self.task.type == "worker" else 0)


def read_cluster() -> Cluster | None:
    """The workers of TF_CONFIG; None without it, or with one worker. Raises: PipelineError."""
    content = os.environ.get(CONFIG_VARIABLE, "")
    if not content.strip():
        return None
    try:
        value = json.loads(content)
    except ValueError as error:
        raise PipelineError(f"{CONFIG_VARIABLE}: no JSON: {error}") from None
    cluster = parse_params(Cluster, value, CONFIG_VARIABLE)
    return cluster if cluster.count > 1 else None


def is_chief() -> bool:
    """Whether this worker writes the outputs. Raises: PipelineError."""
    cluster = read_cluster()
    return cluster is None or cluster.index == 0


def count_workers() -> int:
    """The number of workers. Raises: PipelineError."""
    cluster = read_cluster()
    return cluster.count if cluster else 1


@dataclass(frozen=True)
class Workers:
    """The workers of a training, as one of them sees them."""

    count: int = 1
    index: int = 0  # of this worker; 0 is the chief, which alone writes outputs
    strategy: tf.distribute.Strategy | None = None  # None: there is one worker
    addresses: Sequence[str] = ()  # of all

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the outputs."""
        return self.index == 0

    def share(self, batch: Batch) -> BatchShare:
        """This worker's rows of a batch: token ids, labels, and their share of its rows.

        A worker without a row has one all the same, with a share of 0.
        """
        token_ids, labels = batch
        own = slice(self.index, None, self.count)
        if self.index >= len(labels):
            return token_ids[:1], labels[:1], np.float32(0)
        return token_ids[own], labels[own], np.float32(len(labels[own]) / len(labels))

    def total(self, tensors: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """Each tensor (float32) added up over the workers; all of them must call it."""
        if self.strategy is None:
            return tensors
        flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
        sizes = [tensor.shape.num_elements() for tensor in tensors]
        parts = zip(tf.split(self._sum(flat), sizes), tensors, strict=True)
        return [tf.reshape(part, tensor.shape) for part, tensor in parts]

    @cached_property
    def _sum(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The compiled function that adds up a vector (n,) over the workers."""
        strategy = self.strategy
        assert strategy is not None

        def reduce(vector: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(vector))

        signature = [tf.TensorSpec((None,), tf.float32)]
        return tf.function(lambda v: strategy.run(reduce, args=(v,)), input_signature=signature)

    def from_chief(self, content: bytes) -> bytes:
        """What the chief called it with; all workers must call it."""
        if self.strategy is None:
            return content
        own = content if self.is_chief else b""
        length = self._sum_bytes(len(own).to_bytes(LENGTH_BYTES, "big"))
        size = int.from_bytes(length, "big")
        return self._sum_bytes(own.ljust(size, b"\0"))

    def copy_chief(self, variables: Sequence[Any]) -> None:
        """Sets variables to those of the chief, as processors may differ in the last digits."""
        if self.strategy is None:
            return
        values = [variable.numpy() for variable in variables]
        content = self.from_chief(b"".join(value.tobytes() for value in values))
        for variable, value in zip(variables, values, strict=True):
            own, content = content[: value.nbytes], content[value.nbytes :]
            variable.assign(np.frombuffer(own, value.dtype).reshape(value.shape))

    def figures_of_chief(self, figures: tuple[float, ...]) -> tuple[float, ...]:
        """The same figures as the chief has, for the same reason."""
        content = np.array(figures, np.float64).tobytes()
        return tuple(np.frombuffer(self.from_chief(content), np.float64).tolist())

    def require_equal(self, key: str) -> None:
        """Raises: PipelineError if another worker calls it with another text of equal length."""
        if self.strategy is None:
            return
        own = key.encode()
        rows = [own if number == self.index else bytes(len(own)) for number in range(self.count)]
        keys = self._sum_bytes(b"".join(rows))
        others = [keys[start : start + len(own)] for start in range(0, len(keys), len(own))]
        if numbers := [str(i) for i, other in enumerate(others) if other != others[0]]:
            raise PipelineError(
                f"{CONFIG_VARIABLE}: worker {', '.join(numbers)} has other code, params, packages "
                "or vectorized data than the chief; bring all to one commit, and run "
                "`dvc pull vectorize` on each"
            )

    def _sum_bytes(self, content: bytes) -> bytes:
        """The bytes, where each is 0 on all workers but one."""
        if not content:
            return content
        values = tf.constant(np.frombuffer(content, np.uint8).astype(np.float32))
        return self._sum(values).numpy().astype(np.uint8).tobytes()

    @contextmanager
    def failures_in_one_line(self) -> Iterator[None]:
        """Raises: PipelineError in place of TensorFlow's errors about other workers."""
        try:
            yield
        except FAILURES as error:
            if self.strategy is None:
                raise
            others = [one for n, one in enumerate(self.addresses) if n != self.index]
            lost = ", ".join(one for one in others if not _listens(one)) or "another worker"
            raise PipelineError(f"{CONFIG_VARIABLE}: {lost} {STOPPED}") from error


ALONE = Workers()


def meet_workers() -> Workers:
    """This worker among those of TF_CONFIG, once all are there; ALONE without it.

    TensorFlow must not have computed anything before. Raises: PipelineError.
    """
    cluster = read_cluster()
    if cluster is None:
        return ALONE
    log.info("worker %d of %d waits for the others", cluster.index, cluster.count)
    wait_for_others(cluster.addresses, cluster.index)
    strategy = _new_strategy()
    if strategy.num_replicas_in_sync != cluster.count:
        raise PipelineError(
            f"{CONFIG_VARIABLE}: this worker sees several GPUs; start one worker for each, with "
            "CUDA_VISIBLE_DEVICES set to its number"
        )
    return Workers(cluster.count, cluster.index, strategy, cluster.addresses)


def _new_strategy() -> tf.distribute.Strategy:
    on_terminate = signal.getsignal(signal.SIGTERM)
    # If a worker dies in this moment, TensorFlow waits for hours and blocks all threads of Python.
    faulthandler.dump_traceback_later(CONNECT_SECONDS, exit=True)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    faulthandler.cancel_dump_traceback_later()
    signal.signal(signal.SIGTERM, on_terminate)  # TensorFlow's own handler ignores the signal
    return strategy


def wait_for_others(addresses: Sequence[str], index: int) -> None:
    """Waits until every other worker listens; TensorFlow itself would wait for hours.

    Args:
        addresses: of all workers.
        index: of this one, which listens meanwhile.

    Raises: PipelineError, which names an address without an answer.
    """
    _, _, port = addresses[index].rpartition(":")
    waiting = [address for number, address in enumerate(addresses) if number != index]
    end = time.monotonic() + START_SECONDS
    try:
        listener = socket.create_server(("", int(port)))
    except OSError as error:
        problem = os.strerror(error.errno or 0)
        raise PipelineError(f"{CONFIG_VARIABLE}: {addresses[index]}: {problem}") from error
    with listener:
        while waiting := [address for address in waiting if not _listens(address)]:
            if time.monotonic() > end:
                raise PipelineError(
                    f"{CONFIG_VARIABLE}: no answer from {waiting[0]} in {START_SECONDS} seconds; "
                    "start all workers within this time"
                )
            time.sleep(RETRY_SECONDS)


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=RETRY_SECONDS):
            return True
    except OSError:
        return False
