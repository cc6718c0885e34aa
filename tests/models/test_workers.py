"""Workers that train together end with the network of one worker, and fail in one line."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.tables import read_csv
from pipeline.models import keras_files, workers
from pipeline.models.workers import (
    ALONE,
    CONFIG_VARIABLE,
    STOPPED,
    Workers,
    is_chief,
    meet_workers,
    read_cluster,
)
from tests.harness.errors import error_of
from tests.harness.labelled_messages import write_vectorized
from tests.harness.servers import free_port
from tests.harness.small_project import ROOT, environment, set_params, stage_arguments
from tests.harness.toy_problem import toy_rows

TWO = {"worker": ["a:1", "b:1"]}
BATCH = (np.arange(10, dtype=np.int32).reshape(5, 2), np.array([1, 0, 0, 1, 0], np.float32))
PATIENCE = 120  # seconds, for processes that are to end by themselves
SMALL = {
    "model": "bilstm",
    "units": 5,
    "embedding_dim": 6,
    "dropout": 0.0,
    "token_dropout": 0.0,
    "batch_size": 15,
    "epochs": 3,
    "fewest_steps": 0,
    "copies": 0,
    "stop_share": 0.3,
    "out_of_fold_rows": 0,
}
ARGUMENTS = stage_arguments(
    *("train", "models/tokenizer.json"),
    *("data/vectorized/train", "data/vectorized/val", "data/vectorized/test"),
    *("evaluated.keras", "model.keras", "oof.parquet", "curves.csv", "report.json"),
)

# ---- who is there


def set_config(monkeypatch, cluster, kind="worker", index=0):
    """Sets TF_CONFIG."""
    content = {"cluster": cluster, "task": {"type": kind, "index": index}}
    monkeypatch.setenv(CONFIG_VARIABLE, json.dumps(content))


def test_the_first_worker_is_the_chief_if_none_is_named(monkeypatch):
    for number in (0, 1):
        set_config(monkeypatch, TWO, index=number)
        assert (read_cluster().index, read_cluster().count) == (number, 2)
        assert is_chief() == (number == 0)
    set_config(monkeypatch, {"chief": ["c:1"]} | TWO, index=1)
    assert (read_cluster().index, read_cluster().count) == (2, 3)
    set_config(monkeypatch, {"chief": ["c:1"]} | TWO, kind="chief")
    assert is_chief()


@pytest.mark.parametrize("content", ["", " ", '{"cluster": {"worker": ["a:1"]}, "task": '])
def test_one_worker_is_alone(monkeypatch, content):
    if content.strip():
        content += '{"type": "worker", "index": 0}}'
    monkeypatch.setenv(CONFIG_VARIABLE, content)
    assert meet_workers() is ALONE
    assert is_chief()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "no JSON: "),
        ("[]", "input should be an object"),
        ('{"task": {"type": "worker", "index": 0}}', "cluster: missing"),
        ('{"cluster": {"ps": ["a"]}, "task": {"type": "worker", "index": 0}}', "cluster.ps"),
        ('{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}', "pattern"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "no worker 1"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}', "no chief 0"),
    ],
)
def test_wrong_config_is_one_line(monkeypatch, content, problem):
    monkeypatch.setenv(CONFIG_VARIABLE, content)
    line = error_of(read_cluster)
    assert line.startswith((f"{CONFIG_VARIABLE}: ", f"{CONFIG_VARIABLE}."))
    assert problem in line


# ---- shares


def test_shares_of_a_batch_are_all_of_its_rows_once():
    shares = [Workers(count=3, index=number).share(BATCH) for number in range(3)]
    rows = sorted(int(ids[0]) for token_ids, _, _ in shares for ids in token_ids)
    assert rows == [0, 2, 4, 6, 8]
    assert [share for *_, share in shares] == [
        np.float32(2 / 5),
        np.float32(2 / 5),
        np.float32(1 / 5),
    ]
    assert [labels.tolist() for _, labels, _ in shares] == [[1, 1], [0, 0], [0]]


def test_worker_without_a_row_takes_part_without_weight():
    token_ids, labels, share = Workers(count=9, index=7).share(BATCH)
    assert (token_ids.tolist(), labels.tolist(), share) == ([[0, 1]], [1], 0)


def test_one_worker_has_the_whole_batch():
    token_ids, labels, share = ALONE.share(BATCH)
    assert np.array_equal(token_ids, BATCH[0])
    assert np.array_equal(labels, BATCH[1])
    assert share == 1


def test_one_worker_gets_back_what_it_sends():
    assert ALONE.total([1, 2]) == [1, 2]
    assert ALONE.from_chief(b"a") == b"a"
    ALONE.copy_chief(toy_rows(1).token_ids)
    ALONE.require_equal("a")


# ---- real processes


@contextmanager
def started(folders):
    """Processes that train together, one in each folder, with their output in `log`."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in folders]
    processes = []
    try:
        for index, folder in enumerate(folders):
            task = {"type": "worker", "index": index}
            config = json.dumps({"cluster": {"worker": addresses}, "task": task})
            more = {CONFIG_VARIABLE: config, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
            with (folder / "log").open("w") as log:
                command = [sys.executable, "-m", "pipeline.train", *ARGUMENTS]
                processes.append(
                    subprocess.Popen(
                        command, cwd=folder, env=environment() | more, stdout=log, stderr=log
                    )
                )
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def codes(processes):
    """The exit codes."""
    return [process.wait(PATIENCE) for process in processes]


def new_folders(tmp_path, *names, **changes):
    """A folder for each worker, with equal inputs."""
    first = tmp_path / names[0]
    first.mkdir()
    write_vectorized(first, SMALL | changes)
    return [first, *(Path(shutil.copytree(first, tmp_path / name)) for name in names[1:])]


def wait_for(path, text):
    """Waits until a file has a text."""
    end = time.monotonic() + PATIENCE
    while text not in path.read_text():
        assert time.monotonic() < end, path.read_text()
        time.sleep(0.05)


def weights(folder):
    """The weights of both networks."""
    return [
        weight
        for name in ("evaluated.keras", "model.keras")
        for weight in keras_files.load(folder / name).get_weights()
    ]


def assert_equal_weights(folder, other):
    for weight, others in zip(weights(folder), weights(other), strict=True):
        np.testing.assert_allclose(weight, others, atol=1e-5)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of a training by one worker."""
    (folder,) = new_folders(tmp_path_factory.mktemp("alone"), "chief")
    with started([folder]) as processes:
        assert codes(processes) == [0]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_workers_end_with_the_network_of_one(alone, tmp_path, count):
    names = ["chief", "second", "third"][:count]
    folders = new_folders(tmp_path, *names)
    with started(folders) as processes:
        assert codes(processes) == [0] * count
    assert_equal_weights(folders[0], alone)
    best = [json.loads((one / "report.json").read_text())["figures"] for one in (folders[0], alone)]
    assert best[0]["best_epoch"] == best[1]["best_epoch"]
    figures = [read_csv(one / "curves.csv") for one in (folders[0], alone)]
    for name, values in figures[0].items():
        np.testing.assert_allclose(np.float64(values), np.float64(figures[1][name]), atol=2e-5)
    for folder in folders[1:]:
        assert not list(folder.glob("*.keras"))
        assert not (folder / "mlflow.db").exists()


@pytest.mark.slow
def test_a_killed_worker_ends_the_others_and_all_go_on_later(tmp_path):
    folders = new_folders(tmp_path, "chief", "second", epochs=40, patience=40, refit=False)
    with started(folders) as (chief, second):
        wait_for(folders[0] / "log", "epoch 3")
        os.kill(second.pid, signal.SIGKILL)
        assert codes([chief]) == [1]
    line = (folders[0] / "log").read_text().splitlines()[-1]
    assert re.fullmatch(rf"error: TF_CONFIG: 127\.0\.0\.1:\d+ {re.escape(STOPPED)}", line)
    assert not (folders[0] / "evaluated.keras").exists()
    shutil.rmtree(folders[1] / ".checkpoints")  # it may be another machine now
    with started(folders) as processes:
        assert codes(processes) == [0, 0]
    assert "resumed after epoch" in (folders[1] / "log").read_text()
    undisturbed = new_folders(tmp_path, "chief2", "second2", epochs=40, patience=40, refit=False)
    with started(undisturbed) as processes:
        assert codes(processes) == [0, 0]
    assert_equal_weights(folders[0], undisturbed[0])


@pytest.mark.slow
def test_a_terminated_worker_ends_and_so_do_the_others(tmp_path):
    folders = new_folders(tmp_path, "chief", "second", epochs=1000, patience=1000, refit=False)
    with started(folders) as (chief, second):
        wait_for(folders[0] / "log", "epoch 3")
        chief.terminate()
        assert codes([chief, second]) == [-signal.SIGTERM, 1]


@pytest.mark.slow
def test_worker_with_other_params_is_refused(tmp_path):
    folders = new_folders(tmp_path, "chief", "second")
    set_params(folders[1], {"train": {"batch_size": 16}})
    with started(folders) as processes:
        assert codes(processes) == [1, 1]
    for folder in folders:
        line = (folder / "log").read_text().splitlines()[-1]
        assert line.startswith("error: TF_CONFIG: worker 1 has other code, params, packages or")


def test_worker_that_does_not_come_is_named(monkeypatch):
    monkeypatch.setattr(workers, "START_SECONDS", 0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        there = f"127.0.0.1:{other.getsockname()[1]}"
        own, missing = (f"127.0.0.1:{free_port()}" for _ in range(2))
        workers.wait_for_others([own, there], 0)
        expected = f"TF_CONFIG: no answer from {missing} in 0 seconds; start all workers within"
        assert error_of(workers.wait_for_others, [there, own, missing], 1).startswith(expected)
        line = error_of(workers.wait_for_others, [there, own], 0)
        assert line == f"TF_CONFIG: {there}: Address already in use"
