"""The served model answers alike for one message and for many, in every form of input."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from pipeline.models import keras_files, served_model
from pipeline.models.batches import pad
from pipeline.models.calibration import Decision, SourceDecisions
from pipeline.models.served_model import (
    BATCH_SIZE,
    MAX_TOKENS,
    START_ID,
    SpamDetector,
    answers,
    count_characters,
    score_in_windows,
)
from pipeline.preprocessing import normalize
from pipeline.preprocessing.tokenizer import encode_texts, fit_tokenizer, tokenizer_json
from tests.harness.labelled_messages import TEXTS
from tests.harness.small_networks import small_network

WINDOW, WINDOW_STEP = 250, 125  # characters
TOKENIZER = fit_tokenizer(TEXTS, vocabulary_size=400, sequence_length=100)
COUNTS = {"lost_ham_budget": 0.01, "ham": 100, "ham_lost": 0, "lost_ham_upper": 0.03}
COUNTS |= {"spam": 10, "spam_caught": 9}
CONFIDENT = {"confident_ham": 0.25, "confident_spam": 0.75}
OF_SMS = Decision(slope=1.0, intercept=0.0, threshold=0.2, **COUNTS, **CONFIDENT)
DECISION = SourceDecisions(
    slope=1.75, intercept=-0.25, threshold=0.46, **COUNTS, **CONFIDENT, sources={"sms": OF_SMS}
)
WORDLESS = ["", " ", "\u200b", ":)", "\N{THUMBS UP SIGN}", "你好", "\x00"]


@pytest.fixture(scope="module")
def network():
    return small_network(TOKENIZER.get_vocab_size(), seed=5, scale=6)


@pytest.fixture(scope="module")
def detector(network, tmp_path_factory):
    """Loads the three artifacts as MLflow stores them."""
    folder = tmp_path_factory.mktemp("artifacts")
    (folder / "tokenizer.json").write_text(tokenizer_json(TOKENIZER, WINDOW), encoding="utf-8")
    keras_files.export(network, folder / "network")
    (folder / "decision.json").write_text(json.dumps(asdict(DECISION)))
    names = ("tokenizer.json", "network", "decision.json")
    return SpamDetector().load(*(folder / name for name in names))


def answer(detector, texts):
    return detector.predict(None, pd.DataFrame({"text": texts}))


@pytest.mark.parametrize("texts", [TEXTS + WORDLESS, []], ids=["all", "none"])
def test_answer_has_its_four_columns(texts, detector):
    table = answer(detector, texts)
    assert len(table) == len(texts)
    assert table.dtypes.astype(str).tolist() == ["str", "float64", "float64", "bool"]
    assert list(table) == ["label", "probability", "threshold", "confident"]
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


def test_characters_are_counted_in_every_script():
    texts = [
        "hello, wörld £5",
        "สวัสดีครับ",
        "你好，世界",
        "привет",
        "\N{THUMBS UP SIGN}\U0001f3fd 12",
    ]
    tokenizer = fit_tokenizer(TEXTS, vocabulary_size=400, sequence_length=100)
    counts = count_characters(tokenizer)
    for text in texts:
        plain = tokenizer.normalizer.normalize_str(text)
        ids = tokenizer.encode(text).ids
        assert abs(int(counts[ids].sum()) - len(plain)) <= 1  # a space may begin the message


def odds(score):
    return score / (1 - score)


def test_long_message_is_scored_by_the_largest_of_its_windows(network, detector):
    text = " ".join(TEXTS[:50])
    ids = detector.tokenizer.encode(text).ids
    assert len(text) > 6 * WINDOW
    assert len(ids) < MAX_TOKENS
    windows = []

    def score(token_ids):
        windows.extend(token_ids)
        return network(pad([np.array(i, np.int32) for i in token_ids])).numpy()[:, 0]

    expected = score_in_windows([ids], detector.characters, score, window_length=WINDOW)
    assert len(windows) > 10
    assert detector.scores([text]) == pytest.approx(expected, abs=1e-5)
    assert detector.scores(["a", text, "b"])[1] == pytest.approx(expected[0], abs=1e-5)
    scores = [network(pad([np.array(ids, np.int32)])).numpy()[0, 0] for ids in windows]
    assert max(scores) > scores[0] + 1e-3
    assert odds(expected[0]) == pytest.approx(odds(max(scores)) / np.sqrt(len(windows)), rel=1e-4)


def test_window_is_as_long_as_the_tokenizer_says(network, detector, tmp_path):
    text = " ".join(TEXTS[:8])
    assert WINDOW < len(text) < 1000
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(TOKENIZER, 1000), encoding="utf-8")
    keras_files.export(network, tmp_path / "network")
    whole = SpamDetector().load(tmp_path / "tokenizer.json", tmp_path / "network")
    ids = np.array(detector.tokenizer.encode(text).ids, np.int32)
    assert whole.scores([text]) == pytest.approx(network(pad([ids])).numpy()[0], abs=1e-5)
    assert detector.scores([text]) != pytest.approx(whole.scores([text]), abs=1e-3)


@pytest.mark.parametrize("length", [0, 1, WINDOW, WINDOW + 1, WINDOW + WINDOW_STEP, 1000])
@pytest.mark.parametrize("width", [1, 3])
def test_windows_hold_every_token_and_so_many_characters(length, width):
    characters = np.zeros(5000, np.int64)
    characters[1000::width] = 1  # each character has `width` tokens
    seen = []

    def score(windows):
        seen.extend(windows)
        return np.arange(len(windows)) / 100

    ids = [START_ID, *range(1000, 1000 + width * length)]
    scores = score_in_windows([ids, [START_ID]], characters, score, window_length=WINDOW)
    assert [window[0] for window in seen] == [START_ID] * len(seen)
    assert {token for window in seen for token in window[1:]} == set(ids[1:])
    assert {characters[window].sum() for window in seen[:-1]} == {min(length, WINDOW)}
    count = max(1, 1 + -(-(length - WINDOW) // WINDOW_STEP))
    assert len(seen) == count + 1
    assert odds(scores[0]) == pytest.approx(odds((count - 1) / 100) / np.sqrt(count))
    assert scores[1] == np.float32(count / 100)


def test_html_escapes_of_up_to_three_levels_change_no_score(detector):
    texts = ["abc", "a&#98;c", "a&amp;#98;c", "a&amp;amp;#98;c", "a&amp;amp;amp;#98;c"]
    plain, *escaped, deeper = detector.scores(texts).tolist()
    assert escaped == [plain] * 3
    assert deeper != plain
    texts += [f"&#{'9' * 5000}"]
    undone = [normalize.undo_entities(text) for text in texts]
    assert [served_model.undo_entities(text) for text in texts] == undone


def test_answers_are_the_documented_formulas():
    scores = np.array([0.0, 1e-8, 0.25, 0.4, 0.5, 0.7, 1.0], np.float32)
    sources = [None, "", "unknown", "sms", "sms/part", 5, "other"]
    table = answers(scores, sources, asdict(DECISION))
    s = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    of_sms = np.array([False, False, False, True, True, False, False])
    slope, intercept = np.where(of_sms, 1.0, 1.75), np.where(of_sms, 0.0, -0.25)
    expected = 1 / (1 + np.exp(-(slope * np.log(s / (1 - s)) + intercept)))
    assert table["probability"].tolist() == expected.tolist()
    assert table["threshold"].tolist() == np.where(of_sms, 0.2, 0.46).tolist()
    assert table["label"].tolist() == ["ham", "ham", "ham", "spam", "spam", "spam", "spam"]
    # of sms 0.4 and 0.5 are spam and below 0.75; of the others 0.25 and 0.7 become 0.1 and 0.77
    assert table["confident"].tolist() == [True, True, True, False, False, True, True]


def test_a_decision_of_older_code_is_always_confident():
    decision = {"slope": 1.0, "intercept": 0.0, "threshold": 0.5}
    table = answers(np.array([0.1, 0.5, 0.9]), [None] * 3, decision)
    assert table["confident"].all()
    assert table["label"].tolist() == ["ham", "spam", "spam"]


def test_message_at_a_bound_is_spam_and_confident():
    (probability,) = answers(np.array([0.625]), [None], asdict(DECISION))["probability"]
    for name, label, confident in (
        ("threshold", "spam", False),
        ("confident_spam", "spam", True),
        ("confident_ham", "ham", True),
    ):
        bounds = {"threshold": probability, "confident_spam": 1.0, "confident_ham": 0.0}
        bounds |= {"threshold": 0.9} if name == "confident_ham" else {}
        decision = asdict(DECISION) | bounds | {name: probability}
        (row,) = answers(np.array([0.625]), [None], decision).to_dict("records")
        assert (row["label"], row["confident"]) == (label, confident)


def test_source_is_an_optional_column(detector):
    table = pd.DataFrame({"text": TEXTS[:4], "source": ["sms", None, "sms/a", "other"]})
    of_table = detector.predict(None, table)
    assert of_table["threshold"].tolist() == [0.2, 0.46, 0.2, 0.46]
    alone = answer(detector, TEXTS[:4])
    assert of_table["probability"][1] == alone["probability"][1] != of_table["probability"][0]


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
