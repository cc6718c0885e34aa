"""Raw text in, label and probability out: alike for one message and for many, and without our package."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
import keras
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from pipeline.models import architectures
from pipeline.models import calibration
from pipeline.models import keras_files
from pipeline.models.served_model import BATCH
from pipeline.models.served_model import SpamDetector
from pipeline.preprocessing.params import Params
from pipeline.preprocessing.params import Shares
from pipeline.preprocessing.tokenizer import fit_tokenizer
from tests.harness.small_project import MESSAGES
from tests.harness.small_project import ROOT

TEXTS = pd.read_csv(MESSAGES)["body"].tolist()  # 90, more than one batch
DECISION = calibration.Decision(1.75, -0.25, 0.46, 0.01, 100, 0, 0.03)
LONGEST = 40  # tokens, which is sequence_length


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A folder with the three parts, as MLflow keeps them, and the Keras network that they hold."""
    folder = tmp_path_factory.mktemp("parts")
    tokenizer = fit_tokenizer(TEXTS, Params(Shares(0.7, 0.15, 0.15), "2026", 7, 365, 99, 400, LONGEST, 10))
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    keras.utils.set_random_seed(5)
    network = architectures.MODELS["bilstm_article"](
        architectures.Size(["x"] * tokenizer.get_vocab_size(), 7, 6, 0.0, 0.0, 0.0)
    )
    for weights in network.weights:  # far enough from 0 that messages differ
        weights.assign(weights * 3)
    keras_files.export(network, folder / "network")
    (folder / "decision.json").write_text(json.dumps(asdict(DECISION)))
    return folder, network, tokenizer


@pytest.fixture(scope="module")
def detector(parts):
    folder = parts[0]
    return SpamDetector().load(folder / "tokenizer.json", folder / "network", folder / "decision.json")


def answer(detector, texts):
    return detector.predict(None, pd.DataFrame({"text": texts}))


def test_answer_has_label_probability_and_threshold(detector):
    found = answer(detector, TEXTS)
    assert list(found.columns) == ["label", "probability", "threshold"]
    assert [str(dtype) for dtype in found.dtypes] == ["str", "float64", "float64"]
    assert set(found["label"]) == {"ham", "spam"}
    assert found["probability"].between(0, 1, inclusive="neither").all()
    assert set(found["threshold"]) == {0.46}


def test_scores_are_the_networks_in_the_order_of_the_texts(parts, detector):
    _, network, tokenizer = parts
    token_ids = [encoding.ids for encoding in tokenizer.encode_batch(TEXTS)]
    widest = max(map(len, token_ids))
    padded = np.array([ids + [architectures.PAD] * (widest - len(ids)) for ids in token_ids], np.int32)
    expected = network(padded, training=False).numpy()[:, 0]
    assert len(TEXTS) > BATCH
    assert detector.scores(TEXTS) == pytest.approx(expected, abs=1e-5)  # XLA rounds elsewhere
    assert detector.scores(TEXTS[::-1]) == pytest.approx(expected[::-1], abs=1e-5)
    assert np.std(expected) > 0.1


def test_one_message_gets_the_probability_that_it_gets_among_many(detector):
    among_many = answer(detector, TEXTS)
    for row in (0, 17, 63, 64, 89):
        assert answer(detector, TEXTS[row : row + 1])["probability"][0] == pytest.approx(
            among_many["probability"][row],
            abs=1e-5,  # XLA rounds elsewhere in a batch of one
        )


def test_probability_is_that_of_evaluate_bit_for_bit(detector):
    scores = np.concatenate([detector.scores(TEXTS), np.array([0, 1e-9, 0.5, 1 - 1e-7, 1], np.float32)])
    found = detector.probabilities(scores)
    assert found.dtype == np.float64
    assert found.tolist() == calibration.calibrate(scores, DECISION).tolist()


def test_message_exactly_at_the_threshold_is_spam(parts, detector, tmp_path):
    folder = parts[0]
    probability = answer(detector, TEXTS[:9])["probability"]
    middle = probability.sort_values().iloc[4]
    (tmp_path / "decision.json").write_text(json.dumps(asdict(replace(DECISION, threshold=middle))))
    at = SpamDetector().load(folder / "tokenizer.json", folder / "network", tmp_path / "decision.json")
    assert (answer(at, TEXTS[:9])["label"] == "spam").tolist() == (probability >= middle).tolist()
    assert (probability >= middle).sum() == 5


@pytest.mark.parametrize("text", ["", " ", "\u200b", ":)", "\N{THUMBS UP SIGN}", "你好", "\x00"])
def test_text_without_a_known_word_gets_an_answer(text, detector):
    found = answer(detector, [text])
    assert found["label"][0] in ("ham", "spam")
    assert 0 < found["probability"][0] < 1


def test_text_is_cut_where_the_network_stops_reading(detector):
    cut, very_long = answer(detector, ["prize " * LONGEST, "prize " * 20_000])["probability"]
    assert very_long == pytest.approx(cut, abs=1e-6)


def test_series_and_frame_get_the_same_answer_with_their_own_index(detector):
    texts = pd.Series(TEXTS[:5], index=[9, 2, 2, 7, 0], name="text")
    expected = answer(detector, TEXTS[:5]).set_index(texts.index)
    for asked in (texts, texts.to_frame(), texts.to_frame().assign(sender="+44")):
        pd.testing.assert_frame_equal(detector.predict(None, asked), expected)


@pytest.mark.parametrize(
    ("text", "kind"), [(None, "NoneType"), (5, "int"), (float("nan"), "float"), (["a", "pair"], "list")]
)
def test_text_that_is_none_is_a_bad_request(text, kind, detector):
    texts = pd.Series(["hello", text], name="text", dtype=object)
    with pytest.raises(MlflowException) as refused:
        detector.predict(None, texts)
    assert refused.value.message == f"text of row 1 is a {kind}, not a string"
    assert refused.value.get_http_status_code() == 400


def test_no_messages_get_an_empty_answer(detector):
    found = answer(detector, [])
    assert found.shape == (0, 3)
    assert [str(dtype) for dtype in found.dtypes] == ["str", "float64", "float64"]
    assert list(found.columns) == list(answer(detector, ["hello"]).columns)


def test_without_a_decision_it_gives_the_same_scores(parts, detector):
    folder = parts[0]
    bare = SpamDetector().load(folder / "tokenizer.json", folder / "network")
    assert bare.scores(TEXTS[:3]).tolist() == detector.scores(TEXTS[:3]).tolist()


ELSEWHERE = """
import importlib.util, json, pathlib, sys
assert importlib.util.find_spec("pipeline") is None
import pandas, mlflow
from served_model import SpamDetector
context = mlflow.pyfunc.PythonModelContext({"tokenizer": "tokenizer.json", "network": "network",
                                            "decision": "decision.json"}, None)
detector = SpamDetector()
detector.load_context(context)
detector.predict(context, pandas.DataFrame({"text": json.load(sys.stdin)})).to_json("answer.json")
"""


@pytest.mark.slow
def test_it_answers_alike_where_our_package_cannot_be_imported(parts, detector, tmp_path):
    folder = tmp_path / "elsewhere"
    shutil.copytree(parts[0], folder)
    shutil.copyfile(ROOT / "pipeline" / "served_model.py", folder / "served_model.py")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", ELSEWHERE]
    done = subprocess.run(
        command, cwd=folder, env=environment, input=json.dumps(TEXTS), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    there, here = pd.read_json(folder / "answer.json", precise_float=True), answer(detector, TEXTS)
    assert there["probability"].tolist() == pytest.approx(here["probability"].tolist(), abs=1e-6)
    assert there["label"].tolist() == here["label"].tolist()
