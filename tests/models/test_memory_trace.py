"""The trace shows the weightings that the network itself has after each token."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.core.errors import PipelineError
from pipeline.models import keras_files, memory_trace
from pipeline.models.dnc import MemoryState
from pipeline.preprocessing.tokenizer import fit_tokenizer, tokenizer_json
from tests.harness.labelled_messages import TEXTS
from tests.harness.small_networks import small_network

TOKENIZER = fit_tokenizer(TEXTS, vocabulary_size=320, sequence_length=100)
TOKEN_IDS = [1, 30, 7, 30]


@pytest.fixture(scope="module")
def network():
    return small_network(TOKENIZER.get_vocab_size(), seed=1, model="dnc", scale=3.0)


def state_after(network, token_ids):
    """What the layer keeps after these tokens."""
    layer = memory_trace.memory_layer(network)
    steps, _ = layer.input
    embedded = keras.Model(network.input, steps)(np.array([token_ids], np.int32))
    _, *states = layers.RNN(layer.cell, return_state=True)(embedded)
    return MemoryState(*(keras.ops.convert_to_numpy(state)[0] for state in states))


def test_weights_are_those_of_the_state_after_each_token(network):
    table = memory_trace.weightings(network, TOKEN_IDS)
    assert len(table) == len(TOKEN_IDS) * 3 * 6  # tokens, a write and two reads, rows
    for token in range(len(TOKEN_IDS)):
        state = state_after(network, TOKEN_IDS[: token + 1])
        at_token = table[table["token"] == token].groupby("access")["weight"].apply(list)
        assert at_token["write"] == pytest.approx(state.write_weighting, abs=1e-6)
        assert at_token["read 1"] == pytest.approx(state.read_weightings[0], abs=1e-6)
        assert at_token["read 2"] == pytest.approx(state.read_weightings[1], abs=1e-6)
    assert table["weight"].std() > 0.01


def files_of(network, folder):
    """The arguments that name the files of a trained network."""
    keras_files.save(network, folder / "model.keras")
    spec = tokenizer_json(TOKENIZER, window_length=250)
    (folder / "tokenizer.json").write_text(spec, encoding="utf-8")
    files = {"network": "model.keras", "tokenizer": "tokenizer.json", "output": "new/memory.svg"}
    return [f"--{name}={folder / file}" for name, file in files.items()]


def test_picture_names_each_token(network, tmp_path):
    memory_trace.main(["<WIN> a prize", *files_of(network, tmp_path)])
    drawn = (tmp_path / "new/memory.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<svg")
    for shown in ("0: [START]", "write", "read 1", "read 2", "row of the memory"):
        assert shown in drawn
    assert "<WIN>" not in drawn


def test_network_without_a_memory_is_one_line(tmp_path):
    arguments = files_of(small_network(TOKENIZER.get_vocab_size(), seed=1), tmp_path)
    with pytest.raises(PipelineError, match="the network dense has no memory; train one with"):
        memory_trace.main(["WIN", *arguments])


def test_damaged_tokenizer_is_one_line(network, tmp_path):
    arguments = files_of(network, tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({}), encoding="utf-8")
    with pytest.raises(PipelineError, match="not a tokenizer"):
        memory_trace.main(["WIN", *arguments])
