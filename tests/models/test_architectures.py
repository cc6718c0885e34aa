"""Each architecture is what it says, scores a message alike in any batch, and survives its file."""

import zipfile
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from pipeline.core.errors import PipelineError
from pipeline.models import architectures
from pipeline.models import keras_files
from pipeline.models.architectures import MODELS
from pipeline.models.architectures import Size

TOKENS = [chr(ord("@") + i) for i in range(31)]  # @, A to Z, and four signs
SIZE = Size(TOKENS, embedding_dim=6, units=5, dropout=0.4, token_dropout=0.1, wide_share=0.6)
ORDERLESS = {"dense"}  # the article's feed-forward network takes the mean of the tokens
MESSAGES = [[1, 7, 30, 4, 4, 9, 12], [1], [1, 5, 2], [1, 8, 29, 3]]  # token ids


def built(name, seed=1):
    keras.utils.clear_session()  # the layers' names count up within a process
    keras.utils.set_random_seed(seed)
    return MODELS[name](SIZE)


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    """Each network in turn; leave its weights as they are."""
    return built(request.param)


def padded(messages, width):
    return np.array([ids + [architectures.PAD] * (width - len(ids)) for ids in messages], np.int32)


def scores(model, token_ids):
    return model(token_ids, training=False).numpy()


def recurrent_layers(model):
    every = model._flatten_layers(include_self=False)  # those within a Bidirectional too
    return [layer for layer in every if isinstance(layer, layers.LSTM | layers.GRU | layers.SimpleRNN)]


# ---- the networks


def test_score_is_one_probability_a_message(model):
    found = scores(model, padded(MESSAGES, 7))
    assert found.shape == (4, 1)
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    assert len(np.unique(found)) == 4


def test_score_does_not_depend_on_padding_or_on_the_other_rows(model):
    alone = np.concatenate([scores(model, np.array([ids], np.int32)) for ids in MESSAGES])
    for width in (7, 33):
        assert scores(model, padded(MESSAGES, width)) == pytest.approx(alone, abs=1e-6)


def test_score_depends_on_the_order_of_the_words_unless_the_network_has_no_memory(model):
    forwards, backwards = scores(model, np.array([[1, 7, 30, 4, 9, 12], [12, 9, 4, 30, 7, 1]], np.int32))
    assert (abs(forwards[0] - backwards[0]) < 1e-6) == (model.name in ORDERLESS)


@pytest.mark.parametrize("name", MODELS)
def test_network_is_called_as_its_builder_is(name):
    assert built(name).name == name


def test_every_network_has_the_articles_head(model):
    hidden, output = (layer for layer in model.layers if isinstance(layer, layers.Dense))
    assert (hidden.units, hidden.activation) == (16, keras.activations.relu)
    assert output.units == 1
    assert model.layers[-1].name == "probability"
    assert model.layers[-1].activation == keras.activations.sigmoid


def test_article_network_is_the_articles_and_nothing_else():
    _, embedding, both_ways, hidden, output = built("bilstm_article").layers
    assert isinstance(embedding, layers.Embedding)
    assert (embedding.input_dim, embedding.output_dim, embedding.mask_zero) == (31, 6, True)
    assert isinstance(both_ways, layers.Bidirectional)
    assert isinstance(both_ways.forward_layer, layers.LSTM)
    assert (both_ways.forward_layer.units, both_ways.forward_layer.return_sequences) == (5, False)
    assert both_ways.merge_mode == "concat"
    assert isinstance(hidden, layers.Dense)
    assert (hidden.units, hidden.activation) == (16, keras.activations.relu)
    assert isinstance(output, layers.Dense)
    assert (output.units, output.activation) == (1, keras.activations.sigmoid)


def test_article_network_has_the_weights_of_its_formula():
    lstm = 4 * ((6 + 5) * 5 + 5)  # four gates, each of input and state, with a bias
    assert built("bilstm_article").count_params() == 31 * 6 + 2 * lstm + (10 * 16 + 16) + (16 + 1)


def test_recurrent_layers_stay_eligible_for_the_fused_gpu_kernels(model):
    found = recurrent_layers(model)
    assert bool(found) == (model.name not in ORDERLESS)
    for layer in found:
        kept = {
            key: layer.get_config()[key] for key in ("activation", "use_bias", "recurrent_dropout", "unroll")
        }
        assert kept == {"activation": "tanh", "use_bias": True, "recurrent_dropout": 0.0, "unroll": False}
        assert layer.get_config().get("recurrent_activation", "sigmoid") == "sigmoid"


# ---- their file


@pytest.mark.parametrize("name", MODELS)
def test_equal_weights_are_equal_bytes_in_a_network_built_again_too(name, tmp_path):
    model = built(name)
    keras_files.save(model, tmp_path / "first.keras")
    keras_files.save(model, tmp_path / "second.keras")
    keras_files.save(built(name), tmp_path / "again.keras")
    keras_files.save(built(name, seed=2), tmp_path / "other.keras")
    first = (tmp_path / "first.keras").read_bytes()
    assert (tmp_path / "second.keras").read_bytes() == first
    assert (tmp_path / "again.keras").read_bytes() == first
    assert (tmp_path / "other.keras").read_bytes() != first
    assert len(list(tmp_path.iterdir())) == 4


def test_network_scores_alike_after_save_load_and_export(model, tmp_path):
    before = scores(model, padded(MESSAGES, 9))
    keras_files.save(model, tmp_path / "model.keras")
    loaded = keras_files.load(tmp_path / "model.keras")
    assert scores(loaded, padded(MESSAGES, 9)).tolist() == before.tolist()
    keras_files.export(loaded, tmp_path / "saved")
    saved = tf.saved_model.load(tmp_path / "saved")
    assert saved.serve(tf.constant(padded(MESSAGES, 9))).numpy() == pytest.approx(before, abs=1e-6)
    assert saved.serve(tf.constant([MESSAGES[0]])).numpy() == pytest.approx(before[:1], abs=1e-6)


def spoiled(content):
    """The file's bytes with one of them turned round, in the middle of the weights."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (spoiled, "Bad CRC-32 for file 'model.weights.h5'"),
        (lambda content: content[: len(content) // 2], "it is no zip file"),
        (lambda content: b"", "it is no zip file"),
    ],
    ids=["a byte", "cut short", "empty"],
)
def test_file_that_is_damaged_is_refused_in_one_line(damage, said, tmp_path):
    path = tmp_path / "model.keras"
    keras_files.save(built("lstm"), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(PipelineError) as refused:
        keras_files.load(path)
    assert str(refused.value) == f"{path}: not a Keras network ({said}); `dvc repro` or `dvc pull` makes it"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", None, "\"There is no item named 'config.json' in the archive\""),
        ("config.json", b"{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("config.json", b'{"class_name": "X", "config": {}}', "Could not locate class 'X'. "),
        ("model.weights.h5", b"no weights", "Unable to "),
    ],
)
def test_zip_file_that_is_no_network_is_refused_in_one_line(tmp_path, name, content, said):
    keras_files.save(built("dense"), tmp_path / "good.keras")
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(tmp_path / "good.keras") as good, zipfile.ZipFile(path, "w") as bad:
        for part in good.namelist():
            if part != name or content:
                bad.writestr(part, content if part == name else good.read(part))
    with pytest.raises(PipelineError) as refused:
        keras_files.load(path)
    assert str(refused.value).startswith(f"{path}: not a Keras network ({said}")
    assert str(refused.value).endswith("; `dvc repro` or `dvc pull` makes it")
    assert "\n" not in str(refused.value)


def test_file_that_is_missing_says_how_to_make_it(tmp_path):
    with pytest.raises(PipelineError) as refused:
        keras_files.load(tmp_path / "model.keras")
    assert str(refused.value) == f"{tmp_path}/model.keras: missing; `dvc repro` or `dvc pull` makes it"
