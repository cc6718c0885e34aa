"""Each network scores a message alike in any batch; ours keep to the article's structure."""

import keras
import numpy as np
import pytest
from keras import layers

from pipeline.models.architectures import MODELS, NetworkParams, build_network
from pipeline.models.dnc import DNCCell
from tests.harness.token_messages import padded

TOKENS = [chr(ord("@") + i) for i in range(31)]  # @, A to Z and four signs
FUSABLE = ["bilstm_article", "bilstm", "lstm", "rnn"]
WITH_MEMORY = [*FUSABLE, "dnc"]
MESSAGES = [[1, 7, 30, 4, 4, 9, 12], [1], [1, 5, 2], [1, 8, 29, 3]]  # token ids
FUSED = {"activation": "tanh", "recurrent_dropout": 0.0, "use_bias": True, "unroll": False}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    """Each network in turn. Read only."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    sizes = {"embedding_dim": 6, "units": 5, "dropout": 0.4, "token_dropout": 0.1}
    sizes |= {"memory_rows": 7, "memory_width": 4, "read_heads": 2}
    sizes |= {"wide_share": 0.6, "length_exponent": 0.8}
    model = build_network(TOKENS, NetworkParams(model=request.param, **sizes))
    model.name = request.param
    return model


def scores_of(model, token_ids):
    return model(token_ids, training=False).numpy()


def test_score_is_one_probability_whatever_the_batch(model):
    scores = scores_of(model, padded(MESSAGES, 33))
    assert scores.shape == (4, 1)
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()
    assert len(np.unique(scores)) == 4
    alone = np.concatenate([scores_of(model, np.array([ids], np.int32)) for ids in MESSAGES])
    assert scores == pytest.approx(alone, abs=1e-6)


@pytest.mark.parametrize("model", [*WITH_MEMORY, "dense", "neuron"], indirect=True)
def test_score_depends_on_order_if_the_network_has_memory(model):
    message = [1, 7, 30, 4, 9, 12]
    forwards, backwards = scores_of(model, np.array([message, message[::-1]], np.int32))
    assert (abs(forwards[0] - backwards[0]) > 1e-6) == (model.name in WITH_MEMORY)


@pytest.mark.parametrize("model", [*WITH_MEMORY, "dense"], indirect=True)
def test_our_networks_have_the_articles_head(model):
    hidden, output = (layer for layer in model.layers if isinstance(layer, layers.Dense))
    assert (hidden.units, hidden.activation, output.units) == (16, keras.activations.relu, 1)
    assert model.layers[-1].name == "probability"
    assert model.layers[-1].activation == keras.activations.sigmoid


def test_recurrent_layers_are_eligible_for_fused_kernels(model):
    every = model._flatten_layers(include_self=False)  # also those inside a Bidirectional
    recurrent = [layer for layer in every if isinstance(layer, layers.RNN)]
    recurrent = [layer for layer in recurrent if not isinstance(layer.cell, DNCCell)]
    assert recurrent or model.name not in FUSABLE
    for config in (layer.get_config() for layer in recurrent):
        assert FUSED.items() <= config.items()
        assert config.get("recurrent_activation", "sigmoid") == "sigmoid"


@pytest.mark.parametrize("model", ["neuron"], indirect=True)
def test_neuron_is_one_sigmoid_on_the_mean_embedding(model):
    embeddings, weights, bias = (weight.numpy() for weight in model.weights)
    for ids in MESSAGES:
        logit = np.mean(embeddings[ids], axis=0) @ weights + bias
        expected = 1 / (1 + np.exp(-logit))
        assert scores_of(model, padded([ids], 9))[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("model", ["bilstm_article"], indirect=True)
def test_article_network_is_exactly_the_articles(model):
    _, embedding, both_ways, _, _ = model.layers  # the last two are the head
    assert (embedding.input_dim, embedding.output_dim, embedding.mask_zero) == (31, 6, True)
    assert isinstance(both_ways, layers.Bidirectional)
    assert isinstance(both_ways.forward_layer, layers.LSTM)
    assert (both_ways.forward_layer.units, both_ways.forward_layer.return_sequences) == (5, False)
    assert both_ways.merge_mode == "concat"
