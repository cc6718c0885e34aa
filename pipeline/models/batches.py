"""Groups messages into batches that are padded to the longest message of each batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

TokenIds = NDArray[np.int32]  # (n, t), padded on the right with PAD_ID
Targets = NDArray[np.float32]  # (n,), 1.0 for spam and 0.0 for ham
Batch = tuple[TokenIds, Targets]

PAD_ID = 0  # the token id of padding; no message contains it
SORT_WINDOW = 40  # batches; messages are sorted by length within a window of so many batches


@dataclass(frozen=True)
class Rows:
    """n labelled messages as token ids."""

    token_ids: list[NDArray[np.int32]]  # n arrays of 1 to sequence_length ids
    labels: Targets

    def take(self, index: NDArray[np.int64]) -> "Rows":
        """The rows with these numbers, in this order."""
        return Rows([self.token_ids[i] for i in index], self.labels[index])

    def __add__(self, other: "Rows") -> "Rows":
        """These rows, then the others."""
        labels = np.concatenate([self.labels, other.labels])
        return Rows(self.token_ids + other.token_ids, labels)

    def cut(self, tokens: int) -> "Rows":
        """The rows with at most so many first tokens."""
        return Rows([ids[:tokens] for ids in self.token_ids], self.labels)


def rows_from_table(table: pd.DataFrame) -> Rows:
    """The rows of a table with the columns of SHARD."""
    return Rows(list(table["token_ids"]), table["label"].to_numpy(np.float32))


def pad(token_ids: list[NDArray[np.int32]]) -> TokenIds:
    """(n, t): the messages padded to the longest of them."""
    padded = np.full((len(token_ids), max(map(len, token_ids))), PAD_ID, np.int32)
    for row, ids in zip(padded, token_ids, strict=True):
        row[: len(ids)] = ids
    return padded


def shuffled_batches(rows: Rows, size: int, seed: Sequence[int]) -> Iterator[Batch]:
    """All rows once, in batches of messages of similar length, in random order.

    Padding every message to the longest of all would waste three quarters of the computation.

    Args:
        seed: (seed, epoch), and the pass; it decides the order alone.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(rows.labels))
    lengths = np.array([len(ids) for ids in rows.token_ids])
    parts = []
    for start in range(0, len(order), size * SORT_WINDOW):
        window = order[start : start + size * SORT_WINDOW]
        by_length = window[np.argsort(lengths[window], kind="stable")]
        parts += [by_length[i : i + size] for i in range(0, len(by_length), size)]
    for i in random.permutation(len(parts)):
        yield _batch(rows.take(parts[i]))


def sorted_batches(rows: Rows, size: int) -> Iterator[Batch]:
    """All rows once, in order of length."""
    order = order_by_length(rows)
    for start in range(0, len(order), size):
        yield _batch(rows.take(order[start : start + size]))


def order_by_length(rows: Rows) -> NDArray[np.int64]:
    """(n,): the row numbers, shortest message first."""
    return np.argsort([len(ids) for ids in rows.token_ids], kind="stable")


def _batch(rows: Rows) -> Batch:
    return pad(rows.token_ids), rows.labels
