"""Explains an answer of the model: how much each word changes the logit of the probability.

A word's weight is the logit (log-odds) of the message minus the logit of the message without the
word, by the model that answers, so that it holds for every architecture. All variants of a message
are labelled in one batch.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.preprocessing import normalize
from pipeline.serving.labels import READ_CHARACTERS, label_messages

# of a message: with the message and the empty text, one of the batches of 64 of the model
MOST_PARTS = 62
FEWEST_PARTS = 8  # of a message with as many words
# of all variants of a message together, as a long one is read in windows; ten times a plain answer
MOST_VARIANT_CHARACTERS = 40_000
SMALLEST_PROBABILITY = 1e-12  # smaller ones, and those as near to 1, have this one's logit

# Scripts without spaces are split into two characters (Chinese, Japanese) or four (Thai, Khmer).
_IDEOGRAMS = "\u3040-\u30ff\u3400-\u9fff"
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_WORD = re.compile(
    rf"\s*(?:[{_IDEOGRAMS}]{{1,2}}|[{_UNSPACED}]{{1,4}}|[^\s{_IDEOGRAMS}{_UNSPACED}]+)(?:\s+\Z)?"
)

AnswerRow = dict[str, Any]  # label, probability, threshold and confident; here also `reasons`


def message_parts(text: str) -> list[str]:
    """The words of a message as the tokenizer reads them, each with the white space before it.

    Joined they are the text that is read. In a long message a part is several words.
    """
    read = normalize.canonicalise(text)[:READ_CHARACTERS]
    words = _WORD.findall(read)
    if not words:
        return []
    affordable = max(FEWEST_PARTS, MOST_VARIANT_CHARACTERS // len(read))
    number = min(len(words), MOST_PARTS, affordable)
    ends = [len(words) * part // number for part in range(number + 1)]
    return ["".join(words[start:end]) for start, end in pairwise(ends)]


def without_parts(parts: Sequence[str]) -> list[str]:
    """The empty text, then the text without each of the parts."""
    return ["", *("".join([*parts[:i], *parts[i + 1 :]]) for i in range(len(parts)))]


def with_reasons(parts: Sequence[str], answers: Sequence[AnswerRow]) -> AnswerRow:
    """The answer to a message with `reasons`: logit = base + sum of weights + rest.

    `base` is the logit of the empty text. `rest` is what the words do together: of two words that
    say the same, each weighs little, as the other one stays.

    Args:
        answers: to the message, and to its variants of `without_parts`.
    """
    message, empty, *variants = _logits([answer["probability"] for answer in answers])
    weights = [message - variant for variant in variants]
    words = [{"text": part, "weight": weight} for part, weight in zip(parts, weights, strict=True)]
    rest = message - empty - sum(weights)
    return answers[0] | {"reasons": {"logit": message, "base": empty, "rest": rest, "words": words}}


def explain_message(text: str, model: Any, source: str | None = None) -> AnswerRow:
    """The answer of an MLflow pyfunc model to a message, as in `with_reasons`."""
    parts = message_parts(text)
    texts = [text, *without_parts(parts)]
    table = label_messages(texts, model, [source] * len(texts))
    return with_reasons(parts, table.to_dict("records"))  # type: ignore[arg-type] # named columns


def _logits(probabilities: Sequence[float]) -> list[float]:
    bounded = np.clip(probabilities, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return [float(logit) for logit in np.log(bounded / (1 - bounded))]
