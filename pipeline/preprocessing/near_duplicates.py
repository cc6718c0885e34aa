"""Finds near-copies: shingles, min-hash campaign keys, and pairs by their Jaccard similarity."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocessing.normalize import mask

Pairs = NDArray[np.int64]  # (pairs, 2), row numbers, the smaller first, sorted

SHINGLE = 5  # characters, for the Jaccard similarity that defines a near-copy
NEAR_COPY_SIMILARITY = 0.8  # Jaccard similarity from which two texts are near-copies
CROWD_SIZE = 64  # texts with one band in common; a larger group is taken for one campaign
# Share of equal min-hashes below which a pair is not checked: 8 standard deviations below 0.8.
MIN_EQUAL_HASHES = 0.5
# Bands of locality-sensitive hashing: they find a pair at 0.8 with 1 - (1 - 0.8**5)**25 > 0.9999.
BANDS = 25
ROWS_PER_BAND = 5
# Characters of the shingles behind a campaign key. With longer ones more near-copies have different
# keys, with shorter ones more unrelated texts have the same key.
KEY_SHINGLE = 8
TEXTS_PER_CHUNK = 10_000  # texts, or pairs of texts, in memory at once


@dataclass(frozen=True)
class NearCopies:
    """Which of n texts are near-copies of each other, by row number."""

    pairs: Pairs  # confirmed by their Jaccard similarity
    crowds: list[NDArray[np.int64]]  # row numbers of each group that is taken for one campaign


# ---- similarity


def shingles(masked: str, size: int = SHINGLE) -> set[str]:
    """All substrings of `size` characters. A shorter text has one shingle, itself."""
    return {masked[i : i + size] for i in range(max(1, len(masked) - size + 1))}


def jaccard(a: set[str], b: set[str]) -> float:
    """The Jaccard similarity |a & b| / |a | b|, in [0, 1]."""
    return len(a & b) / len(a | b)


# ---- campaign keys


def campaign_keys(texts: Sequence[str]) -> NDArray[np.uint64]:
    """(n,): the min-hash of each masked text's shingles, a function of that text alone.

    Two texts share their key with a probability equal to the Jaccard similarity of their shingles.
    """
    keys = [np.zeros(0, np.uint64)]
    for start in range(0, len(texts), TEXTS_PER_CHUNK):
        chunk = texts[start : start + TEXTS_PER_CHUNK]
        keys.append(_min_hashes([mask(text) for text in chunk]))
    return np.concatenate(keys)


def _min_hashes(masked: list[str]) -> NDArray[np.uint64]:
    padded = [text.ljust(KEY_SHINGLE, "\0") for text in masked]
    codes = np.frombuffer("".join(padded).encode("utf-32-le"), np.uint32).astype(np.uint64)
    hashes = _shingle_hashes(codes)
    ends = np.cumsum([len(text) for text in padded])
    for end in ends[:-1]:  # exclude the shingles that cross into the next text
        hashes[end - KEY_SHINGLE + 1 : end] = np.uint64(2**64 - 1)
    return np.minimum.reduceat(hashes, np.concatenate([[0], ends[:-1]]))


def _shingle_hashes(codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A polynomial over each shingle, modulo 2**64, then the finaliser of splitmix64."""
    count = len(codes) - KEY_SHINGLE + 1
    hashes = np.zeros(count, np.uint64)
    for offset in range(KEY_SHINGLE):
        hashes = hashes * np.uint64(0x100000001B3) + codes[offset : offset + count]
    hashes ^= hashes >> np.uint64(30)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(27)
    hashes *= np.uint64(0x94D049BB133111EB)
    hashes ^= hashes >> np.uint64(31)
    return hashes


# ---- near-copies


def number_wordings(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct masked texts (the wordings), and (n,): the position of each text's wording."""
    masked = [mask(text) for text in texts]
    number = {wording: i for i, wording in enumerate(dict.fromkeys(masked))}
    return list(number), np.array([number[wording] for wording in masked], np.int64)


def find_near_copies(wordings: Sequence[str]) -> NearCopies:
    """All pairs of masked texts with a Jaccard similarity of at least NEAR_COPY_SIMILARITY.

    Candidates are pairs with an equal band in their min-hash signatures; the exact similarity of
    each candidate is then computed. A group of more than CROWD_SIZE texts with an equal band is
    taken for one campaign without comparing pairs, so that time and memory grow linearly.
    Source: Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, chapter 3.

    Args:
        wordings: distinct masked texts; n equal ones would be n ** 2 pairs.
    """
    signatures = _signatures(wordings)
    candidates, crowds = _candidates(signatures)
    chunks = np.array_split(candidates, len(candidates) // TEXTS_PER_CHUNK + 1)
    pairs = [
        (first, second)
        for chunk in chunks
        for first, second in chunk[_hashes_agree(signatures, chunk)].tolist()
        if jaccard(shingles(wordings[first]), shingles(wordings[second])) >= NEAR_COPY_SIMILARITY
    ]
    return NearCopies(np.array(pairs, np.int64).reshape(-1, 2), crowds)


def _signatures(wordings: Sequence[str]) -> NDArray[np.uint32]:
    """(n, BANDS * ROWS_PER_BAND): the min-hashes of each text's shingles."""
    from datasketch import MinHash  # here, as it imports much of SciPy, and few stages need it

    encoded = ([shingle.encode() for shingle in shingles(wording)] for wording in wordings)
    hashed = MinHash.generator(
        encoded,
        num_perm=BANDS * ROWS_PER_BAND,
        seed=1,
        hashfunc=crc32,  # SHA-1 takes half the time
    )
    signatures = np.zeros((len(wordings), BANDS * ROWS_PER_BAND), np.uint32)
    for row, min_hash in zip(signatures, hashed, strict=True):
        row[:] = min_hash.hashvalues
    return signatures


def _candidates(signatures: NDArray[np.uint32]) -> tuple[Pairs, list[NDArray[np.int64]]]:
    """The sorted distinct pairs with an equal band, and the groups of over CROWD_SIZE texts."""
    texts = len(signatures)
    pair_codes = [np.zeros(0, np.int64)]  # first * texts + second
    crowds: list[NDArray[np.int64]] = []
    for band in range(BANDS):
        columns = signatures[:, band * ROWS_PER_BAND : (band + 1) * ROWS_PER_BAND]
        for group in _equal_rows(columns):
            if len(group) > CROWD_SIZE:
                crowds.append(group)
            else:
                first, second = np.triu_indices(len(group), 1)
                pair_codes.append(group[first] * texts + group[second])
    distinct = np.unique(np.concatenate(pair_codes))
    return np.stack(np.divmod(distinct, max(1, texts)), axis=1), crowds


def _hashes_agree(signatures: NDArray[np.uint32], pairs: Pairs) -> NDArray[np.bool_]:
    equal = signatures[pairs[:, 0]] == signatures[pairs[:, 1]]
    return np.mean(equal, axis=1) >= MIN_EQUAL_HASHES


def _equal_rows(band: NDArray[np.uint32]) -> Iterator[NDArray[np.int64]]:
    """Groups of the numbers of equal rows, each in rising order."""
    order = np.lexsort(band.T)
    changes = np.flatnonzero(np.any(band[order][1:] != band[order][:-1], axis=1)) + 1
    for group in np.split(order, changes):
        if len(group) > 1:
            yield np.sort(group)
