"""Each poisoning check raises an alarm for the tampering that it is made for."""

import random

import numpy as np
import pytest

from pipeline.monitoring import poisoning_checks
from pipeline.monitoring.poisoning_checks import LabelledMessages, Params, check_labels
from tests.harness.message_tables import worded_messages

PARAMS = Params(
    alpha=0.01, campaign_share=0.05, fewest_rows=100, fewest_messages=5, smallest_excess=0.02
)


def first(n, of):
    """(of,): True for the first n."""
    return np.arange(of) < n


def labelled(disputed, *, known_wrong=0, known_rows=1000, **changes):
    """New messages, all ham; `known_wrong` of `known_rows` labels are disputed, for each label."""
    rows, rng = len(disputed), random.Random(len(disputed))
    unrelated = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=20)) for _ in range(rows)]
    defaults = {
        "texts": unrelated,
        "spam": np.zeros(rows, bool),
        "source": np.full(rows, "x", object),
        "name": np.full(rows, "x", object),
        "known_name": np.array([], object),
        "known_spam": first(known_rows, of=2 * known_rows),
        "known_disputed": np.arange(2 * known_rows) % known_rows < known_wrong,
        "known_texts": [],
    }
    return LabelledMessages(disputed=disputed, **defaults | changes)


def alarms(messages, params=PARAMS):
    return [check.name for check in check_labels(messages, params) if check.alarm]


def test_an_excess_of_disputed_labels_alarms_for_its_label():
    as_known = labelled(first(5, of=500), spam=first(100, of=500), known_wrong=10)
    assert alarms(as_known) == []
    half = first(250, of=500)
    assert alarms(labelled(first(25, of=500), spam=half, known_wrong=10)) == ["labels.spam"]
    assert alarms(labelled(~first(475, of=500), spam=half, known_wrong=10)) == ["labels.ham"]
    small = labelled(first(15, of=3000), spam=np.ones(3000, bool), known_rows=5000)
    [check] = [one for one in check_labels(small, PARAMS) if one.name == "labels.spam"]
    assert (check.corrected < 0.01, check.alarm) == (True, False)


def test_a_source_alarms_if_its_labels_are_disputed_more():
    source = np.array(["ours"] * 300 + ["theirs"] * 300 + ["few"] * 50, object)
    disputed = first(345, of=650) & ~first(300, of=650)
    messages = labelled(disputed, source=source, name=source)
    ours, theirs = poisoning_checks.disputed_by_source(messages, PARAMS)
    assert (ours.name, theirs.name) == ("sources.ours", "sources.theirs")
    assert theirs.p_value < 1e-9 < 0.9 < ours.p_value
    assert theirs.effect == pytest.approx(45 / 300)
    assert theirs.sentence == "15.0% of the labels of theirs are disputed, against 0.0%"


def test_a_source_is_compared_with_its_own_known_messages():
    """The model is wrong about 10 % of the old messages of `hard`, and about none of `easy`."""
    names = np.where(first(1000, of=2000), "hard", "easy").astype(object)
    known = {"known_spam": np.zeros(2000, bool), "known_disputed": first(100, of=2000)}
    known |= {"known_name": names, "known_texts": ["a"] * 2000}
    files = {name: np.full(300, f"{name}/new.csv", object) for name in ("hard", "easy")}
    as_before = {name: np.full(300, name, object) for name in files}
    alarmed = {}
    for name, source in files.items():
        new = labelled(first(30, of=300), source=source, name=as_before[name], **known)
        alarmed[name] = [one for one in alarms(new) if not one.startswith("terms")]
    assert alarmed == {"hard": [], "easy": ["labels.ham", "sources.easy/new.csv"]}


def texts_with(word, count):
    return [f"hello {word if i < count else 'there'} {'abcdefgh'[i % 8]}" for i in range(400)]


def test_a_word_alarms_if_its_labels_are_disputed():
    messages = labelled(first(8, of=400), texts=texts_with("Zentel", 8), known_wrong=5)
    [check] = poisoning_checks.disputed_by_word(messages, PARAMS)
    sentence = "8 of 8 labels of messages with 'zentel' are disputed; 0.5% are expected"
    assert check.sentence == sentence
    assert (check.effect, check.n, check.matters) == (1.0, 8, True)
    assert check.p_value < 1e-12
    without_words = labelled(first(8, of=9), texts=["7"] * 9)
    assert poisoning_checks.disputed_by_word(without_words, PARAMS) == []


def test_a_word_with_a_known_error_raises_no_alarm():
    values = {"texts": texts_with("sexy", 8), "known_rows": 500, "known_wrong": 10}
    [check] = poisoning_checks.disputed_by_word(labelled(first(6, of=400), **values), PARAMS)
    assert check.p_value < 1e-6
    values["known_texts"] = ["so sexy" if i < 50 else "so there" for i in range(1000)]
    values["known_disputed"] = first(20, of=1000)
    [check] = poisoning_checks.disputed_by_word(labelled(first(6, of=400), **values), PARAMS)
    assert check.p_value > 0.05
    assert check.sentence.endswith("29.2% are expected")  # (20 + 20 * 21 / 1001) / (50 + 20)


def test_a_large_campaign_alarms_even_if_its_words_vary():
    rng = random.Random(1)
    others = worded_messages(450, seed=1)["text"].tolist()
    start = [f"Hi {rng.choice(['Anna', 'Ben', 'Dora'])}, your parcel {i}" for i in range(50)]
    campaign = [f"{text} waits at the shop in the High Street" for text in start]
    messages = labelled(np.zeros(500, bool), texts=others + campaign)
    assert alarms(messages) == ["campaign"]
    assert alarms(messages, PARAMS.model_copy(update={"campaign_share": 0.12})) == []
    [check] = poisoning_checks.largest_campaign(messages, PARAMS)
    assert check.effect == 0.1
    assert check.sentence == "one campaign has 10.0% of the new messages; 5.0% are allowed"
