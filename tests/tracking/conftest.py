"""What the tests of runs share: a training, and what register has read of its model."""

import pandas as pd
import pytest

from pipeline.tracking.live_runs import live_run
from pipeline.tracking.mlflow_client import MODEL_NAME
from pipeline.tracking.run_contents import RunInputs, collect_run_contents
from tests.harness.evaluated_project import FIGURES

CURVES = [{"epoch": epoch, "loss": 1 / epoch, "accuracy": epoch / 10} for epoch in (1, 2, 3)]
TRAIN_PARAMS = {"train": {"model": "bilstm", "units": 8}}
ROWS = [("a", "ham", "val", False), ("b", "spam", "test", False), ("c", "ham", "test", True)]


class Tracked:
    """MLflow's runs, as the tests ask for them."""

    def __init__(self, store):
        self.store = store

    def runs(self):
        experiment = self.store.get_experiment_by_name(MODEL_NAME)
        return self.store.search_runs([experiment.experiment_id])

    def only_run(self):
        (run,) = self.runs()
        return run

    def statuses(self):
        return sorted(run.info.status for run in self.runs())

    def losses(self, run_id):
        history = self.store.get_metric_history(run_id, "train/loss")
        return [(point.step, point.value) for point in history]

    def epochs(self, run_id):
        return [step for step, _ in self.losses(run_id)]

    def train(self, params=TRAIN_PARAMS, network_hash="network"):
        """A training that ends well. Returns the id of its newest run."""
        with live_run("bilstm", params, "training") as live:
            live.log_curves(CURVES)
            live.finish(network_hash)
        return self.runs()[0].info.run_id

    def kill_training(self, epochs, training_key="training"):
        """A training that a SIGKILL ends: its run stays open while the result is referenced."""
        context = live_run("bilstm", TRAIN_PARAMS, training_key)
        context.__enter__().log_curves(CURVES[:epochs])
        return context


@pytest.fixture
def tracked(store):
    return Tracked(store)


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """What register has read of an evaluated model."""
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.html").write_text("docs")
    return RunInputs(
        params=TRAIN_PARAMS | {"validate": {"row_count": [20, 40], "budgets": {}}},
        evaluation={"verdict": "f1 0.900", "figures": FIGURES},
        curves={name: [epoch[name] for epoch in CURVES] for name in CURVES[0]},
        rows=pd.DataFrame(ROWS, columns=["message_id", "label", "split", "left_out"]),
        plots={"roc": b"\x89PNG"},
        folders={"data_docs": docs},
        model_hash="0123456789",
        network_hash="network",
        data_hash="data",
    )


@pytest.fixture
def contents(inputs):
    return collect_run_contents(inputs, "criteria met")
