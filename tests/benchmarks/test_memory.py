"""The tasks are those of their definitions, and the networks are of about equal size."""

import re

import numpy as np
import pandas as pd
import pytest

from benchmarks import memory
from benchmarks.memory import CORES, TASKS
from tests.harness.labelled_messages import TABLE


@pytest.fixture
def random():
    return np.random.default_rng(1)


@pytest.mark.parametrize("level", [5, 25])
def test_marker_stands_at_its_distance_before_the_end(level, random):
    tokens, label = memory.marker(random, 20, level, False)
    assert tokens[:, -1 - level].tolist() == (memory.NOISE + 1 + label[:, 0, 0]).tolist()
    assert np.count_nonzero(tokens > memory.NOISE, axis=1).tolist() == [1] * 20
    assert tokens.min() >= 1
    assert set(label.ravel()) == {0, 1}


def test_copied_bits_stand_before_the_mark(random):
    steps, bits = memory.copy(random, 3, 4, False)
    assert steps.shape == (3, 9, memory.COPIED_BITS + 1)
    assert steps[:, :4, :-1].tolist() == bits.tolist()
    assert steps[:, :, -1].tolist() == [[0] * 4 + [1] + [0] * 4] * 3
    assert not steps[:, 4:, :-1].any()


def test_answer_of_recall_is_the_item_after_the_one_asked_for(random):
    steps, answers = memory.recall(random, 30, 5, False)
    listed = steps[:, :20].reshape(30, 5, 4, -1)
    assert (listed[:, :, 0, -2] == 1).all()
    for items, query, answer in zip(listed[:, :, 1:, :-2], steps[:, 20:], answers, strict=True):
        asked = [np.array_equal(item, query[1:4, :-2]) for item in items]
        assert items[asked.index(True) + 1].tolist() == answer.tolist()
        assert not query[4:, :-1].any()


@pytest.fixture
def messages(monkeypatch, tmp_path):
    """The hand-written messages in place of the validated ones."""
    monkeypatch.setattr(memory, "MESSAGES", tmp_path / "messages.parquet")
    monkeypatch.setattr(memory, "RESULTS", tmp_path)
    memory.tokenized_messages.cache_clear()
    TABLE.to_parquet(tmp_path / "messages.parquet")
    yield
    memory.tokenized_messages.cache_clear()


@pytest.mark.parametrize("is_test", [False, True])
def test_neutral_words_follow_a_message_of_the_split(is_test, messages, random):
    *splits, neutral = memory.tokenized_messages()
    tokens, labels = memory.message(random, 12, 6, is_test)
    for ids, label in zip(tokens, labels[:, 0, 0], strict=True):
        own, added = np.split(ids[ids > 0], [-6])
        assert own.tolist() in [known.tolist() for known in splits[is_test][int(label)]]
        assert set(added) <= set(neutral)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("name", CORES)
def test_networks_have_about_equal_numbers_of_weights(name, task):
    model = memory.network(name, memory.units_for(name, task), task)
    assert 0.9 * memory.WEIGHTS < memory.weights_of(model) <= memory.WEIGHTS


@pytest.mark.slow
def test_sentence_names_the_level_before_the_first_failure():
    accuracy = {"rnn": [99, 60, 97], "lstm": [99, 98, 96], "dnc": [50, 50, 99]}
    levels = (5, 10, 25)
    rows = pd.DataFrame(
        [
            {"network": name, "level": level, "seed": 0, "accuracy": value}
            for name, values in accuracy.items()
            for level, value in zip(levels, values, strict=True)
        ]
    )
    expected = "(distance, tokens): rnn up to 5, lstm up to 25, dnc nowhere (50 to 99 %)."
    assert memory.sentence("marker", rows).endswith(expected)
    assert "distance, tokens" in memory.plot("marker", rows)


@pytest.mark.slow
def test_trial_run_prints_tables_and_resumes(messages, tmp_path, capsys, monkeypatch):
    arguments = ["--share", "0.002", "--seeds", "1", "--networks", "dense", "rnn"]
    memory.main(arguments)
    printed = capsys.readouterr().out
    assert len(re.findall("^At least 95% of the bits are right", printed, re.MULTILINE)) == len(
        TASKS
    )
    assert {path.name for path in tmp_path.glob("*.svg")} == {f"memory_{t}.svg" for t in TASKS}
    monkeypatch.setattr(memory, "train", None)
    memory.main(arguments)  # all results are kept
    assert capsys.readouterr().out == printed
