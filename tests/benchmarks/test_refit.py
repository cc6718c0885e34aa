"""A network that learns from val later answers with the same thresholds, and test stays unseen."""

import pytest

from benchmarks import refit
from tests.harness.labelled_messages import TABLE
from tests.harness.small_project import ROOT, set_params


@pytest.mark.slow
def test_trial_run_prints_both_networks_and_keeps_the_results(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    small = {
        "model": "dense",
        "epochs": 2,
        "units": 8,
        "embedding_dim": 8,
        "stop_share": 0.3,
        "copies": 0,
    }
    set_params(tmp_path, {"train": small})
    monkeypatch.setattr(refit, "MESSAGES", tmp_path / "messages.parquet")
    monkeypatch.setattr(refit, "RESULTS", tmp_path)
    TABLE.assign(source="sms").to_parquet(tmp_path / "messages.parquet")
    trained = []
    train = refit.training.Trainer.train

    def train_and_count(self, rows, stop):
        trained.append(len(rows.labels) + len(stop.labels))
        return train(self, rows, stop)

    monkeypatch.setattr(refit.training.Trainer, "train", train_and_count)
    refit.main(["--splits", "2"])
    printed = capsys.readouterr().out
    assert "|  | on train | on train and val | difference |" in printed
    assert "\n| sms: ham lost, % | " in printed
    parts = refit.split_messages(TABLE, f"{refit.SALTS['test']} 0")
    assert trained[:2] == [len(parts["train"]), len(parts["train"]) + len(parts["val"])]
    refit.main(["--splits", "2"])
    assert len(trained) == 4
    assert capsys.readouterr().out == printed
