"""A registered model is asked in every way it can be, and what it says otherwise than expected is told."""

import json
import logging
import os
import re

import pandas as pd
import pytest

from pipeline.registry import parity, parity_client
from pipeline.registry.parity import HOSTILE, MESSAGES, Unscorable
from tests.harness import small_models

TEXTS = small_models.TEXTS
TABLE = pd.DataFrame({"label": ["ham", "spam", "ham"], "probability": [0.25, 0.75, 0.125]})

# ---- the batch


def test_batch_is_messages_from_all_over_and_every_hostile_text():
    texts = [f"message {i}" for i in range(400)]
    assert parity.batch(texts) == [*texts[::10], *HOSTILE]
    assert parity.batch(texts[:3]) == [*texts[:3], *HOSTILE]
    assert MESSAGES == 40


@pytest.mark.parametrize("text", ["", "NA", "null", "nan", "None", "#N/A"])
def test_batch_leaves_out_what_a_batch_file_cannot_carry(text):
    assert parity.batch(["before", text, "after"]) == ["before", "after", *HOSTILE]


def test_batch_of_no_messages_is_the_hostile_texts():
    assert parity.batch([]) == HOSTILE


# ---- what is an answer, and what is the expected one


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("TypeError at served_model.py:7", "TypeError at served_model.py:7"),
        (TABLE[:2], "2 answers to 3 messages"),
        (
            TABLE.assign(probability=[0.25, float("nan"), 0.5]),
            "1 of 3 probabilities do not lie in [0, 1]",
        ),
        (TABLE.assign(probability=[0.25, None, 0.5]), "1 of 3 probabilities do not lie in [0, 1]"),
        (TABLE.assign(probability=[0.25, 0.5, 1.5]), "1 of 3 probabilities do not lie in [0, 1]"),
        (TABLE.assign(probability=[-0.25, 0.5, 0.5]), "1 of 3 probabilities do not lie in [0, 1]"),
        (TABLE.assign(label=["ham", "spam", "Ham"]), "1 of 3 labels are neither ham nor spam"),
        (TABLE.assign(label=["ham", None, "ham"]), "1 of 3 labels are neither ham nor spam"),
        (TABLE.drop(columns="label"), "no column 'label'"),
        (
            TABLE.assign(label=[["ham"], ["spam"], ["ham"]]),
            "3 of 3 labels are neither ham nor spam",
        ),
        (
            TABLE.assign(probability=["low", "high", "low"]),
            "labels or probabilities of another kind",
        ),
        ({"label": ["ham"], "probability": [0.5, 0.5]}, "labels or probabilities of another kind"),
    ],
)
def test_answer_that_cannot_be_used_is_one_line(said, line):
    with pytest.raises(Unscorable) as refused:
        parity.usable(said, 3)
    assert str(refused.value) == line
    assert parity.difference(said, TABLE) == line


def test_usable_answer_is_its_label_and_probability():
    pd.testing.assert_frame_equal(parity.usable(TABLE.assign(threshold=0.5), 3), TABLE)
    whole = pd.DataFrame({"label": ["ham"], "probability": [0]})
    assert parity.usable(whole, 1)["probability"].dtype == "float64"


def test_answers_within_the_tolerance_agree_whatever_their_index():
    near = TABLE.assign(probability=TABLE["probability"] + 0.9e-6).set_index(pd.Index([5, 6, 7]))
    assert parity.difference(near, TABLE) is None


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            TABLE.assign(probability=[0.25, 0.5, 0.125 + 2e-6]),
            "2 of 3 answers differ, by up to 0.25 in probability, 0 in label",
        ),
        (
            TABLE.assign(label=["spam", "spam", "ham"]),
            "1 of 3 answers differ, by up to 0 in probability, 1 in label",
        ),
    ],
)
def test_difference_is_how_many_and_how_far(said, sentence):
    assert parity.difference(said, TABLE) == sentence


# ---- models that cannot be scored

ANSWER = 'return pandas.DataFrame({"label": "ham", "probability": %s}, index=texts.index)'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("predict", "line"),
    [
        (ANSWER % 'float("nan")', "3 of 3 probabilities do not lie in [0, 1]"),
        (ANSWER % "0.5" + "[1:]", "2 answers to 3 messages"),
        (
            "raise ValueError(texts[0])",
            "ValueError at hand_written.py:8",
        ),  # without the message's text
        ("return texts.str.len()", "KeyError"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("os._exit(0)", "it ended without an answer"),
    ],
)
def test_model_that_gives_no_usable_answer_is_unscorable(predict, line, tmp_path):
    with pytest.raises(Unscorable) as refused:
        parity.answers(small_models.hand_written(tmp_path, predict), ["one", "two", "three"])
    assert str(refused.value).startswith(line)


@pytest.mark.slow
def test_model_that_gives_no_answer_in_time_is_unscorable(tmp_path, monkeypatch):
    monkeypatch.setattr(parity, "ANSWER_SECONDS", 0.5)
    with pytest.raises(Unscorable, match=r"^no answer in 0\.5 seconds$"):
        parity.answers(small_models.hand_written(tmp_path, load="time.sleep(60)"), ["one"])


@pytest.mark.slow
def test_our_code_cannot_be_imported_there(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    with pytest.raises(Unscorable, match=r"^ModuleNotFoundError: No module named 'pipeline'$"):
        parity.answers(small_models.hand_written(tmp_path, load="import pipeline"), ["one"])


@pytest.mark.slow
def test_model_that_does_not_load_is_unscorable_in_one_line_without_its_folder(tmp_path):
    small_models.hand_written(tmp_path)
    (tmp_path / "model" / "MLmodel").unlink()
    with pytest.raises(Unscorable) as refused:
        parity.answers(str(tmp_path / "model"), ["one"])
    assert "MLmodel" in str(refused.value)
    assert "/" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_model_that_does_not_load_is_told_once_for_each_way(tmp_path):
    model = small_models.hand_written(tmp_path, load='raise OSError("no vocabulary")')
    expected = TABLE[:1]
    assert parity.disagreements(model, ["one"], expected, list(parity.WAYS), 250) == [
        f"{way}: OSError: no vocabulary" for way in parity.WAYS
    ]


@pytest.mark.slow
def test_only_the_named_ways_are_asked(tmp_path):
    model = small_models.hand_written(tmp_path, ANSWER % "0.25")
    told = parity.disagreements(model, ["one", "two", "three"], TABLE, ["Series"], 0)
    assert told == ["Series: 2 of 3 answers differ, by up to 0.5 in probability, 1 in label"]


# ---- a registered model


@pytest.fixture(scope="module")
def served(tmp_path_factory, empty_database):
    """A registry with one model twice; the second was tampered with after it was logged."""
    import mlflow

    with pytest.MonkeyPatch.context() as patch:
        registry = small_models.Registry(tmp_path_factory.mktemp("registry"), empty_database)
        patch.chdir(registry.folder)
        patch.setenv(
            "MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"
        )  # as one may, from the project's root
        good, tampered = registry.add(), registry.add()
        decision = json.loads((tampered.artifacts / "decision.json").read_text())
        (tampered.artifacts / "decision.json").write_text(
            json.dumps({**decision, "intercept": 0.5})
        )
        yield good, tampered
        mlflow.set_tracking_uri(None)  # MLflow keeps both for the process
        mlflow.set_registry_uri(None)


def test_the_ways_are_those_of_mlflow():
    assert (
        list(parity.WAYS)
        == [*parity_client.WAYS, "HTTP"]
        == ["DataFrame", "Series", "batch file", "HTTP"]
    )


@pytest.mark.slow
def test_good_model_agrees_in_every_way_on_hostile_texts_too(served, caplog):
    caplog.set_level(logging.INFO, "pipeline")
    good, _ = served
    texts = parity.batch(TEXTS)
    expected = good.answers(texts)
    assert set(expected["label"]) == {"ham", "spam"}
    assert parity.disagreements(good.uri, texts, expected, list(parity.WAYS), 60_000) == []
    assert re.fullmatch(r"a message takes \d+ ms over HTTP", caplog.messages[-1])


@pytest.mark.slow
def test_tampered_model_and_a_slow_one_are_told_in_every_way(served):
    _, tampered = served
    texts = parity.batch(TEXTS)
    expected = tampered.answers(texts)
    *told, slow = parity.disagreements(tampered.uri, texts, expected, list(parity.WAYS), 0)
    assert [line.partition(":")[0] for line in told] == list(parity.WAYS)
    (difference,) = {line.partition(": ")[2] for line in told}
    assert difference.startswith(
        f"{len(texts)} of {len(texts)} answers differ, by up to 0.12 in probability"
    )
    assert re.fullmatch(r"a message takes \d+ ms over HTTP, the budget is 0", slow)
