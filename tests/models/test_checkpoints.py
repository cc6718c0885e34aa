"""A checkpoint is whole or not there, and belongs to one training."""

import logging
import numpy as np
import pytest
from pipeline.models import checkpoints
from pipeline.models.checkpoints import Checkpoint
from pipeline.models.checkpoints import FOLDER
from pipeline.models.checkpoints import State
from pipeline.models.checkpoints import drop_finished
from pipeline.models.checkpoints import key_of

CURVES = [(1.0, 0.1 + 0.2, 0.5), (2.0, 1 / 3, 0.75)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def state(value, variables=12):
    """More than ten variables of different shapes, so that an order by name alone would show."""
    arrays = [np.full((n + 1, 2), value + n, np.float32) for n in range(variables)]
    return State(CURVES, [*arrays, np.array(7, np.int64)], arrays[::-1])


def test_what_is_loaded_is_what_was_saved_last_bit_for_bit():
    for value in (1, 2):
        Checkpoint("a").save(state(value))
    loaded = Checkpoint("a").load()
    assert loaded.curves == CURVES
    for theirs, ours in (
        (loaded.variables, state(2).variables),
        (loaded.best_weights, state(2).best_weights),
    ):
        assert [a.dtype for a in theirs] == [a.dtype for a in ours]
        assert all(np.array_equal(a, b) for a, b in zip(theirs, ours, strict=True))


def test_another_training_finds_nothing():
    Checkpoint("a").save(state(1))
    assert Checkpoint("b").load() is None


def test_finished_training_is_kept_until_register_drops_it_and_an_open_one_stays():
    Checkpoint("a").save(state(1))
    Checkpoint("a").finish()
    Checkpoint("b").save(state(2))
    assert Checkpoint("a").load() is not None
    drop_finished()
    assert Checkpoint("a").load() is None
    assert Checkpoint("b").load() is not None


def test_finish_without_a_state_and_drop_without_a_folder_do_nothing():
    Checkpoint("a").finish()
    drop_finished()
    assert not FOLDER.exists()


@pytest.mark.parametrize("length", [0, 100, 2000])
def test_state_that_was_cut_off_is_named_and_not_used(length, caplog):
    Checkpoint("a").save(state(1))
    file = FOLDER / "a.npz"
    file.write_bytes(file.read_bytes()[:length])
    with caplog.at_level(logging.WARNING):
        assert Checkpoint("a").load() is None
    assert caplog.messages[0].startswith(".checkpoints/a.npz: not readable (")
    assert caplog.messages[0].endswith("); the training begins anew")


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (lambda file: file.write_bytes(b"no arrays"), "This file contains pickled (object) data"),
        (lambda file: np.savez(file, variable=np.zeros(3)), "'curves is not a file in the archive'"),
        (lambda file: (file.unlink(), file.mkdir()), "[Errno 21] Is a directory"),
    ],
)
def test_what_is_no_state_is_named_and_not_used(harm, problem, caplog):
    Checkpoint("a").save(state(1))
    harm(FOLDER / "a.npz")
    with caplog.at_level(logging.WARNING):
        assert Checkpoint("a").load() is None
    assert caplog.messages[0].startswith(f".checkpoints/a.npz: not readable ({problem}")


def test_key_changes_with_params_data_code_and_library(folder, monkeypatch):
    data, code = folder / "data", folder / "code"
    data.write_text("1")
    code.mkdir()
    (code / "train.py").write_text("x = 1")
    monkeypatch.setattr(checkpoints, "__file__", str(code / "checkpoint.py"))
    keys = [key_of({"units": 8}, data), key_of({"units": 8}, data), key_of({"units": 9}, data)]
    data.write_text("2")
    keys.append(key_of({"units": 8}, data))
    (code / "train.py").write_text("x = 2")
    keys.append(key_of({"units": 8}, data))
    monkeypatch.setattr(checkpoints, "version", lambda library: "0")
    keys.append(key_of({"units": 8}, data))
    assert keys[0] == keys[1]
    assert len(set(keys)) == 5
