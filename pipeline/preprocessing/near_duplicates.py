"""Finds near-copies: shingles, min-hash campaign keys, and pairs by their Jaccard similarity."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

from pipeline.preprocessing.normalize import mask

Pairs = NDArray[np.int64]  # (pairs, 2), row numbers, the smaller first, sorted

SHINGLE = 5  # characters, of the Jaccard similarity that defines a near-copy
NEAR = 0.8  # Jaccard similarity from which two messages are near-copies
CROWD = 64  # texts that share a band, above which they are taken for one campaign
SIEVE = 0.5  # share of equal min-hashes below which two texts are no near-copies: eight deviations under NEAR
BANDS, BAND = 25, 5  # of LSH: finds a pair at 0.8 with probability 1 - (1 - 0.8**5)**25 > 0.9999
KEY_SHINGLE = 8  # characters; longer ones part more near-copies, shorter ones join strangers
CHUNK = 10_000  # messages hashed at once


def shingles(masked: str, size: int = SHINGLE) -> set[str]:
    """All runs of `size` characters; a shorter text is its own only shingle."""
    return {masked[i : i + size] for i in range(max(1, len(masked) - size + 1))}


def jaccard(a: set[str], b: set[str]) -> float:
    """Shared share of two sets, in [0, 1]."""
    return len(a & b) / len(a | b)


@dataclass(frozen=True)
class Near:
    """Which texts are near-copies of one another."""

    pairs: Pairs  # confirmed
    crowds: list[
        NDArray[np.int64]
    ]  # row numbers of texts taken for near-copies all of them, a crowd each


def campaign_keys(texts: Sequence[str]) -> NDArray[np.uint64]:
    """(n,): the min-hash of each masked text's shingles, a function of that one text alone.

    Two messages share their key with a probability equal to the Jaccard similarity of their shingles.
    """
    chunks = [
        _min_hashes([mask(t) for t in texts[i : i + CHUNK]]) for i in range(0, len(texts), CHUNK)
    ]
    return np.concatenate([np.zeros(0, np.uint64), *chunks])


def _min_hashes(masked: list[str]) -> NDArray[np.uint64]:
    padded = [m.ljust(KEY_SHINGLE, "\0") for m in masked]  # a short text is its own only shingle
    codes = np.frombuffer("".join(padded).encode("utf-32-le"), np.uint32).astype(np.uint64)
    count = len(codes) - KEY_SHINGLE + 1
    hashes = np.zeros(count, np.uint64)
    for offset in range(KEY_SHINGLE):  # a polynomial over the shingle, modulo 2**64
        hashes = hashes * np.uint64(0x100000001B3) + codes[offset : offset + count]
    hashes ^= hashes >> np.uint64(30)  # splitmix64's finaliser, so that the minimum is a fair draw
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(27)
    hashes *= np.uint64(0x94D049BB133111EB)
    hashes ^= hashes >> np.uint64(31)
    ends = np.cumsum([len(p) for p in padded])
    for end in ends[:-1]:  # shingles that would run over into the next message
        hashes[end - KEY_SHINGLE + 1 : end] = np.uint64(2**64 - 1)
    return np.minimum.reduceat(hashes, np.concatenate([[0], ends[:-1]]))


def wordings(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct masked texts, and (n,) the number of each text's own."""
    masked = [mask(text) for text in texts]
    number = {wording: i for i, wording in enumerate(dict.fromkeys(masked))}
    return list(number), np.array([number[m] for m in masked], np.int64)


def near_copies(masked: Sequence[str]) -> Near:
    """All pairs of masked texts whose shingles have a Jaccard similarity of at least NEAR.

    Give it wordings: a campaign of n equal ones would be n ** 2 pairs. Candidates share one of BANDS bands of
    their min-hash signature (datasketch); each is confirmed exactly. More than CROWD texts that share a band
    are one campaign, and not compared in pairs, so that time and memory grow with the texts alone.
    Source: Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, chapter 3.
    """
    signatures = _signatures(masked)
    candidates, crowds = [np.zeros(0, np.int64)], list[NDArray[np.int64]]()
    for band in range(BANDS):
        for group in _equal_rows(signatures[:, band * BAND : (band + 1) * BAND]):
            if len(group) > CROWD:
                crowds.append(group)
            else:
                first, second = np.triu_indices(len(group), 1)
                candidates.append(group[first] * len(masked) + group[second])
    pairs = np.stack(np.divmod(np.unique(np.concatenate(candidates)), max(1, len(masked))), axis=1)
    alike = (
        np.mean(signatures[part[:, 0]] == signatures[part[:, 1]], axis=1) >= SIEVE
        for part in np.array_split(pairs, len(pairs) // CHUNK + 1)
    )
    near = [
        (i, j)
        for i, j in pairs[np.concatenate(list(alike))].tolist()
        if jaccard(shingles(masked[i]), shingles(masked[j])) >= NEAR
    ]
    return Near(np.array(near, np.int64).reshape(-1, 2), crowds)


def _signatures(masked: Sequence[str]) -> NDArray[np.uint32]:
    """(n, BANDS * BAND): the min-hashes of each text's shingles."""
    encoded = ([s.encode() for s in shingles(m)] for m in masked)
    hashed = MinHash.generator(encoded, num_perm=BANDS * BAND, seed=1)
    signatures = np.zeros((len(masked), BANDS * BAND), np.uint32)
    for row, one in zip(signatures, hashed, strict=True):
        row[:] = one.hashvalues
    return signatures


def _equal_rows(band: NDArray[np.uint32]) -> Iterator[NDArray[np.int64]]:
    """The numbers of the rows that are equal, in rising order, group by group."""
    order = np.lexsort(band.T)
    starts = np.flatnonzero(np.any(band[order][1:] != band[order][:-1], axis=1)) + 1
    sizes = np.diff([0, *starts, len(order)])
    for start, size in zip(np.concatenate([[0], starts])[sizes > 1], sizes[sizes > 1], strict=True):
        yield np.sort(order[start : start + size])
