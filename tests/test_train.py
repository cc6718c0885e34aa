"""The stage writes the network, its curves and its report, and logs its params to MLflow."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import train
from pipeline.core.files import read_json
from pipeline.core.params import read_yaml
from pipeline.core.reports import Figure, read_report
from pipeline.core.schemas import SHARD
from pipeline.core.tables import read_csv, read_parquet, write_shards
from pipeline.preprocessing.tokenizer import read_spec
from pipeline.tracking.runs import flatten_params
from tests.harness.labelled_messages import write_vectorized
from tests.harness.small_project import set_params, stage_arguments
from tests.harness.toy_problem import toy_epoch

SMALL = {"model": "dense", "epochs": 2, "fewest_steps": 0, "stop_share": 0.3, "refit": False}
ARGUMENTS = stage_arguments(
    *("train", "models/tokenizer.json"),
    *("data/vectorized/train", "data/vectorized/val", "data/vectorized/test"),
    *("evaluated.keras", "model.keras", "oof.parquet", "curves.csv", "report.json"),
)


def test_figures_are_those_of_the_best_epoch_ties_by_the_lowest_loss():
    pairs = [(0.9, 0.3), (0.9, 0.2), (0.9, 0.2), (0.7, 0.1)]
    curves = [toy_epoch(number, *pair) for number, pair in enumerate(pairs, 1)]
    figures = train.training_figures(curves, weights=77, rows=50, stop_rows=9, served_rows=80)
    assert figures == {
        "epochs": Figure(4),
        "best_epoch": Figure(2),
        "weights": Figure(77),
        "loss": Figure(0.2, n=50),
        "accuracy": Figure(0.8, n=50),
        "stop_average_precision": Figure(0.9, n=9),
        "served_rows": Figure(80),
    }


@pytest.mark.slow
def test_stage_writes_its_files_and_logs_params_as_written(store, tmp_path):
    write_vectorized(tmp_path, SMALL | {"learning_rate": 1})  # MLflow must show 1, not 1.0
    train.main(ARGUMENTS)
    assert read_report(Path("report.json"))["figures"]["served_rows"]["value"] == 60
    assert Path("model.keras").read_bytes() == Path("evaluated.keras").read_bytes()
    assert read_csv(Path("curves.csv"))["epoch"] == ["1", "2"]
    assert read_json(Path("report.json"))["rows"] == 60
    (run,) = store.search_runs(["1"])
    logged = {name: str(value) for name, value in flatten_params(read_yaml()).items()}
    assert run.data.params.items() <= logged.items()
    assert list(Path(".checkpoints").glob("*.done.npz"))
    rows = read_parquet(Path("data/vectorized/train"))
    longest = read_spec(Path("models/tokenizer.json"))["truncation"]["max_length"]
    whole = rows.to_pandas()[rows.to_pandas()["token_ids"].map(len) < longest]["message_id"]
    assert 0 < len(whole) < 60
    for few, ids in ((60, whole.tolist()), (59, [])):
        set_params(tmp_path, {"train": {"out_of_fold_rows": few}})
        train.main(ARGUMENTS)
        assert read_parquet(Path("oof.parquet"))["message_id"].to_pylist() == ids


@pytest.mark.slow
def test_network_that_serves_learns_from_all_splits_and_the_evaluated_one_from_train(
    store, tmp_path
):
    write_vectorized(tmp_path, SMALL | {"out_of_fold_rows": 0})
    networks = [Path("evaluated.keras"), Path("model.keras")]
    train.main(ARGUMENTS)
    on_train = networks[0].read_bytes()
    set_params(tmp_path, {"train": {"refit": True}})
    train.main(ARGUMENTS)
    evaluated, served = (network.read_bytes() for network in networks)
    assert evaluated == on_train != served
    assert len(list(Path(".checkpoints").glob("*.done.npz"))) == 3  # with that of the first run
    assert read_report(Path("report.json"))["figures"]["served_rows"]["value"] == 90
    test = read_parquet(Path("data/vectorized/test"))
    turned = test.to_pandas().assign(label=lambda rows: 1 - rows["label"])
    write_shards(Path("data/vectorized/test"), [pa.Table.from_pandas(turned, SHARD)])
    train.main(ARGUMENTS)
    assert networks[0].read_bytes() == evaluated
    assert networks[1].read_bytes() != served
