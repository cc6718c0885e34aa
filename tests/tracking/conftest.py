"""What the tests of runs share: a training, and the contents of its evaluated model's run."""

import pandas as pd
import pytest

from pipeline.tracking.live_runs import live_run
from pipeline.tracking.mlflow_client import MODEL_NAME
from pipeline.tracking.run_contents import RunContents

CURVES = [{"epoch": epoch, "loss": 1 / epoch, "accuracy": epoch / 10} for epoch in (1, 2, 3)]
TRAIN_PARAMS = {"train": {"units": 8, "dropout": 0}}


class Tracked:
    """MLflow's runs, as the tests ask for them."""

    def __init__(self, store):
        self.store = store

    def runs(self):
        experiment = self.store.get_experiment_by_name(MODEL_NAME)
        return self.store.search_runs([experiment.experiment_id]) if experiment else []

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

    def train(self, params=TRAIN_PARAMS, network_hash="network", training_key="training"):
        """A training that ends well. Returns the id of its newest run."""
        with live_run("bilstm", params, training_key) as live:
            live.log_curves(CURVES)
            live.finish(network_hash)
        return self.runs()[0].info.run_id

    def kill_training(self, epochs, params=TRAIN_PARAMS, training_key="training"):
        """A training that a SIGKILL ends: its run stays open while the result is referenced."""
        context = live_run("bilstm", params, training_key)
        context.__enter__().log_curves(CURVES[:epochs])
        return context


@pytest.fixture
def tracked(store):
    return Tracked(store)


@pytest.fixture
def contents(tmp_path):
    """The contents of the run of an evaluated model."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.html").write_text("docs")
    return RunContents(
        run_key="key",
        network_hash="network",
        name="bilstm f1 0.900",
        description="**criteria met**",
        params={"train.units": 8, "train.dropout": 0, "evaluate.seed": 1},
        metrics={"test/f1": 0.9, "threshold": 0.5},
        curves=CURVES,
        tags={"model_hash": "model", "verdict": "criteria met"},
        datasets={"val": pd.DataFrame({"message_id": ["a", "b"], "label": ["ham", "spam"]})},
        plots={"roc": b"\x89PNG"},
        folders={"data_docs": docs},
    )
