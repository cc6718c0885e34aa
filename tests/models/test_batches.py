"""Batches hold every row once, in reproducible order, with little padding."""

import math

import numpy as np
import pandas as pd
import pytest

from pipeline.models.batches import Rows, held_out_mask, pad, shuffled_batches, sorted_batches


def numbered_rows(n):
    """Messages of 1 to 50 tokens; all ids of message i are i + 1, and its label is i."""
    lengths = np.random.default_rng(3).integers(1, 51, n)
    token_ids = [np.full(length, i + 1, np.int32) for i, length in enumerate(lengths)]
    return Rows(token_ids, np.arange(n, dtype=np.float32))


def order_of(rows, size, seed):
    return [labels.astype(int).tolist() for _, labels in shuffled_batches(rows, size, seed)]


def test_pad_fills_on_the_right_to_the_longest():
    padded = pad([np.array([5, 6, 7], np.int32), np.array([8], np.int32)])
    assert padded.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert padded.dtype == np.int32


@pytest.mark.parametrize(("n", "size"), [(7, 8), (8, 8), (641, 16)])
def test_batches_hold_every_row_once_with_its_label(n, size):
    rows = numbered_rows(n)
    batches = list(shuffled_batches(rows, size, (1, 1)))
    assert len(batches) == math.ceil(n / size)
    assert max(len(labels) for _, labels in batches) <= size
    seen = [(ids, int(label)) for batch in batches for ids, label in zip(*batch, strict=True)]
    assert sorted(label for _, label in seen) == list(range(n))
    for ids, label in seen:
        whole = rows.token_ids[label].tolist()
        assert ids.tolist() == whole + [0] * (len(ids) - len(whole))


def test_order_depends_on_seed_and_epoch_alone():
    rows = numbered_rows(300)
    first = order_of(rows, 8, (1, 1))
    assert order_of(rows, 8, (1, 1)) == first
    assert order_of(rows, 8, (2, 1)) != first
    other_epoch = {frozenset(batch) for batch in order_of(rows, 8, (1, 2))}
    assert other_epoch != {frozenset(batch) for batch in first}


def test_messages_of_similar_length_share_a_batch():
    rows = numbered_rows(2000)
    tokens = sum(map(len, rows.token_ids))
    by_length = sum(token_ids.size for token_ids, _ in shuffled_batches(rows, 8, (1, 1)))
    random_parts = np.random.default_rng(1).permutation(2000).reshape(-1, 8)
    random_order = sum(pad(rows.take(part).token_ids).size for part in random_parts)
    assert by_length - tokens < (random_order - tokens) / 10


def test_sorted_batches_hold_every_row_in_order_of_length():
    batches = list(sorted_batches(numbered_rows(300), 64))
    widths = [token_ids.shape[1] for token_ids, _ in batches]
    assert sorted(label for _, labels in batches for label in labels) == list(range(300))
    assert widths == sorted(widths)
    assert [len(labels) for _, labels in batches] == [64, 64, 64, 64, 44]


def campaign_table(n, copies=3):
    return pd.DataFrame({"campaign_key": [f"{i:016x}" for i in range(n) for _ in range(copies)]})


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_a_share_of_the_campaigns_is_held_out_whole(share):
    by_campaign = held_out_mask(campaign_table(2000), share, 1).reshape(2000, 3)
    assert (by_campaign.all(axis=1) == by_campaign.any(axis=1)).all()
    assert by_campaign[:, 0].mean() == pytest.approx(share, abs=4 * math.sqrt(share / 2000))


def test_other_messages_do_not_change_what_is_held_out():
    table = campaign_table(500)
    some = np.random.default_rng(2).random(1500) < 0.4
    held_out = held_out_mask(table, 0.3, 1)
    assert held_out_mask(table[some], 0.3, 1).tolist() == held_out[some].tolist()
    assert held_out_mask(table, 0.3, 2).tolist() != held_out.tolist()
