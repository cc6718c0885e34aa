"""What transfer and own_data measure, their models have not seen, nor a near-copy of it."""

from random import Random

import numpy as np
import pandas as pd
import pytest

from benchmarks import own_data, transfer
from benchmarks.transfer import Pool, measured_rows
from pipeline import vectorize
from pipeline.core.params import read_params
from pipeline.preprocessing.splits import assign_splits


def text(number):
    """Random words; that of an odd number has the word that spam has."""
    random = Random(number)
    words = ["".join(random.choices("abcdefghij", k=7)) for _ in range(8)]
    return " ".join([*words, ("lunch", "prize")[number % 2]])


@pytest.fixture(scope="module")
def pool():
    """150 messages of three sources, and one of `india` that is a near-copy of one of `sms`."""
    texts = [text(number) for number in range(150)]
    names = np.repeat(["sms", "written", "india"], 50)
    texts[149] = texts[1] + "!"
    kinds = [f"kind {i % 10}" if name == "written" else None for i, name in enumerate(names)]
    messages = pd.DataFrame({"text": texts, "label": ["ham", "spam"] * 75, "kind": kinds})
    messages = messages.assign(
        source=names,
        language=messages["kind"],
        message_id=[f"{i:032x}" for i in range(150)],
        received_at=pd.Series(pd.NaT, index=messages.index, dtype="datetime64[us, UTC]"),
    )
    rows, near_copies = assign_splits(messages, read_params(vectorize.Params, "vectorize"))
    return Pool(rows.assign(name=names), near_copies)


@pytest.mark.parametrize(
    "setting", ["default", "without india", "without sms", "pooled", "kinds 2", "retrained 9"]
)
def test_no_measured_row_or_near_copy_of_one_is_trained_on(pool, monkeypatch, setting):
    seen = {}

    def train(rows):
        seen["train"] = rows
        return lambda texts: np.array([("prize" in text) * 0.5 + 0.25 for text in texts])

    monkeypatch.setitem(transfer.MODELS, "spy", train)
    trained_on = ["sms", "written"]
    measured = pool.rows[measured_rows(setting, pool, trained_on)]
    figures = transfer.measure_setting("spy", setting, pool, trained_on)
    assert len(measured)
    assert set(seen["train"].index).isdisjoint(measured.index)
    one_of_the_pair = {1, 149} & set(measured.index)
    assert not (one_of_the_pair and {1, 149} & set(seen["train"].index))
    assert {key.split(".")[0] for key in figures} == set(measured["name"])
    assert figures[f"{measured['name'].iloc[0]}.average_precision"] == 1


def test_a_split_of_own_data_measures_what_neither_threshold_has_seen(pool, monkeypatch):
    seen, scored = [], []

    def train(rows):
        seen.append(set(rows["text"]))
        return lambda texts: np.array([("prize" in text) * 0.5 + 0.25 for text in texts])

    def out_of_fold(rows):
        scored.append(set(rows["text"]))
        return pd.Series(0.25, rows.index).where(rows["label"] == "ham", 0.75)

    monkeypatch.setitem(own_data.MODELS, "spy", train)
    monkeypatch.setitem(own_data.OUT_OF_FOLD, "spy", out_of_fold)
    figures = own_data.measure_split("spy", "written 40 0", pool)
    own_data.measure_split("spy", "written 40 1", pool)
    assert seen == scored
    assert seen[0] != seen[1]
    assert 20 < len(seen[0]) < 40
    expected = {"average_precision": 1, "spam_caught_percent": 100, "ham_blocked_percent": 0}
    for threshold in ("val", "val and train"):
        for name, value in expected.items():
            assert figures[f"{name}, {threshold}"] == value


@pytest.mark.parametrize("group", transfer.GROUPS)
def test_each_kind_and_language_is_left_out_once(pool, group):
    masks = [measured_rows(f"{group} {number}", pool, []) for number in range(1, 6)]
    assert np.sum(masks, axis=0).tolist() == (pool.rows["name"] == "written").astype(int).tolist()


@pytest.mark.slow
def test_a_threshold_of_drawn_messages_is_measured_on_the_others():
    random = np.random.default_rng(1)
    spam = np.arange(400) % 4 == 0
    score = np.where(spam, 0.6, 0.4) + random.normal(0, 0.08, 400)
    figures = transfer.calibrated_figures(np.clip(score, 0.01, 0.99), spam)
    assert set(figures) == {f"calibrated 100.{name}" for name in transfer.BLOCKED}
    assert 45 < figures["calibrated 100.spam_caught_percent"] < 65
    assert 0.3 < figures["calibrated 100.ham_blocked_percent"] < 3  # the budget is 1 / 76 or so
    few_spam = np.arange(400) == 0
    assert set(transfer.calibrated_figures(score, few_spam)) <= set(figures)
