"""Tells a person what the model answered: a sentence, the text with marked words, the weights."""

import math
import string
from collections.abc import Sequence
from typing import Any

from pipeline.core.errors import escape, shorten

STRONGEST = 3  # words that a sentence names
TABLE_WORDS = 10  # the others have one line together
LEAST_WEIGHT = 0.05  # of a word that is named
LONGEST_NAME = 40  # characters of a word, or of the words of a part
MARKS = {"spam": "\x1b[31m", "ham": "\x1b[32m"}  # red and green, by what a word speaks for
END_OF_MARK = "\x1b[0m"
OUTER_SIGNS = string.whitespace + ".,;:!?\"'()[]…“”‘’"

ExplainedAnswer = dict[str, Any]  # an answer with `reasons`, see explanations.with_reasons


def word_name(part: str) -> str:
    """A part of a message without punctuation marks around it, on one line."""
    return shorten(escape(part.strip(OUTER_SIGNS) or part.strip()), LONGEST_NAME)


def strongest_words(answer: ExplainedAnswer) -> list[str]:
    """At most STRONGEST words that speak for the label, the strongest first."""
    sign = 1 if answer["label"] == "spam" else -1
    words = sorted(answer["reasons"]["words"], key=lambda word: -sign * word["weight"])
    named = [word for word in words if sign * word["weight"] >= LEAST_WEIGHT]
    return [word_name(word["text"]) for word in named[:STRONGEST]]


def weights_text(answer: ExplainedAnswer) -> str:
    """The heaviest words with their weights, such as `free +2.1, lunch -1.3`."""
    heaviest = sorted(answer["reasons"]["words"], key=_heaviest_first)[:STRONGEST]
    named = [word for word in heaviest if abs(word["weight"]) >= LEAST_WEIGHT]
    return ", ".join(f"{word_name(word['text'])} {word['weight']:+.1f}" for word in named)


def sentence(answer: ExplainedAnswer) -> str:
    """Label, how sure, whether a person should look, the strongest words, and the version."""
    label, probability = answer["label"], answer["probability"]
    start = f"{label.capitalize()}, {percent(probability if label == 'spam' else 1 - probability)}"
    start += " % sure"
    if label == "ham" and probability > 0.5:  # the threshold protects ham
        needed = percent(answer["threshold"])
        start = (
            f"Ham, as it is {percent(probability)} % likely to be spam and {needed} % are needed"
        )
    doubt = "" if answer["confident"] else ", so a person should look"
    reason = _reason([f'"{word}"' for word in strongest_words(answer)])
    return f"{start}{doubt}: {reason} {label}. Version {answer['model_version']}."


def percent(share: float) -> str:
    """A share in [0, 1] in per cent, rounded down, so that it is never 100."""
    return f"{min(math.floor(1000 * share) / 10, 99.9):.1f}"


def _reason(words: Sequence[str]) -> str:
    if not words:
        return "no single word speaks for"
    *others, last = words
    names = f"{', '.join(others)} and {last}" if others else last
    return f"{names} {'speak' if others else 'speaks'} for"


def marked_text(answer: ExplainedAnswer, color: bool) -> str:
    """The text as the model reads it, with each word in the colour of what it speaks for."""
    return "".join(
        _marked(word["text"], word["weight"]) if color else escape(word["text"])
        for word in answer["reasons"]["words"]
    ).strip()


def _marked(part: str, weight: float) -> str:
    text = escape(part)
    if abs(weight) < LEAST_WEIGHT:
        return text
    word = text.lstrip()
    before = text[: len(text) - len(word)]
    return f"{before}{MARKS['spam' if weight > 0 else 'ham']}{word}{END_OF_MARK}"


def weight_table(answer: ExplainedAnswer) -> str:
    """A line for each of the heaviest words, and lines that complete the sum to the logit."""
    reasons = answer["reasons"]
    words = sorted(reasons["words"], key=_heaviest_first)
    rows = [(word_name(word["text"]), word["weight"]) for word in words[:TABLE_WORDS]]
    if others := words[TABLE_WORDS:]:
        rows.append((f"({len(others)} other words)", sum(word["weight"] for word in others)))
    rows.append(("(no words at all)", reasons["base"]))
    rows.append(("(words together)", reasons["rest"]))
    rows.append(("logit", reasons["logit"]))
    return "\n".join(f"  {weight:+7.2f}  {name}" for name, weight in rows)


def _heaviest_first(word: dict[str, Any]) -> float:
    return -abs(word["weight"])
