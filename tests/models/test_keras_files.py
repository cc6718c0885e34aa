"""Equal weights are equal bytes, and a damaged file is refused in one line."""

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.core.files import REBUILD_HINT
from pipeline.models import keras_files
from pipeline.models.architectures import MODELS
from tests.harness.errors import error_of
from tests.harness.small_networks import small_network

NETWORKS = ["dense", *(pytest.param(n, marks=pytest.mark.slow) for n in MODELS if n != "dense")]
TOKEN_IDS = np.array([[1, 7, 4, 9, 0], [1, 5, 0, 0, 0]], np.int32)


def new_network(name, seed=1):
    keras.utils.clear_session()  # layer names count up within a session
    return small_network(12, seed=seed, model=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_equal_weights_are_equal_bytes(name, tmp_path):
    def saved(network):
        keras_files.save(network, tmp_path / "model.keras")
        return (tmp_path / "model.keras").read_bytes()

    model = new_network(name)
    first = saved(model)
    assert first == saved(model) == saved(new_network(name)) != saved(new_network(name, seed=2))
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_survive_save_load_and_export(name, tmp_path):
    model = new_network(name)
    scores = model(TOKEN_IDS, training=False).numpy()
    keras_files.save(model, tmp_path / "model.keras")
    loaded = keras_files.load(tmp_path / "model.keras")
    assert loaded(TOKEN_IDS, training=False).numpy().tolist() == scores.tolist()
    keras_files.export(loaded, tmp_path / "saved")
    saved = tf.saved_model.load(tmp_path / "saved")
    for rows, width in ((slice(None), 5), (slice(1, None), 2)):
        served = saved.serve(tf.constant(TOKEN_IDS[rows, :width])).numpy()
        assert served == pytest.approx(scores[rows], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "count"), [("bilstm", 4), ("dnc", 1)])
def test_our_layers_load_wherever_their_code_lies(network, count, tmp_path, monkeypatch):
    keras_files.save(new_network(network), tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        config = file.read("config.json")
    assert config.count(b'"module": "pipeline.wide"') == count  # as in files of earlier versions
    assert b"pipeline.models" not in config
    registered = keras.saving.get_custom_objects()
    for name in [name for name in registered if name.startswith("spam_detector>")]:
        monkeypatch.delitem(registered, name)
    assert keras_files.load(tmp_path / "model.keras").name == network


@pytest.mark.parametrize(
    ("part", "content", "problem"),
    [
        ("config.json", None, "\"There is no item named 'config.json'"),
        ("config.json", b"{", "Expecting property name enclosed in double quotes"),
        ("config.json", b'{"a":' * 3000 + b"1" + b"}" * 3000, "maximum recursion depth exceeded"),
        ("config.json", b'{"class_name": "X", "config": {}}', "Could not locate"),
        ("model.weights.h5", b"no weights", "Unable to "),
    ],
)
def test_damaged_file_is_refused_in_one_line(part, content, problem, tmp_path):
    path = tmp_path / "model.keras"
    keras_files.save(new_network("dense"), path)
    with zipfile.ZipFile(path) as good:
        parts = {name: good.read(name) for name in good.namelist()} | {part: content}
    with zipfile.ZipFile(path, "w") as bad:
        for name in filter(parts.get, parts):
            bad.writestr(name, parts[name])
    message = error_of(keras_files.load, path)
    assert message.startswith(f"{path}: not a Keras network ({problem}")
    assert message.endswith(f"); {REBUILD_HINT}")
    assert "\n" not in message


def test_file_that_is_missing_or_cut_names_the_way_out(tmp_path):
    path = tmp_path / "model.keras"
    assert error_of(keras_files.load, path) == f"{path}: missing; {REBUILD_HINT}"
    path.write_bytes(b"PK, the start of a zip file")
    problem = "not a Keras network (it is no zip file)"
    assert error_of(keras_files.load, path) == f"{path}: {problem}; {REBUILD_HINT}"
