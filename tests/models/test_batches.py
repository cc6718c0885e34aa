"""Batches hold every row once, in reproducible order, with little padding."""

import numpy as np

from pipeline.models.batches import Rows, pad, shuffled_batches, sorted_batches


def numbered_rows(n):
    """Messages of 1 to 50 tokens; all ids of message i are i + 1, and its label is i."""
    lengths = np.random.default_rng(3).integers(1, 51, n)
    token_ids = [np.full(length, i + 1, np.int32) for i, length in enumerate(lengths)]
    return Rows(token_ids, np.arange(n, dtype=np.float32))


def test_batches_hold_every_row_once_with_its_label():
    rows = numbered_rows(641)  # one more than a window of 40 batches
    batches = list(shuffled_batches(rows, 16, (1, 1)))
    assert sorted(len(labels) for _, labels in batches) == [1, *[16] * 40]
    assert {token_ids.dtype for token_ids, _ in batches} == {np.dtype(np.int32)}
    seen = [(ids, int(label)) for batch in batches for ids, label in zip(*batch, strict=True)]
    assert sorted(label for _, label in seen) == list(range(641))
    for ids, label in seen:
        whole = rows.token_ids[label].tolist()
        assert ids.tolist() == whole + [0] * (len(ids) - len(whole))


def test_order_depends_on_seed_and_epoch_alone():
    rows = numbered_rows(300)
    first, again, other_seed, other_epoch = (
        [labels.tolist() for _, labels in shuffled_batches(rows, 8, seed)]
        for seed in ((1, 1), (1, 1), (2, 1), (1, 2))
    )
    assert first == again != other_seed
    assert set(map(frozenset, first)) != set(map(frozenset, other_epoch))


def test_messages_of_similar_length_share_a_batch():
    rows = numbered_rows(2000)
    tokens = sum(map(len, rows.token_ids))
    by_length = sum(token_ids.size for token_ids, _ in shuffled_batches(rows, 8, (1, 1)))
    random_parts = np.random.default_rng(1).permutation(2000).reshape(-1, 8)
    random_order = sum(pad(rows.take(part).token_ids).size for part in random_parts)
    assert by_length - tokens < (random_order - tokens) / 10
    widths = [token_ids.shape[1] for token_ids, _ in sorted_batches(rows, 64)]
    assert widths == sorted(widths)
