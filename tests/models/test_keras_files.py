"""Equal weights are equal bytes, and a damaged file is refused in one line."""

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.core.errors import PipelineError
from pipeline.core.files import REBUILD_HINT
from pipeline.models import keras_files
from pipeline.models.architectures import MODELS
from tests.harness.small_networks import small_network

NETWORKS = ["dense", *(pytest.param(n, marks=pytest.mark.slow) for n in MODELS if n != "dense")]
TOKEN_IDS = np.array([[1, 7, 4, 9, 0], [1, 5, 0, 0, 0]], np.int32)


def new_network(name, seed=1):
    keras.utils.clear_session()  # layer names count up within a session
    return small_network(12, seed=seed, model=name)


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_weights_are_equal_bytes(name, tmp_path):
    model = new_network(name)
    for path, network in (
        ("first", model),
        ("second", model),
        ("rebuilt", new_network(name)),
        ("other", new_network(name, seed=2)),
    ):
        keras_files.save(network, tmp_path / path)
    first, second, rebuilt, other = (
        (tmp_path / path).read_bytes() for path in ("first", "second", "rebuilt", "other")
    )
    assert first == second == rebuilt != other
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_survive_save_load_and_export(name, tmp_path):
    model = new_network(name)
    scores = model(TOKEN_IDS, training=False).numpy()
    keras_files.save(model, tmp_path / "model.keras")
    loaded = keras_files.load(tmp_path / "model.keras")
    assert loaded(TOKEN_IDS, training=False).numpy().tolist() == scores.tolist()
    keras_files.export(loaded, tmp_path / "saved")
    saved = tf.saved_model.load(tmp_path / "saved")
    assert saved.serve(tf.constant(TOKEN_IDS)).numpy() == pytest.approx(scores, abs=1e-6)
    assert saved.serve(tf.constant(TOKEN_IDS[1:, :2])).numpy() == pytest.approx(
        scores[1:], abs=1e-6
    )


def test_our_layers_load_wherever_their_code_lies(tmp_path, monkeypatch):
    keras_files.save(new_network("bilstm"), tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        config = file.read("config.json")
    assert config.count(b'"module": "pipeline.wide"') == 4  # as in files of earlier versions
    assert b"pipeline.models" not in config
    registered = keras.saving.get_custom_objects()
    for name in [name for name in registered if name.startswith("spam_detector>")]:
        monkeypatch.delitem(registered, name)
    assert keras_files.load(tmp_path / "model.keras").name == "bilstm"


def refusal(path):
    with pytest.raises(PipelineError) as refused:
        keras_files.load(path)
    return str(refused.value)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def replace_part(name, content):
    """Replaces one file of the zip file, or removes it."""

    def replace(path):
        with zipfile.ZipFile(path) as good:
            parts = {part: good.read(part) for part in good.namelist()} | {name: content}
        with zipfile.ZipFile(path, "w") as bad:
            for part, part_content in parts.items():
                if part_content is not None:
                    bad.writestr(part, part_content)

    return replace


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (flip_a_byte, "Bad CRC-32 for file 'model.weights.h5'"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "it is no zip file"),
        (lambda path: path.write_bytes(b""), "it is no zip file"),
        (replace_part("config.json", None), "\"There is no item named 'config.json'"),
        (replace_part("config.json", b"{"), "Expecting property name enclosed in double quotes"),
        (replace_part("config.json", b'{"class_name": "X", "config": {}}'), "Could not locate"),
        (replace_part("model.weights.h5", b"no weights"), "Unable to "),
    ],
)
def test_damaged_file_is_refused_in_one_line(damage, problem, tmp_path):
    path = tmp_path / "model.keras"
    keras_files.save(new_network("dense"), path)
    damage(path)
    message = refusal(path)
    assert message.startswith(f"{path}: not a Keras network ({problem}")
    assert message.endswith(f"); {REBUILD_HINT}")
    assert "\n" not in message


def test_missing_file_names_the_way_out(tmp_path):
    path = tmp_path / "model.keras"
    assert refusal(path) == f"{path}: missing; {REBUILD_HINT}"
