"""Batches of messages, padded to the longest of each batch."""

import json
import logging
import math
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

from pipeline.core.hashing import unit_hash
from pipeline.models import architectures

TokenIds = NDArray[np.int32]  # (n, t), padded on the right with 0
Labels = NDArray[np.float32]  # (n,), spam is 1
Batch = tuple[TokenIds, Labels]
CHUNK = 256  # messages whose n-grams are counted together
WINDOW = 40  # batches whose messages are sorted by length together; larger pads less, shuffles less


@dataclass(frozen=True)
class Rows:
    """Messages as the network sees them."""

    token_ids: list[NDArray[np.int32]]  # n arrays of 1 to sequence_length ids
    labels: Labels

    def take(self, index: NDArray[np.int64]) -> "Rows":
        return Rows([self.token_ids[i] for i in index], self.labels[index])


# ---- batches


def hold_out(table: pd.DataFrame, share: float, seed: int) -> NDArray[np.bool_]:
    """(n,): the rows of a share of the campaigns; a campaign is held out whole."""
    return np.array([unit_hash(f"stop:{seed}", key) < share for key in table["campaign_key"]], np.bool_)


def pad(token_ids: list[NDArray[np.int32]]) -> TokenIds:
    """The rows as one rectangle as wide as the longest, filled with 0 on the right."""
    rectangle = np.full((len(token_ids), max(map(len, token_ids))), architectures.PAD, np.int32)
    for row, ids in zip(rectangle, token_ids, strict=True):
        row[: len(ids)] = ids
    return rectangle


def shuffled_batches(rows: Rows, size: int, seed: tuple[int, int]) -> Iterator[Batch]:
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


def sorted_batches(rows: Rows, size: int) -> Iterator[Batch]:
    """All rows once, in order of their length."""
    order = order_by_length(rows)
    for start in range(0, len(order), size):
        part = rows.take(order[start : start + size])
        yield pad(part.token_ids), part.labels


def order_by_length(rows: Rows) -> NDArray[np.int64]:
    """(n,): the rows' numbers, the shortest first."""
    return np.argsort([len(ids) for ids in rows.token_ids], kind="stable")


def read_rows(table: pd.DataFrame) -> Rows:
    """The shards' rows as the network's."""
    return Rows(list(table["token_ids"]), table["label"].to_numpy(np.float32))
