"""The served model answers alike for one message and for many, in every form of input."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from pipeline.models import keras_files, served_model
from pipeline.models.batches import pad
from pipeline.models.calibration import Decision, calibrate
from pipeline.models.served_model import BATCH_SIZE, SpamDetector
from pipeline.preprocessing import normalize
from pipeline.preprocessing.tokenizer import encode_texts, fit_tokenizer
from tests.harness.labelled_messages import TEXTS
from tests.harness.small_networks import small_network

TOKENIZER = fit_tokenizer(TEXTS, vocabulary_size=400, sequence_length=40)
COUNTS = {"lost_ham_budget": 0.01, "ham": 100, "ham_lost": 0, "lost_ham_upper": 0.03}
DECISION = Decision(slope=1.75, intercept=-0.25, threshold=0.46, **COUNTS)
WORDLESS = ["", " ", "\u200b", ":)", "\N{THUMBS UP SIGN}", "你好", "\x00"]


@pytest.fixture(scope="module")
def network():
    return small_network(TOKENIZER.get_vocab_size(), seed=5, scale=6)


@pytest.fixture(scope="module")
def detector(network, tmp_path_factory):
    """Loads the three artifacts as MLflow stores them."""
    folder = tmp_path_factory.mktemp("artifacts")
    (folder / "tokenizer.json").write_text(TOKENIZER.to_str(), encoding="utf-8")
    keras_files.export(network, folder / "network")
    (folder / "decision.json").write_text(json.dumps(asdict(DECISION)))
    names = ("tokenizer.json", "network", "decision.json")
    return SpamDetector().load(*(folder / name for name in names))


def answer(detector, texts):
    return detector.predict(None, pd.DataFrame({"text": texts}))


@pytest.mark.parametrize("texts", [TEXTS + WORDLESS, []], ids=["all", "none"])
def test_answer_has_label_probability_and_threshold(texts, detector):
    table = answer(detector, texts)
    assert len(table) == len(texts)
    assert table.dtypes.astype(str).tolist() == ["str", "float64", "float64"]
    assert list(table) == ["label", "probability", "threshold"]
    assert table["probability"].between(0, 1, inclusive="neither").all()
    assert table["label"].isin(["ham", "spam"]).all()
    assert (table["threshold"] == 0.46).all()


def test_scores_are_the_networks_alone_and_in_any_order(network, detector):
    texts = TEXTS + WORDLESS
    token_ids = pad([np.array(ids, np.int32) for ids in encode_texts(texts, TOKENIZER)])
    expected = network(token_ids, training=False).numpy()[:, 0]
    assert len(texts) > BATCH_SIZE
    assert detector.scores(texts) == pytest.approx(expected, abs=1e-5)  # XLA rounds differently
    assert detector.scores(texts[::-1]) == pytest.approx(expected[::-1], abs=1e-5)
    for row in (0, 63, 64, 89, 90):
        assert detector.scores([texts[row]]) == pytest.approx(expected[[row]], abs=1e-5)
    assert np.std(expected) > 0.1


def test_html_escapes_of_up_to_three_levels_change_no_score(detector):
    texts = ["abc", "a&#98;c", "a&amp;#98;c", "a&amp;amp;#98;c", "a&amp;amp;amp;#98;c"]
    plain, *escaped, deeper = detector.scores(texts).tolist()
    assert escaped == [plain] * 3
    assert deeper != plain
    texts += [f"&#{'9' * 5000}"]
    undone = [normalize.undo_entities(text) for text in texts]
    assert [served_model.undo_entities(text) for text in texts] == undone


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


def test_series_and_table_get_equal_answers(detector):
    texts = pd.Series(TEXTS[:5], index=[9, 2, 2, 7, 0], name="text")
    expected = answer(detector, TEXTS[:5]).set_index(texts.index)
    for model_input in (texts, texts.to_frame(), texts.to_frame().assign(sender="+44")):
        pd.testing.assert_frame_equal(detector.predict(None, model_input), expected)


@pytest.mark.parametrize("text", [None, ["a", "pair"]])
def test_text_that_is_not_a_string_is_a_bad_request(text, detector):
    with pytest.raises(MlflowException) as refused:
        detector.predict(None, pd.Series(["hello", text], name="text", dtype=object))
    assert refused.value.message == f"text of row 1 is a {type(text).__name__}, not a string"
    assert refused.value.get_http_status_code() == 400
