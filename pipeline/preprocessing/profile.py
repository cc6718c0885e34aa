"""Describes sets of messages: labels, lengths, tokens, scripts, unknown words, typical terms."""

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.reports import Figure
from pipeline.core.schemas import LENGTHS, SCRIPTS, TERMS
from pipeline.preprocessing import normalize
from pipeline.preprocessing.scripts import LetterCounts, letters_by_script
from pipeline.preprocessing.time_windows import Mask

ProfileTable = tuple[list[str], list[tuple[Any, ...]]]  # columns, rows

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")  # letters only, so that no number is reported
PERCENTILES = {"p5": 5, "median": 50, "p95": 95}
LENGTH_PERCENTILES = range(0, 101, 5)
MIN_MESSAGES_PER_TERM = 10  # rarer terms are not reported, as they could identify a message
TERMS_PER_CLASS = 20


@dataclass(frozen=True)
class Words:
    """The distinct words of each message, as w pairs of a message and a word."""

    vocabulary: list[str]
    word: NDArray[np.int32]  # (w,), position of the word in the vocabulary
    message: NDArray[np.int32]  # (w,), row number of the message

    def messages_with(self, among: Mask) -> NDArray[np.int64]:
        """(vocabulary,): number of messages with each word.

        Args:
            among: (n,), the messages to count.
        """
        return np.bincount(self.word[among[self.message]], minlength=len(self.vocabulary))


@dataclass(frozen=True)
class DescribedSets:
    """The n messages of several sets, one set after the other. The first set is the reference."""

    names: list[str]
    part: NDArray[np.intp]  # (n,), position of the message's set in `names`
    texts: list[str]  # canonical, so that an encoding makes no difference
    spam: Mask
    labelled: Mask  # ham or spam
    lengths: NDArray[np.int64]  # (n,), characters of the canonical texts
    words: Words
    scripts: list[str]
    letters: LetterCounts  # with look-alike letters of other scripts as they are

    def rows(self, name: str) -> Mask:
        """(n,): the messages of one set."""
        return self.part == self.names.index(name)


def describe_sets(sets: Mapping[str, pd.DataFrame]) -> DescribedSets:
    """The sets with their words, lengths and scripts. A null text counts as the empty text.

    Args:
        sets: by name, tables with the columns text and label; both may be null.
    """
    messages = pd.concat(sets.values(), ignore_index=True)
    written = messages["text"].fillna("").tolist()
    texts = [normalize.canonicalise(text) for text in written]
    scripts, letters = letters_by_script([normalize.undo_entities(text) for text in written])
    return DescribedSets(
        names=list(sets),
        part=np.repeat(np.arange(len(sets)), [len(part) for part in sets.values()]),
        texts=texts,
        spam=(messages["label"] == "spam").to_numpy(np.bool_),
        labelled=messages["label"].isin(["ham", "spam"]).to_numpy(np.bool_),
        lengths=np.array([len(text) for text in texts], np.int64),
        words=words_of(texts),
        scripts=scripts,
        letters=letters,
    )


# ---- words


def words_of(texts: Sequence[str]) -> Words:
    """The words of the masked texts; a word is a run of letters."""
    number: dict[str, int] = {}
    word = array("i")
    counts = array("i")
    for text in texts:
        distinct = dict.fromkeys(WORD.findall(normalize.mask(text)))
        word.extend([number.setdefault(each, len(number)) for each in distinct])
        counts.append(len(distinct))
    message = np.repeat(np.arange(len(texts), dtype=np.int32), np.array(counts, np.int32))
    return Words(list(number), np.array(word, np.int32), message)


def unknown_word_shares(words: Words, reference: Mask) -> NDArray[np.float64]:
    """(n,): the share of each message's words that no other reference message has; 0 if no words.

    A reference message is compared with the other reference messages only, so that its share is
    comparable to that of a new message.

    Args:
        reference: (n,), the messages of the reference.
    """
    others = words.messages_with(reference)[words.word] - reference[words.message]
    per_message = np.bincount(words.message, minlength=len(reference))
    unknown = np.bincount(words.message[others == 0], minlength=len(reference))
    return unknown / np.maximum(per_message, 1)


def log_odds(words: Words, ham: Mask, spam: Mask) -> list[tuple[str, float, int, int]]:
    """(word, log odds of spam against ham, spam messages, ham messages), highest odds first.

    Only for words in MIN_MESSAGES_PER_TERM or more messages. Half a message is added to each count,
    so that the odds are finite if only one class has the word.

    Args:
        ham, spam: (n,), the messages of each class.
    """
    with_word = np.stack([words.messages_with(spam), words.messages_with(ham)])  # (2, vocabulary)
    without_word = np.array([[spam.sum()], [ham.sum()]]) - with_word
    spam_logit, ham_logit = np.log((with_word + 0.5) / (without_word + 0.5))
    frequent = np.flatnonzero(with_word.sum(axis=0) >= MIN_MESSAGES_PER_TERM)
    rows = [
        (words.vocabulary[i], float(spam_logit[i] - ham_logit[i]), *with_word[:, i].tolist())
        for i in frequent
    ]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


# ---- the report


def profile_figures(
    sets: DescribedSets, token_counts: Mapping[str, Sequence[int]] | None = None
) -> dict[str, Figure]:
    """Figures of each set.

    `SET.rows`, `SET.length.*` (characters of the canonical texts) and `SET.tokens.*` with the
    percentiles p5, median and p95, and shares in [0, 1]: `SET.spam_share`, `SET.unknown_words`
    (mean over the messages) and `SET.script.*`. A figure that is undefined in an empty set has the
    value None.

    Args:
        token_counts: by set, the tokens of each message; sets without it have no `tokens`.
    """
    unknown = unknown_word_shares(sets.words, sets.part == 0)
    figures: dict[str, Figure] = {}
    for name in sets.names:
        rows = sets.rows(name)
        values: dict[str, float | None] = {
            "rows": int(rows.sum()),
            "spam_share": _mean_or_none(sets.spam[rows & sets.labelled]),
        }
        values |= _named_percentiles("length", sets.lengths[rows])
        if token_counts and name in token_counts:
            values |= _named_percentiles("tokens", token_counts[name])
        values["unknown_words"] = _mean_or_none(unknown[rows])
        for script, share in script_shares(sets, rows).items():
            values[f"script.{script}"] = share
        figures |= {f"{name}.{key}": Figure(value) for key, value in values.items()}
    return figures


def script_shares(sets: DescribedSets, rows: Mask) -> dict[str, float]:
    """Each script's share of all letters in these rows, in [0, 1], by the script's name.

    Args:
        rows: (n,), the messages to count.
    """
    letters = sets.letters[rows].sum(axis=0)
    return dict(zip(sets.scripts, (letters / max(letters.sum(), 1)).tolist(), strict=True))


def profile_tables(
    sets: DescribedSets, token_counts: Mapping[str, Sequence[int]]
) -> dict[str, ProfileTable]:
    """Tables for plots: `lengths_SET`, `scripts_SET`, `terms_ham` and `terms_spam`.

    Their columns are those of LENGTHS, SCRIPTS and TERMS. The terms are those of the first set.

    Args:
        token_counts: by set, the tokens of each message.
    """
    tables: dict[str, ProfileTable] = {}
    for name in sets.names:
        rows = sets.rows(name)
        quantiles = zip(
            LENGTH_PERCENTILES,
            _percentiles(sets.lengths[rows], LENGTH_PERCENTILES),
            _percentiles(token_counts.get(name, []), LENGTH_PERCENTILES),
            strict=True,
        )
        tables[f"lengths_{name}"] = (LENGTHS.names, list(quantiles))
        tables[f"scripts_{name}"] = (SCRIPTS.names, list(script_shares(sets, rows).items()))
    first = (sets.part == 0) & sets.labelled
    ranked = log_odds(sets.words, first & ~sets.spam, first & sets.spam)
    ham_terms = [row for row in reversed(ranked) if row[1] < 0][:TERMS_PER_CLASS]
    spam_terms = [row for row in ranked if row[1] > 0][:TERMS_PER_CLASS]
    return tables | {
        "terms_ham": (TERMS.names, ham_terms),
        "terms_spam": (TERMS.names, spam_terms),
    }


def _named_percentiles(name: str, values: Any) -> dict[str, float | None]:
    percentiles = _percentiles(values, PERCENTILES.values())
    return {f"{name}.{key}": value for key, value in zip(PERCENTILES, percentiles, strict=True)}


def _percentiles(values: Any, at: Any) -> list[float | None]:
    at = list(at)
    return np.percentile(values, at).tolist() if len(values) else [None] * len(at)


def _mean_or_none(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None
