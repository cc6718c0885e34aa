"""Every interface brings each text to the model unchanged."""

import zlib

import pandas as pd
import pytest

from pipeline.registry import parity_client
from pipeline.registry.parity import HOSTILE_TEXTS
from tests.harness import small_models

CHECKSUM = """import zlib
        share = [zlib.crc32(text.encode()) / 2**32 for text in texts]
        return pandas.DataFrame({"label": "ham", "probability": share})"""


@pytest.mark.parametrize("interface", parity_client.PYTHON_INTERFACES)
def test_interface_brings_hostile_texts_unchanged(interface, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = small_models.save_hand_written(tmp_path, CHECKSUM)
    messages = pd.DataFrame({"text": HOSTILE_TEXTS, "source": "sms"}, dtype="str")
    assert parity_client.answer_or_error(interface, model, messages) == {
        "label": ["ham"] * len(HOSTILE_TEXTS),
        "probability": [zlib.crc32(text.encode()) / 2**32 for text in HOSTILE_TEXTS],
    }


@pytest.mark.parametrize("interface", parity_client.PYTHON_INTERFACES)
def test_error_of_a_model_is_told_without_the_text(interface, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = small_models.save_hand_written(tmp_path, "raise ValueError(texts[0])")
    messages = pd.DataFrame({"text": ["a secret"]}, dtype="str")
    answer = parity_client.answer_or_error(interface, model, messages)
    assert answer == "ValueError at hand_written.py:8"


def test_client_refuses_to_run_beside_our_code(tmp_path):
    with pytest.raises(RuntimeError, match=r"^pipeline can be imported, so this would not test "):
        parity_client.main("model", str(tmp_path / "texts.json"), str(tmp_path / "answers.json"))
    assert list(tmp_path.iterdir()) == []
