"""The served model answers alike for one message and for many, and without our package."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from pipeline.models import keras_files, served_model
from pipeline.models.batches import pad
from pipeline.models.calibration import Decision, calibrate
from pipeline.models.served_model import BATCH_SIZE, SpamDetector
from pipeline.preprocessing.tokenizer import encode_texts, fit_tokenizer
from tests.harness.labelled_messages import TEXTS
from tests.harness.small_networks import small_network

TOKENIZER = fit_tokenizer(TEXTS, vocabulary_size=400, sequence_length=40)
COUNTS = {"lost_ham_budget": 0.01, "ham": 100, "ham_lost": 0, "lost_ham_upper": 0.03}
DECISION = Decision(slope=1.75, intercept=-0.25, threshold=0.46, **COUNTS)


def new_detector(network, folder):
    """Writes the three artifacts as MLflow stores them, and loads them."""
    names = ("tokenizer.json", "network", "decision.json")
    tokenizer, saved, decision = (folder / name for name in names)
    tokenizer.write_text(TOKENIZER.to_str(), encoding="utf-8")
    keras_files.export(network, saved)
    decision.write_text(json.dumps(asdict(DECISION)))
    return SpamDetector().load(tokenizer, saved, decision)


@pytest.fixture(scope="module")
def network():
    return small_network(TOKENIZER.get_vocab_size(), seed=5, scale=6)


@pytest.fixture(scope="module")
def detector(network, tmp_path_factory):
    return new_detector(network, tmp_path_factory.mktemp("artifacts"))


def answer(detector, texts):
    return detector.predict(None, pd.DataFrame({"text": texts}))


@pytest.mark.parametrize("texts", [TEXTS, []], ids=["90 messages", "none"])
def test_answer_has_label_probability_and_threshold(texts, detector):
    table = answer(detector, texts)
    assert len(table) == len(texts)
    assert table.dtypes.astype(str).tolist() == ["str", "float64", "float64"]
    assert list(table) == ["label", "probability", "threshold"]
    assert table["probability"].between(0, 1, inclusive="neither").all()
    assert table["label"].isin(["ham", "spam"]).all()
    assert (table["threshold"] == 0.46).all()


def test_scores_are_the_networks_in_the_order_of_the_texts(network, detector):
    token_ids = pad([np.array(ids, np.int32) for ids in encode_texts(TEXTS, TOKENIZER)])
    expected = network(token_ids, training=False).numpy()[:, 0]
    assert len(TEXTS) > BATCH_SIZE
    assert detector.scores(TEXTS) == pytest.approx(expected, abs=1e-5)  # XLA rounds differently
    assert detector.scores(TEXTS[::-1]) == pytest.approx(expected[::-1], abs=1e-5)
    assert np.std(expected) > 0.1


def test_probability_does_not_depend_on_other_messages(detector):
    together = answer(detector, TEXTS)["probability"]
    for row in (0, 63, 64, 89):
        alone = answer(detector, TEXTS[row : row + 1])["probability"][0]
        assert alone == pytest.approx(together[row], abs=1e-5)


def test_probability_equals_that_of_evaluate_bit_for_bit(detector):
    extremes = np.array([0, 1e-9, 0.5, 1 - 1e-7, 1], np.float32)
    scores = np.concatenate([detector.scores(TEXTS), extremes])
    assert detector.probabilities(scores).tolist() == calibrate(scores, DECISION).tolist()


def test_message_at_the_threshold_is_spam(detector, monkeypatch):
    probability = answer(detector, TEXTS[:9])["probability"]
    monkeypatch.setitem(detector.decision, "threshold", probability.median())
    is_spam = answer(detector, TEXTS[:9])["label"] == "spam"
    assert is_spam.tolist() == (probability >= probability.median()).tolist()
    assert is_spam.sum() == 5


@pytest.mark.parametrize("text", ["", " ", "\u200b", ":)", "\N{THUMBS UP SIGN}", "你好", "\x00"])
def test_text_without_a_known_word_gets_an_answer(text, detector):
    table = answer(detector, [text])
    assert table["label"][0] in ("ham", "spam")
    assert 0 < table["probability"][0] < 1


def test_series_and_table_get_equal_answers(detector):
    texts = pd.Series(TEXTS[:5], index=[9, 2, 2, 7, 0], name="text")
    expected = answer(detector, TEXTS[:5]).set_index(texts.index)
    for model_input in (texts, texts.to_frame(), texts.to_frame().assign(sender="+44")):
        pd.testing.assert_frame_equal(detector.predict(None, model_input), expected)


@pytest.mark.parametrize("text", [None, float("nan"), ["a", "pair"]])
def test_text_that_is_not_a_string_is_a_bad_request(text, detector):
    with pytest.raises(MlflowException) as refused:
        detector.predict(None, pd.Series(["hello", text], name="text", dtype=object))
    assert refused.value.message == f"text of row 1 is a {type(text).__name__}, not a string"
    assert refused.value.get_http_status_code() == 400


WITHOUT_OUR_PACKAGE = """
import importlib.util, json, sys
assert importlib.util.find_spec("pipeline") is None
import mlflow, pandas
from served_model import SpamDetector
names = {"tokenizer": "tokenizer.json", "network": "network", "decision": "decision.json"}
context = mlflow.pyfunc.PythonModelContext(names, None)
detector = SpamDetector()
detector.load_context(context)
table = detector.predict(context, pandas.DataFrame({"text": json.load(sys.stdin)}))
table.to_json("answer.json", double_precision=15)
"""


@pytest.mark.slow
def test_answers_are_equal_without_our_package(tmp_path):
    network = small_network(TOKENIZER.get_vocab_size(), seed=5, model="bilstm_article", scale=3)
    here = answer(new_detector(network, tmp_path), TEXTS)
    shutil.copyfile(served_model.__file__, tmp_path / "served_model.py")
    command = [sys.executable, "-c", WITHOUT_OUR_PACKAGE]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, cwd=tmp_path, env=env, input=json.dumps(TEXTS), text=True, check=True)
    there = pd.read_json(tmp_path / "answer.json", precise_float=True)
    assert there["probability"].tolist() == pytest.approx(here["probability"].tolist(), abs=1e-6)
    assert there["label"].tolist() == here["label"].tolist()
