"""A checkpoint is whole or absent, and belongs to one training."""

from functools import partial

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
    Checkpoint("a").finish()  # without a saved state it does nothing
    for key in ("a", "b"):
        Checkpoint(key).save(state(1))
    Checkpoint("a").finish()
    assert Checkpoint("a").load() is not None
    drop_finished()
    assert Checkpoint("a").load() is None
    assert Checkpoint("b").load() is not None


@pytest.mark.parametrize("is_finished", [True, False])
def test_another_worker_takes_over_the_state(is_finished):
    chief, other = Checkpoint("a"), Checkpoint("a", "worker1")
    other.save(state(3))
    other.finish()
    other.save(state(4))
    chief.save(state(1))
    if is_finished:
        chief.finish()
    other.replace(chief.read_bytes())
    assert np.array_equal(other.load().variables[0], state(1).variables[0])
    drop_finished()
    chief = Checkpoint("b")
    assert chief.read_bytes() == b""
    other.replace(chief.read_bytes())
    assert other.load() is None


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda file: file.write_bytes(b""), "No data left in file"),
        (lambda file: file.write_bytes(file.read_bytes()[:2000]), ""),
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


def test_key_changes_with_params_data_libraries_and_code(folder, monkeypatch):
    assert {path.name for path in checkpoints.CODE.iterdir()} >= {"core", "models", "train.py"}
    for name in ("core", "models/deep"):
        (folder / "code" / name).mkdir(parents=True)
        (folder / "code" / name / "module.py").write_text("x = 1")
    (folder / "data").write_text("1")
    monkeypatch.setattr(checkpoints, "CODE", folder / "code")
    key = partial(training_key, {"units": 8}, folder / "data")
    keys = [key(), training_key({"units": 9}, folder / "data")]
    (folder / "code" / "core" / "README.md").write_text("words")
    assert key() == keys[0]
    for name in ("data", "code/core/module.py", "code/models/deep/module.py"):
        (folder / name).write_text("x = 2")
        keys.append(key())
    monkeypatch.setattr(checkpoints, "version", lambda library: "0")
    keys.append(key())
    assert len(set(keys)) == 6
