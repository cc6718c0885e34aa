"""pipeline/tracking/run_contents.py"""

from dataclasses import replace

import pandas as pd
import pytest

from pipeline.core.git import run_git
from pipeline.tracking import run_contents
from pipeline.tracking.run_contents import RunInputs, collect_run_contents
from tests.harness.evaluated_project import FIGURES

ROWS = [("a", "ham", "val", False), ("b", "spam", "test", False), ("c", "ham", "test", True)]
EVALUATION = {"verdict": "f1 0.900", "figures": FIGURES}


@pytest.fixture
def inputs(monkeypatch):
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    return RunInputs(
        params={"train": {"model": "bilstm"}},
        evaluation=EVALUATION,
        curves={"epoch": ["1", "2"], "loss": ["0.5", ""]},
        rows=pd.DataFrame(ROWS, columns=["message_id", "label", "split", "left_out"]),
        plots={"roc": b"png"},
        folders={},
        model_hash="0123456789",
        network_hash="network",
        data_hash="data",
    )


def test_contents_come_from_the_inputs(inputs):
    contents = collect_run_contents(inputs, "promoted")
    assert contents.name == "bilstm f1 0.900 01234567"
    assert contents.params == {"train.model": "bilstm"}
    assert contents.metrics["test/f1"] == 0.9
    assert contents.curves[0] == {"epoch": 1.0, "loss": 0.5}
    assert pd.isna(contents.curves[1]["loss"])
    assert contents.tags["verdict"] == "promoted"
    tables = {split: table.to_dict("list") for split, table in contents.datasets.items()}
    assert tables == {
        "val": {"message_id": ["a"], "label": ["ham"]},
        "test": {"message_id": ["b"], "label": ["spam"]},
    }


def test_run_key_depends_on_model_params_evaluation_and_experiment(inputs, monkeypatch):
    params, evaluation = {"train": {"model": "lstm"}}, {**EVALUATION, "verdict": "f1 0.901"}
    changes = ({}, {"model_hash": "98765432"}, {"params": params}, {"evaluation": evaluation})
    keys = [collect_run_contents(replace(inputs, **each), "met").run_key for each in changes]
    monkeypatch.setenv("DVC_EXP_NAME", "wide-1")
    experiment = collect_run_contents(inputs, "met")
    assert (experiment.name, experiment.tags["dvc_experiment"]) == ("wide-1", "wide-1")
    assert len({*keys, experiment.run_key}) == 5
    assert collect_run_contents(inputs, "another verdict").run_key == experiment.run_key


def test_metric_name_has_its_group_before_the_slash():
    figures = ("f1", "baseline.f1", "slices.long.recall")
    names = [run_contents.metric_name(figure) for figure in figures]
    assert names == ["test/f1", "baseline/f1", "slices/long.recall"]


def test_description_is_the_verdict_and_a_table():
    undefined = {name: {"value": None, "n": 0} for name in ("newest.f1", "baseline.newest.f1")}
    evaluation = {**EVALUATION, "figures": FIGURES | undefined}
    head = "| test | ours | 95 % | linear baseline |\n|---|---|---|---|"
    table = f"{head}\n| f1 | 0.9 | 0.8500 to 0.9500 | 0.8 |"
    assert run_contents.run_description("met", evaluation) == f"**met**\n\nf1 0.900\n\n{table}"


def test_git_commit_is_empty_outside_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_contents.git_commit() == ""
    run_git("init", "--quiet")
    author = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    run_git(*author, "commit", "--quiet", "--allow-empty", "--message", "First")
    assert run_contents.git_commit() == run_git("rev-parse", "HEAD").strip()
