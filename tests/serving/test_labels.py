"""Texts get the same labels by every way in; what the model cannot read is cut off before."""

import pytest

from pipeline.serving.labels import READ_CHARACTERS, label_messages
from tests.serving.test_batch import Model

LONGEST = "win " * (READ_CHARACTERS // 4)
INVISIBLE = "\u200b"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", ""),
        (LONGEST, LONGEST),
        (LONGEST + "x", LONGEST),
        (INVISIBLE * READ_CHARACTERS + "win", "win"),
    ],
)
def test_model_reads_the_first_visible_characters(text, read):
    model = Model()
    answers = label_messages([text, "ham"], model)
    assert model.texts == [read, "ham"]
    assert answers["label"].tolist() == ["spam" if read else "ham", "ham"]


def test_sources_that_are_known_reach_the_model():
    model = Model()
    label_messages(["a", "b"], model, ["sms", None])
    label_messages(["c"], model, [None])
    assert model.sources == ["sms", "", None]
