"""A checkpoint is whole or absent, and belongs to one training."""

import numpy as np
import pytest

from pipeline.models import checkpoints
from pipeline.models.checkpoints import FOLDER, Checkpoint, drop_finished, training_key

CURVES = [(1.0, 0.1 + 0.2, 0.5), (2.0, 1 / 3, 0.75)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def state(value):
    """More than ten variables of different shapes: sorting by unpadded names would show."""
    arrays = [np.full((n + 1, 2), value + n, np.float32) for n in range(12)]
    variables = [*arrays, np.array(7, np.int64)]
    return checkpoints.TrainingState(curves=CURVES, variables=variables, best_weights=arrays[::-1])


def test_the_last_saved_state_is_loaded_bit_for_bit():
    for value in (1, 2):
        Checkpoint("a").save(state(value))
    loaded = Checkpoint("a").load()
    assert loaded.curves == CURVES
    for name in ("variables", "best_weights"):
        pairs = zip(getattr(loaded, name), getattr(state(2), name), strict=True)
        assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)
    assert Checkpoint("b").load() is None


def test_finished_training_stays_until_it_is_dropped():
    Checkpoint("a").finish()
    drop_finished()
    assert not FOLDER.exists()
    Checkpoint("a").save(state(1))
    Checkpoint("a").finish()
    Checkpoint("b").save(state(2))
    assert Checkpoint("a").load() is not None
    drop_finished()
    assert Checkpoint("a").load() is None
    assert Checkpoint("b").load() is not None


def cut_to(length):
    return lambda file: file.write_bytes(file.read_bytes()[:length])


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (cut_to(0), "No data left in file"),
        (cut_to(2000), ""),
        (lambda file: file.write_bytes(b"no arrays"), "This file contains pickled (object) data"),
        (lambda file: np.savez(file, variable=1), "'curves is not a file in the archive'"),
        (lambda file: (file.unlink(), file.mkdir()), "[Errno 21] Is a directory"),
    ],
    ids=["empty", "cut", "text", "other arrays", "folder"],
)
def test_unreadable_state_is_reported_and_not_used(damage, problem, caplog):
    Checkpoint("a").save(state(1))
    damage(FOLDER / "a.npz")
    assert Checkpoint("a").load() is None
    assert caplog.messages[0].startswith(f".checkpoints/a.npz: not readable ({problem}")
    assert caplog.messages[0].endswith("); training starts again")


@pytest.fixture
def code(folder, monkeypatch):
    """A package with subfolders, in place of ours."""
    for name in ("core", "models/deep"):
        (folder / "code" / name).mkdir(parents=True)
        (folder / "code" / name / "module.py").write_text("x = 1")
    monkeypatch.setattr(checkpoints, "CODE", folder / "code")
    (folder / "data").write_text("1")
    return folder / "code"


def test_key_changes_with_params_data_and_libraries(code, folder, monkeypatch):
    first = training_key({"units": 8}, folder / "data")
    assert training_key({"units": 8}, folder / "data") == first
    assert training_key({"units": 9}, folder / "data") != first
    monkeypatch.setattr(checkpoints, "version", lambda library: "0")
    assert training_key({"units": 8}, folder / "data") != first
    (folder / "data").write_text("2")
    assert training_key({"units": 8}, folder / "data") != first


@pytest.mark.parametrize("subfolder", ["core", "models/deep"])
def test_key_changes_with_code_in_every_subfolder(subfolder, code, folder):
    first = training_key({}, folder / "data")
    (code / subfolder / "README.md").write_text("words")
    assert training_key({}, folder / "data") == first
    (code / subfolder / "module.py").write_text("x = 2")
    assert training_key({}, folder / "data") != first


def test_key_covers_the_whole_package():
    assert {path.name for path in checkpoints.CODE.iterdir()} >= {"core", "models", "train.py"}
