"""The stage writes the network, its curves and its report; equal inputs give equal bytes."""

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from pipeline import train
from pipeline.core.files import read_json
from pipeline.core.params import read_yaml
from pipeline.core.reports import Figure
from pipeline.core.schemas import SHARD
from pipeline.core.tables import read_csv, write_shards
from pipeline.tracking.runs import flatten_params
from tests.harness.small_project import ROOT, runner, set_params, stage_arguments
from tests.harness.toy_problem import VOCABULARY_SIZE, toy_epoch, toy_rows

OUTPUTS = ("model.keras", "curves.csv", "report.json")
SIZES = {"units": 6, "embedding_dim": 5, "epochs": 2, "patience": 2, "stop_share": 0.3}
NO_TEXT = {"corruptions": [], "copies": 0}  # the toy problem has token ids alone
WHOLE_NUMBER = {"learning_rate": 1}  # MLflow must show it as params.yaml writes it


@pytest.fixture
def inputs(tmp_path):
    """params.yaml, and the toy problem as vectorize writes it, with a campaign for each message."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    set_params(tmp_path, {"train": SIZES | NO_TEXT | WHOLE_NUMBER})
    rows = toy_rows(96, seed=10)
    ids = [f"{i:016x}" for i in range(96)]
    shard = [ids, ids, rows.token_ids, rows.labels.astype(np.int8)]
    write_shards(tmp_path / "train", [pa.table(shard, schema=SHARD)])
    tokenizer = Tokenizer(WordLevel({str(i): i for i in range(VOCABULARY_SIZE)}, "0"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json", tmp_path / "train"


def test_figures_are_those_of_the_best_epoch():
    curves = [toy_epoch(number, p) for number, p in ((1, 0.5), (2, 0.9), (3, 0.7))]
    assert train.training_figures(curves, weights=77, rows=50, stop_rows=9) == {
        "epochs": Figure(3),
        "best_epoch": Figure(2),
        "weights": Figure(77),
        "loss": Figure(0.2, n=50),
        "accuracy": Figure(0.8, n=50),
        "stop_average_precision": Figure(0.9, n=9),
    }


@pytest.mark.slow
def test_stage_writes_equal_bytes_in_two_processes(store, inputs, tmp_path):
    artifacts = f"file://{tmp_path}/artifacts"
    store.create_experiment("spam-detector", artifact_location=artifacts)

    def train_in(name):
        folder = tmp_path / name  # its own, or the second process would resume the first training
        folder.mkdir()
        shutil.copyfile(tmp_path / "params.yaml", folder / "params.yaml")
        command = [sys.executable, "-m", "pipeline.train"]
        arguments = stage_arguments("train", *inputs, *OUTPUTS)
        seed = str(len(name))  # of Python's hashes, so that the order of a set would show
        runner(folder)(*command, *arguments, PYTHONPATH=str(ROOT), PYTHONHASHSEED=seed)
        return folder

    with ThreadPoolExecutor() as pool:
        one, other = pool.map(train_in, ("one", "other"))
    for name in OUTPUTS:
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert read_csv(one / "curves.csv")["epoch"] == ["1", "2"]
    assert read_json(one / "report.json")["rows"] == 96
    logged = {name: str(value) for name, value in flatten_params(read_yaml()).items()}
    runs = store.search_runs(["1"])
    assert len(runs) == 2
    assert all(run.data.params.items() <= logged.items() for run in runs)
    assert list((one / ".checkpoints").glob("*.done.npz"))
