"""Mistakes keep their texts, and the words that decided are marked."""

import pandas as pd
import pytest

from pipeline.serving.private_mistakes import marked_mistakes, marked_parts
from tests.harness.word_model import WordModel

ROW = {"message_id": "1", "label": "ham", "source": "sms", "probability": 0.9, "wrong": True}


def answer_with(**weights):
    return {"reasons": {"words": [{"text": f" {w}", "weight": weights[w]} for w in weights]}}


def test_words_of_little_weight_are_not_marked():
    parts = marked_parts(answer_with(free=2.0, prize=0.5, now=0.4, lunch=-1.0))
    assert parts == [
        (" ", ""),
        ("free", "spam"),
        (" ", ""),
        ("prize", "spam"),
        (" ", ""),
        ("now", ""),
        (" ", ""),
        ("lunch", "ham"),
    ]


def test_nothing_is_marked_where_nothing_decides():
    assert marked_parts(answer_with(a=0.01)) == [(" ", ""), ("a", "")]
    assert marked_parts(answer_with()) == []


def test_mistake_is_explained_by_the_model_with_its_source():
    model = WordModel()
    (mistake,) = marked_mistakes(pd.DataFrame([{**ROW, "text": "free lunch at noon"}]), model)
    assert mistake._asdict() == {
        **ROW,
        "parts": [
            ("free", "spam"),
            (" ", ""),
            ("lunch", "ham"),
            (" ", ""),
            ("at", ""),
            (" ", ""),
            ("noon", ""),
        ],
    }
    assert model.sources == [pytest.approx(["sms"] * 6)]
