"""Weights of words are changes of the logit, and with base and rest they add up to it."""

import mlflow
import pytest

from pipeline.serving import explanations
from pipeline.serving.explanations import explain_message, message_parts, without_parts
from pipeline.serving.labels import READ_CHARACTERS, label_messages
from tests.harness import small_models
from tests.harness.mlflow_store import store_at
from tests.harness.word_model import BASE, WordModel


def weights(answer):
    """The weight of each part of the text."""
    return {word["text"]: word["weight"] for word in answer["reasons"]["words"]}


def sum_of(reasons):
    return reasons["base"] + sum(word["weight"] for word in reasons["words"]) + reasons["rest"]


def test_weight_is_the_change_of_the_logit_without_the_word():
    answer = explain_message("FREE lunch, see you", WordModel())
    expected = {"FREE": 2.0, " lunch,": -3.0, " see": 0.0, " you": 0.0}
    assert weights(answer) == pytest.approx(expected)
    assert answer["label"] == "ham"
    assert answer["reasons"]["base"] == pytest.approx(BASE)
    assert answer["reasons"]["logit"] == pytest.approx(BASE - 1)
    assert answer["reasons"]["rest"] == pytest.approx(0)


def test_rest_is_what_two_equal_words_do_together():
    answer = explain_message("free free", WordModel())
    assert weights(answer) == pytest.approx({"free": 0.0, " free": 0.0})
    assert answer["reasons"]["rest"] == pytest.approx(2.0)


def test_all_variants_are_labelled_in_one_batch_with_the_source():
    model = WordModel()
    explain_message("free lunch", model, "sms")
    assert model.batches == [["free lunch", "", " lunch", "free"]]
    assert model.sources == [["sms"] * 4]


def test_probability_of_one_has_a_finite_logit():
    rows = [{"probability": value} for value in (1.0, 0.0, 1.0)]
    reasons = explanations.with_reasons(["free"], rows)["reasons"]
    assert reasons["logit"] == pytest.approx(27.6, abs=0.1)
    assert reasons["base"] == pytest.approx(-27.6, abs=0.1)
    assert sum_of(reasons) == pytest.approx(reasons["logit"])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        (" \n ", []),
        (" Win  a\nprize! \n", [" Win", "  a", "\nprize! \n"]),
        ("f-r-e-e ｐｒｉｚｅ &amp; w1n", ["free", " prize", " &", " win"]),
        ("fr\u200bee", ["free"]),
        ("今すぐwin", ["今す", "ぐ", "win"]),
        ("สวัสดีครับ", ["สวัส", "ดีคร", "ับ"]),
    ],
)
def test_parts_are_words_as_the_tokenizer_reads_them(text, parts):
    assert message_parts(text) == parts


def test_long_message_has_parts_of_several_words():
    text = " ".join(str(number) for number in range(100, 1000))
    parts = message_parts(text)
    assert "".join(parts) == text
    assert len(parts) == explanations.MOST_VARIANT_CHARACTERS // len(text)
    assert {len(part.split()) for part in parts} == {81, 82}


@pytest.mark.parametrize(("words", "parts"), [(62, 62), (63, 62), (8_000, 8)])
def test_number_of_parts_is_bounded(words, parts):
    assert len(message_parts("win " * words)) == parts


def test_parts_end_where_the_model_stops_reading():
    assert len("".join(message_parts("word " * READ_CHARACTERS))) == READ_CHARACTERS


def test_variants_leave_out_one_part_each():
    assert without_parts(["a", " b", " c"]) == ["", " b c", "a c", "a b"]
    assert without_parts([]) == [""]


@pytest.mark.parametrize(
    "text", [small_models.TEXTS[0], small_models.TEXTS[1], "", "f-r-e-e " * 99]
)
def test_reasons_of_a_registered_model_add_up_to_its_logit(tmp_path, empty_database, text):
    registry = small_models.SmallRegistry(tmp_path, empty_database)
    with store_at(registry.address, registry.folder):
        model = mlflow.pyfunc.load_model(registry.add().uri)
    answer = explain_message(text, model)
    assert sum_of(answer["reasons"]) == pytest.approx(answer["reasons"]["logit"], abs=1e-4)
    (plain,) = label_messages([text], model).to_dict("records")
    assert answer["label"] == plain["label"]
    assert answer["probability"] == pytest.approx(plain["probability"], abs=1e-6)
