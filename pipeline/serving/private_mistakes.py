"""The worst mistakes of a model with their texts and the words that decided, for private pages."""

from typing import Any

import pandas as pd

from pipeline.registry.pages.report import MarkedMistake
from pipeline.serving.explanations import AnswerRow, explain_message
from pipeline.serving.labels import valid_unicode
from pipeline.serving.verdict_text import LEAST_WEIGHT


def marked_mistakes(mistakes: pd.DataFrame, model: Any) -> list[MarkedMistake]:
    """A mistake of each row, with its text as the model reads it.

    Args:
        mistakes: a table of MISTAKES.
        model: the MLflow pyfunc model that made them.
    """
    return [
        MarkedMistake(
            message_id=row["message_id"],
            label=row["label"],
            source=row["source"],
            probability=row["probability"],
            wrong=row["wrong"],
            parts=marked_parts(explain_message(valid_unicode(row["text"]), model, row["source"])),
        )
        for row in mistakes.to_dict("records")
    ]


def marked_parts(answer: AnswerRow) -> list[tuple[str, str]]:
    """Each word, with what it speaks for: spam, ham or nothing.

    Words that weigh less than a quarter of the heaviest one decided nothing.
    """
    words = answer["reasons"]["words"]
    heaviest = max((abs(word["weight"]) for word in words), default=0)
    least = max(LEAST_WEIGHT, heaviest / 4)
    parts = []
    for word in words:
        text = word["text"].lstrip()
        blank = word["text"].removesuffix(text)
        parts += [(blank, ""), (text, _speaks_for(word["weight"], least))]
    return [(text, speaks_for) for text, speaks_for in parts if text]


def _speaks_for(weight: float, least: float) -> str:
    if abs(weight) < least:
        return ""
    return "spam" if weight > 0 else "ham"
