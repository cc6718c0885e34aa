"""A registered model must answer through every interface as the model here does."""

import json
import logging
import re

import pandas as pd
import pytest

from pipeline.registry import parity
from pipeline.registry.parity import HOSTILE_TEXTS, ScoringError
from tests.harness import http_server, small_models
from tests.harness.http_server import sends
from tests.harness.mlflow_store import store_at

TEXTS = small_models.TEXTS
INTERFACES = ["DataFrame", "Series", "batch file", "HTTP"]
THREE = pd.DataFrame({"text": ["one", "two", "three"], "source": "sms"}, dtype="str")
TABLE = pd.DataFrame({"label": ["ham", "spam", "ham"], "probability": [0.25, 0.75, 0.125]})


def messages_of(texts):
    return pd.DataFrame({"text": texts, "source": "sms"}, dtype="str")


# ---- messages


def test_messages_are_a_spread_sample_and_the_hostile_texts():
    def chosen(texts):
        messages = parity.parity_messages(messages_of(texts))
        sources = ["sms"] * (len(messages) - len(HOSTILE_TEXTS))
        unknown = [parity.UNKNOWN_SOURCE] * len(HOSTILE_TEXTS)
        assert messages["source"].tolist() == sources + unknown
        return messages["text"].tolist()

    texts = [f"message {i}" for i in range(400)]
    assert chosen(texts) == [*texts[::10], *HOSTILE_TEXTS]
    assert chosen(texts[:3]) == [*texts[:3], *HOSTILE_TEXTS]
    assert chosen([]) == HOSTILE_TEXTS
    read_as_null = ["", "NA", "null", "nan", "None", "#N/A"]
    assert chosen(["a", *read_as_null, "b"]) == ["a", "b", *HOSTILE_TEXTS]


# ---- answers


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ("TypeError at served_model.py:7", "TypeError at served_model.py:7"),
        (TABLE[:2], "2 answers to 3 messages"),
        (TABLE.assign(probability=[0.25, None, 0.5]), "1 of 3 probabilities do not lie in [0, 1]"),
        (TABLE.assign(probability=[-0.25, 1, 1.5]), "2 of 3 probabilities do not lie in [0, 1]"),
        (TABLE.assign(label=["Ham", None, "ham"]), "2 of 3 labels are neither ham nor spam"),
        (TABLE.assign(label=[["ham"]] * 3), "3 of 3 labels are neither ham nor spam"),
        (TABLE.drop(columns="label"), "no column 'label'"),
        ({"label": ["ham"], "probability": ["low"]}, "labels or probabilities of another type"),
        ([0.25, 0.75, 0.125], "labels or probabilities of another type"),
    ],
)
def test_unusable_answer_is_one_line(answer, line):
    with pytest.raises(ScoringError) as refused:
        parity.checked_answer(answer, 3)
    assert str(refused.value) == line
    assert parity.describe_difference(answer, TABLE) == line


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (sends(b"a message", status=500), "500 Internal Server Error"),
        (sends(b"a message"), "JSONDecodeError"),
        (sends(b"{}"), "KeyError"),
        (sends(b"[]"), "TypeError"),
        (sends(b'{"predictions": 1}'), "ValueError"),
        (sends(Content_Length="9"), "ChunkedEncodingError"),
    ],
)
def test_error_over_http_is_one_line_without_messages(answer, line):
    with http_server.server() as server:
        server.on("/invocations", answer)
        address = f"http://127.0.0.1:{server.http.server_port}"
        with pytest.raises(ScoringError) as refused:
            parity.score_over_http(address, messages_of(["a message"]))
    assert str(refused.value) == line


def test_usable_answer_has_label_and_probability():
    pd.testing.assert_frame_equal(parity.checked_answer(TABLE.assign(threshold=0.5), 3), TABLE)
    whole = pd.DataFrame({"label": ["ham"], "probability": [0]})
    assert parity.checked_answer(whole, 1)["probability"].dtype == "float64"


def test_difference_over_the_tolerance_is_counted_and_measured():
    near = TABLE.assign(probability=TABLE["probability"] + 0.9e-6).set_index(pd.Index([5, 6, 7]))
    assert parity.describe_difference(near, TABLE) is None
    answer = TABLE.assign(label=["spam", "spam", "ham"], probability=[0.25, 0.5, 0.125 + 2e-6])
    sentence = "3 of 3 answers differ, by up to 0.25 in probability, 1 in label"
    assert parity.describe_difference(answer, TABLE) == sentence


# ---- models that cannot be scored

ANSWER = 'return pandas.DataFrame({"label": "ham", "probability": %s}, index=texts.index)'


def score(folder, **statements):
    """What score_in_child answers to three texts for a hand-written model."""
    model = small_models.save_hand_written(folder, **statements)
    return parity.score_in_child(model, THREE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("predict", "line"),
    [
        (ANSWER % "2", "3 of 3 probabilities do not lie in [0, 1]"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("os._exit(0)", "it ended without an answer"),
    ],
)
def test_model_without_a_usable_answer_is_a_scoring_error(predict, line, tmp_path):
    with pytest.raises(ScoringError) as refused:
        score(tmp_path, predict=predict)
    assert str(refused.value) == line


@pytest.mark.slow
def test_model_that_answers_too_late_is_a_scoring_error(tmp_path, monkeypatch):
    monkeypatch.setattr(parity, "ANSWER_SECONDS", 0.5)
    with pytest.raises(ScoringError, match=r"^no answer in 0\.5 seconds$"):
        score(tmp_path, load="time.sleep(60)")


@pytest.mark.slow
def test_server_that_starts_too_late_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(parity, "ANSWER_SECONDS", 0.5)
    model = small_models.save_hand_written(tmp_path, load="time.sleep(60)")
    problems = parity.find_disagreements(model, THREE, lambda _: TABLE, ["HTTP"], 250)
    assert problems == ["HTTP: no answer in 0.5 seconds"]


@pytest.mark.slow
def test_loading_error_is_reported_for_each_interface(tmp_path):
    model = small_models.save_hand_written(tmp_path, load='raise OSError("no vocabulary")')
    problems = parity.find_disagreements(model, THREE, lambda _: TABLE, INTERFACES, 250)
    assert problems == [f"{name}: OSError: no vocabulary" for name in INTERFACES]


@pytest.mark.slow
def test_only_the_named_interfaces_are_compared(tmp_path):
    model = small_models.save_hand_written(tmp_path, ANSWER % "0.25")
    problems = parity.find_disagreements(model, THREE, lambda _: TABLE, ["Series"], 0)
    assert problems == ["Series: 2 of 3 answers differ, by up to 0.5 in probability, 1 in label"]


# ---- a registered model


@pytest.fixture(scope="module")
def served(tmp_path_factory, empty_database):
    """A registry with one model twice; the second was tampered with after it was logged."""
    registry = small_models.SmallRegistry(tmp_path_factory.mktemp("registry"), empty_database)
    # Relative, as a user may write it; a path of its own, as MLflow keeps stores by their URI.
    address = f"sqlite:///{registry.folder.name}/mlflow.db"
    with store_at(address, registry.folder.parent):
        good, tampered = registry.add(), registry.add()
        decision = tampered.artifacts / "decision.json"
        changed = json.loads(decision.read_text()) | {"intercept": 0.5}
        decision.write_text(json.dumps(changed))
        yield good, tampered


@pytest.mark.slow
def test_every_interface_agrees_until_the_model_is_tampered_with(served, caplog):
    caplog.set_level(logging.INFO, "pipeline")
    good, tampered = served
    messages = parity.parity_messages(messages_of(TEXTS))
    answers = good.detector.predict(None, messages)
    unnamed = good.detector.predict(None, messages[["text"]])
    assert set(answers["label"]) == {"ham", "spam"}
    assert (answers["threshold"] == 0.9).sum() == 40
    assert not (answers["label"] == unnamed["label"]).all()

    def ask(messages):
        return good.detector.predict(None, messages)

    assert parity.find_disagreements(good.uri, messages, ask, INTERFACES, 60_000) == []
    assert re.fullmatch(r"one message takes \d+ ms over HTTP", caplog.messages[-1])
    *problems, slow = parity.find_disagreements(tampered.uri, messages, ask, INTERFACES, 0)
    assert [line.partition(":")[0] for line in problems] == INTERFACES
    differences = [line.partition(": ")[2] for line in problems]
    unknown, every = len(HOSTILE_TEXTS), len(messages)  # only the default was tampered with
    counts = [unknown, every, unknown, unknown]
    for count, difference in zip(counts, differences, strict=True):
        assert difference.startswith(f"{count} of {every} answers differ, by up to 0.12")
    assert re.fullmatch(r"one message takes \d+ ms over HTTP, the budget is 0", slow)
