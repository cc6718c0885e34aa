"""Compiled networks are kept for the next process, and a damaged cache is one line."""

import os
import subprocess
import sys

import pytest

from pipeline.registry import compile_cache as module
from pipeline.registry.compile_cache import CACHE_FOLDER, FLAGS_VARIABLE, compile_cache, machine_key
from tests.harness.errors import error_of
from tests.harness.small_project import ROOT, environment

COMPILES = """
from pipeline.core.cli import run_command
from pipeline.registry.compile_cache import compile_cache

@compile_cache()
def main():
    import tensorflow as tf
    print(tf.function(lambda x: tf.tanh(x) * 3, jit_compile=True)(tf.constant(0.5)).numpy())

run_command(main)
"""


class TensorFlowError(Exception):
    """Stands for an error of TensorFlow."""


TensorFlowError.__module__ = "tensorflow.python.framework.errors_impl"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, where no flags are set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(FLAGS_VARIABLE)  # conftest.py turns the cache off
    return tmp_path


def flags():
    """The flags in the block, and after it."""
    with compile_cache():
        inside = os.environ.get(FLAGS_VARIABLE)
    return inside, os.environ.get(FLAGS_VARIABLE)


def test_block_names_the_folder_of_this_machine(folder):
    cache = folder / CACHE_FOLDER / machine_key()
    assert flags() == (f"--tf_xla_persistent_cache_directory='{cache}'", None)
    assert not CACHE_FOLDER.exists()  # until something is compiled


def test_flags_of_the_user_stay(folder, monkeypatch):
    monkeypatch.setenv(FLAGS_VARIABLE, "--tf_xla_clustering_debug")
    assert flags() == ("--tf_xla_clustering_debug",) * 2


def test_path_that_tensorflow_would_misread_is_not_used(folder, monkeypatch):
    (folder / "Ann's").mkdir()
    monkeypatch.chdir(folder / "Ann's")
    assert flags() == (None, None)


def test_nearly_full_disk_is_left_alone(folder, monkeypatch):
    monkeypatch.setattr(module, "LEAST_SPACE", 10**18)
    assert flags() == (None, None)


def test_folder_of_another_user_is_not_used(folder, monkeypatch):
    CACHE_FOLDER.mkdir()
    assert flags()[0]
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    assert flags() == (None, None)


def test_cache_that_grew_too_large_starts_anew(folder, monkeypatch):
    CACHE_FOLDER.mkdir()
    (CACHE_FOLDER / "old").write_bytes(bytes(9000))
    flags()
    assert (CACHE_FOLDER / "old").exists()
    monkeypatch.setattr(module, "LARGEST_CACHE", 8000)
    assert flags()[0]
    assert not CACHE_FOLDER.exists()


def test_only_errors_of_tensorflow_remove_the_cache(folder):
    def fail(error):
        with compile_cache():
            raise error

    with pytest.raises(TensorFlowError):
        fail(TensorFlowError("nothing is kept yet, so this is a bug"))
    (CACHE_FOLDER / machine_key()).mkdir(parents=True)
    (CACHE_FOLDER / machine_key() / "a.pb").touch()
    with pytest.raises(ValueError, match="ours"):
        fail(ValueError("ours"))
    assert CACHE_FOLDER.exists()
    line = ".compiled: removed, as TensorFlow says 'Read less bytes'; run it again"
    assert error_of(fail, TensorFlowError("Read less bytes\nmore")) == line
    assert not CACHE_FOLDER.exists()


@pytest.mark.slow
def test_next_process_compiles_nothing_and_a_damaged_file_is_one_line(folder):
    variables = {name: value for name, value in environment().items() if name != FLAGS_VARIABLE}

    def run():
        command = [sys.executable, "-c", COMPILES]
        done = subprocess.run(
            command, env=variables | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
        )
        return done.returncode, done.stdout, done.stderr.splitlines()[-1]

    code, answer, _ = run()
    (file,) = CACHE_FOLDER.rglob("*.pb")
    written = file.stat()
    assert run()[:2] == (code, answer) == (0, answer)
    assert file.stat().st_mtime_ns == written.st_mtime_ns
    os.truncate(file, 100)
    code, _, line = run()
    assert code == 1
    assert line.startswith("error: .compiled: removed, as TensorFlow says ")
    assert run()[:2] == (0, answer)
