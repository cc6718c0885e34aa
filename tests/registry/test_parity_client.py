"""Each way brings every text to the model as it is, and says in one line where there is no answer."""

import zlib

import pytest

from pipeline.registry import parity_client
from pipeline.registry.parity import HOSTILE
from tests.harness import small_models

CHECKSUM = """import zlib
        share = [zlib.crc32(text.encode()) / 2**32 for text in texts]
        return pandas.DataFrame({"label": "ham", "probability": share})"""


@pytest.mark.slow
def test_every_way_brings_every_hostile_text_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = small_models.hand_written(tmp_path, CHECKSUM)
    expected = [zlib.crc32(text.encode()) / 2**32 for text in HOSTILE]
    for way in parity_client.WAYS:
        assert parity_client.answer(way, model, HOSTILE) == {
            "label": ["ham"] * len(HOSTILE),
            "probability": expected,
        }


@pytest.mark.slow
def test_what_the_model_raises_is_told_without_the_text_of_a_message(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = small_models.hand_written(tmp_path, "raise ValueError(texts[0])")
    for way in parity_client.WAYS:
        assert parity_client.answer(way, model, ["a secret"]) == "ValueError at hand_written.py:8"


def test_it_refuses_to_ask_where_our_code_can_be_imported(tmp_path):
    with pytest.raises(
        AssertionError, match=r"^pipeline can be imported: this would prove nothing"
    ):
        parity_client.main("model", str(tmp_path / "texts.json"), str(tmp_path / "answers.json"))
    assert list(tmp_path.iterdir()) == []
