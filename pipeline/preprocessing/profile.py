"""Describes sets of messages side by side: labels, lengths, tokens, scripts, unknown words, top terms."""

import re
import unicodedata
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.reports import Figure
from pipeline.core.schemas import LENGTHS, SCRIPTS, TERMS
from pipeline.preprocessing import near_duplicates, normalize

Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]  # (n,), some of the messages
Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]  # columns, rows

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")  # letters alone: no number that may be somebody's
PERCENTILES = {"p5": 5, "median": 50, "p95": 95}
FEWEST = 10  # messages that hold a term before it is named: none can be read out of a report
TOP = 20  # terms a class


@dataclass(frozen=True)
class Words:
    """The distinct words of each message, one message after the other."""

    vocabulary: list[str]
    word: NDArray[np.int32]  # (w,), number in the vocabulary
    message: NDArray[np.int32]  # (w,), number of the message that it stands in

    def messages_with(self, among: Mask) -> Counts:
        """(vocabulary,): how many of those messages each word stands in."""
        return np.bincount(self.word[among[self.message]], minlength=len(self.vocabulary))


@dataclass(frozen=True)
class Described:
    """Sets of messages, one after the other; the first is the one that the others are held against."""

    names: list[str]
    part: NDArray[np.intp]  # (n,), number of the set
    texts: list[str]
    spam: Mask
    labelled: Mask  # ham or spam
    lengths: Counts  # (n,), characters
    words: Words
    scripts: list[str]
    letters: Counts  # (n, scripts), letters of each script

    def rows(self, name: str) -> Mask:
        """The messages of one set."""
        return self.part == self.names.index(name)


def describe(sets: Mapping[str, pd.DataFrame]) -> Described:
    """What figures, tables and drift are made of, in one pass over the texts; a null is the empty text.

    sets: columns `text` and `label`, which may be null.
    """
    messages = pd.concat(sets.values(), ignore_index=True)
    texts = messages["text"].fillna("").tolist()
    scripts, letters = letters_of(texts)
    return Described(
        names=list(sets),
        part=np.repeat(np.arange(len(sets)), [len(part) for part in sets.values()]),
        texts=texts,
        spam=(messages["label"] == "spam").to_numpy(np.bool_),
        labelled=messages["label"].isin(["ham", "spam"]).to_numpy(np.bool_),
        lengths=np.array([len(one) for one in texts], np.int64),
        words=words_of(texts),
        scripts=scripts,
        letters=letters,
    )


# ---- words


def words_of(texts: Sequence[str]) -> Words:
    """The words of the masked texts: runs of letters, so that a script without spaces counts whole runs."""
    number: dict[str, int] = {}
    word, counts = array("i"), array("i")
    for one in texts:
        found = dict.fromkeys(WORD.findall(normalize.mask(one)))
        word.extend([number.setdefault(each, len(number)) for each in found])
        counts.append(len(found))
    message = np.repeat(np.arange(len(texts), dtype=np.int32), np.array(counts, np.int32))
    return Words(list(number), np.array(word, np.int32), message)


def unknown_share(words: Words, reference: Mask) -> NDArray[np.float64]:
    """(n,): the share of a message's words that no other message of the reference holds; 0 without words.

    `Other`, so that the reference's own messages are asked what new ones are.
    """
    others = words.messages_with(reference)[words.word] - reference[words.message]
    of_message = np.bincount(words.message, minlength=len(reference))
    unknown = np.bincount(words.message[others == 0], minlength=len(reference))
    return unknown / np.maximum(of_message, 1)


def log_odds(words: Words, ham: Mask, spam: Mask) -> list[tuple[str, float, int, int]]:
    """(word, log odds of spam against ham, spam, ham with it), falling, of words in FEWEST messages or more.

    Half a message is added to each count, so that what one class never holds stays finite.
    """
    with_word = np.stack([words.messages_with(spam), words.messages_with(ham)])  # (2, vocabulary)
    without = np.array([[spam.sum()], [ham.sum()]]) - with_word
    of_spam, of_ham = np.log((with_word + 0.5) / (without + 0.5))
    kept = np.flatnonzero(with_word.sum(axis=0) >= FEWEST)
    rows = [
        (words.vocabulary[i], float(of_spam[i] - of_ham[i]), *with_word[:, i].tolist())
        for i in kept
    ]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


# ---- scripts


@cache
def script_of(character: str) -> str | None:
    """`latin`, `cyrillic`, `han` as `cjk`; None for what is no letter, and for a letter without a name.

    The first word of the character's Unicode name, in the form that the network sees it in.
    """
    canonical = unicodedata.normalize("NFKC", character)[:1]
    if not canonical.isalpha():
        return None
    return unicodedata.name(canonical, "").partition(" ")[0].lower() or None


def letters_of(texts: Sequence[str]) -> tuple[list[str], Counts]:
    """The scripts of the texts, sorted, and (n, scripts): how many letters of each stand in each text."""
    found = {one: script_of(one) for one in set[str]().union(*texts)}
    scripts = sorted({script for script in found.values() if script})
    column = np.full(
        max(map(ord, found), default=0) + 1, len(scripts), np.int64
    )  # the last: no letter
    for one, script in found.items():
        if script:
            column[ord(one)] = scripts.index(script)
    chunks = [
        _counted(texts[i : i + near_duplicates.CHUNK], column, len(scripts))
        for i in range(0, len(texts), near_duplicates.CHUNK)
    ]
    return scripts, np.concatenate([np.zeros((0, len(scripts)), np.int64), *chunks])


def _counted(texts: Sequence[str], column: Counts, scripts: int) -> Counts:
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    row = np.repeat(np.arange(len(texts)), [len(one) for one in texts])
    places = np.bincount(row * (scripts + 1) + column[codes], minlength=len(texts) * (scripts + 1))
    return places.reshape(len(texts), scripts + 1)[:, :scripts]


# ---- what is reported


def figures(
    found: Described, token_counts: Mapping[str, Sequence[int]] | None = None
) -> dict[str, Figure]:
    """`NAME.rows` and so on of each set; shares in [0, 1], lengths in characters, tokens a message.

    token_counts: of the sets that have been through the tokenizer.
    """
    unknown = unknown_share(found.words, found.part == 0)
    reported = dict[str, Figure]()
    for name in found.names:
        rows, tokens = found.rows(name), (token_counts or {}).get(name)
        values = {"rows": int(rows.sum()), "spam_share": _mean(found.spam[rows & found.labelled])}
        values |= _percentiles("length", found.lengths[rows])
        values |= _percentiles("tokens", tokens) if tokens is not None else {}
        values["unknown_words"] = _mean(unknown[rows])
        values |= {
            f"script.{script}": share for script, share in script_shares(found, rows).items()
        }
        reported |= {f"{name}.{key}": Figure(value) for key, value in values.items()}
    return reported


def script_shares(found: Described, rows: Mask) -> dict[str, float]:
    """Each script's share of all letters, in [0, 1]."""
    letters = found.letters[rows].sum(axis=0)
    return dict(zip(found.scripts, (letters / max(letters.sum(), 1)).tolist(), strict=True))


def tables(
    found: Described, token_counts: Mapping[str, Sequence[int]] | None = None
) -> dict[str, Table]:
    """`lengths`, `scripts` and `terms` (of the first set's classes), as small tables for plots."""
    return {
        "lengths": (
            ("split", *LENGTHS.names),
            _lengths(found, token_counts or {}),
        ),
        "scripts": (
            ("split", *SCRIPTS.names),
            [
                (name, script, share)
                for name in found.names
                for script, share in script_shares(found, found.rows(name)).items()
            ],
        ),
        "terms": (("label", *TERMS.names), _terms(found)),
    }


def _lengths(found: Described, token_counts: Mapping[str, Sequence[int]]) -> list[tuple[Any, ...]]:
    """The quantile function, which needs no bins: SMS and e-mail fit one plot."""
    rows: list[tuple[Any, ...]] = []
    at = list(range(0, 101, 5))
    for name in found.names:
        characters = _at(found.lengths[found.rows(name)], at)
        tokens = _at(token_counts.get(name, []), at)
        rows += zip([name] * len(at), at, characters, tokens, strict=True)
    return rows


def _terms(found: Described) -> list[tuple[Any, ...]]:
    first = (found.part == 0) & found.labelled
    ranked = log_odds(found.words, first & ~found.spam, first & found.spam)
    of_spam = [row for row in ranked if row[1] > 0][:TOP]
    of_ham = [row for row in ranked[::-1] if row[1] < 0][:TOP]
    return [(label, *row) for label, rows in (("spam", of_spam), ("ham", of_ham)) for row in rows]


def _percentiles(name: str, values: Any) -> dict[str, float | None]:
    return {
        f"{name}.{key}": value
        for key, value in zip(PERCENTILES, _at(values, [*PERCENTILES.values()]), strict=True)
    }


def _at(values: Any, percentiles: list[int]) -> list[float | None]:
    return np.percentile(values, percentiles).tolist() if len(values) else [None] * len(percentiles)


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None
