"""What makes two messages the same campaign: masked text, shingles, min-hash keys, near-copies."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from confusable_homoglyphs.confusables import confusables_data
from datasketch import MinHash
from numpy.typing import NDArray

Pairs = NDArray[np.int64]  # (pairs, 2), row numbers, the smaller first, sorted

SHINGLE = 5  # characters, of the Jaccard similarity that defines a near-copy
NEAR = 0.8  # Jaccard similarity from which two messages are near-copies
CROWD = 64  # texts that share a band, above which they are taken for one campaign
SIEVE = 0.5  # share of equal min-hashes below which two texts are no near-copies: eight deviations under NEAR
BANDS, BAND = 25, 5  # of LSH: finds a pair at 0.8 with probability 1 - (1 - 0.8**5)**25 > 0.9999
KEY_SHINGLE = 8  # characters; longer ones part more near-copies, shorter ones join strangers
CHUNK = 10_000  # messages hashed at once

# Of tags, joiners, marks of direction and selectors: characters that nobody sees, first and last.
INVISIBLE = [
    *((0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x180E, 0x180E), (0x200B, 0x200F), (0x202A, 0x202E)),
    *((0x2060, 0x206F), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xE0000, 0xE01EF)),
]
# Letters and digits of other scripts, and the ASCII ones that they look like, where NFKC leaves them alone.
# Source: Unicode Technical Standard 39, confusables.txt.
CONFUSABLES = {
    found["c"]: plain
    for plain, alike in confusables_data.items()
    if len(plain) == 1 and plain.isascii() and plain.isalnum()
    for found in alike
    if len(found["c"]) == 1 and not found["c"].isascii() and unicodedata.is_normalized("NFKC", found["c"])
    if not unicodedata.combining(found["c"]) and unicodedata.category(found["c"]) != "Mc"  # goes with another
}
CHARACTERS = {chr(code): "" for first, last in INVISIBLE for code in range(first, last + 1)} | CONFUSABLES
_CHARACTERS = str.maketrans(CHARACTERS)
# What stands between the letters of a word, or in place of them, and what a reader reads; both Python and
# the tokenizer's own engine take these patterns.
_LONE = r"(?:(?<=\A[A-Za-z])|(?<=[ .\-_*][A-Za-z]))[ .\-_*](?=[A-Za-z](?![A-Za-z0-9']))"  # f r e e, f-r-e-e
_DIGIT = r"(?<=[A-Za-z])%(?=[0-9]?[A-Za-z])|(?<=[A-Za-z][0-9])%(?=[A-Za-z])"  # fr33, b00k: one or two
_LETTERS = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g"}
DISGUISES = {_LONE: ""} | {_DIGIT.replace("%", digit): letter for digit, letter in _LETTERS.items()}
_DISGUISES = [(re.compile(pattern), plain) for pattern, plain in DISGUISES.items()]
_LINK = re.compile(r"(?:https?://|www\.)\S+")
_DIGITS = re.compile(r"\d+")


def canonicalise(text: str) -> str:
    """The text as it is read: no invisible characters, look-alikes as ASCII, NFKC, words without disguise.

    The tokenizer's normaliser does the same, but that a mark which combines with a look-alike goes with it.
    """
    text = unicodedata.normalize("NFKC", text.translate(_CHARACTERS))
    for pattern, plain in _DISGUISES:
        text = pattern.sub(plain, text)
    return text


def fold(text: str) -> str:
    """The text as far as a reader tells two apart: case and white space folded."""
    return " ".join(text.casefold().split())


def mask(text: str) -> str:
    """The text without what a campaign varies: digits, links, case, spacing, invisible characters."""
    return fold(_DIGITS.sub("0", _LINK.sub("@", canonicalise(text).casefold())))


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
    crowds: list[NDArray[np.int64]]  # row numbers of texts taken for near-copies all of them, a crowd each


def campaign_keys(texts: Sequence[str]) -> NDArray[np.uint64]:
    """(n,): the min-hash of each masked text's shingles, a function of that one text alone.

    Two messages share their key with a probability equal to the Jaccard similarity of their shingles.
    """
    chunks = [_min_hashes([mask(t) for t in texts[i : i + CHUNK]]) for i in range(0, len(texts), CHUNK)]
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


def share_of(salt: str, campaign_key: str) -> float:
    """Where a campaign falls in [0, 1): a function of salt and key alone, so no other row moves it."""
    digest = hashlib.blake2b(f"{salt}:{campaign_key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


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
