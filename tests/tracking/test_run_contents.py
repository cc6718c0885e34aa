"""pipeline/tracking/run_contents.py"""

from dataclasses import replace

import pandas as pd

from pipeline.tracking import run_contents
from pipeline.tracking.run_contents import collect_run_contents
from tests.harness.evaluated_project import FIGURES


def test_contents_come_from_the_inputs(inputs):
    curves = {"epoch": [1.0, 2.0], "loss": [0.5, float("nan")]}
    contents = collect_run_contents(replace(inputs, curves=curves), "promoted")
    assert contents.name == "bilstm f1 0.900 01234567"
    params = {"train.model": "bilstm", "train.units": 8, "validate.row_count": [20, 40]}
    assert contents.params == params
    metrics = {"test/f1": 0.9, "test/ham_blocked_percent": 1.5, "baseline/f1": 0.8}
    metrics |= {"difference/f1": 0.1, "slices/long.recall": 0.5}
    assert contents.metrics == metrics  # without roc_auc, which is undefined
    assert contents.curves[0] == {"epoch": 1.0, "loss": 0.5}
    assert pd.isna(contents.curves[1]["loss"])
    assert contents.tags["verdict"] == "promoted"
    tables = {split: table.to_dict("list") for split, table in contents.datasets.items()}
    assert tables == {
        "val": {"message_id": ["a"], "label": ["ham"]},
        "test": {"message_id": ["b"], "label": ["spam"]},
    }


def test_run_key_depends_on_model_params_evaluation_and_experiment(inputs, monkeypatch):
    params = {"train": {"model": "lstm"}}
    evaluation = {**inputs.evaluation, "verdict": "f1 0.901"}
    changes = ({}, {"model_hash": "98765432"}, {"params": params}, {"evaluation": evaluation})
    keys = [collect_run_contents(replace(inputs, **each), "met").run_key for each in changes]
    monkeypatch.setenv("DVC_EXP_NAME", "wide-1")
    experiment = collect_run_contents(inputs, "met")
    assert (experiment.name, experiment.tags["dvc_experiment"]) == ("wide-1", "wide-1")
    assert len({*keys, experiment.run_key}) == 5
    assert collect_run_contents(inputs, "another verdict").run_key == experiment.run_key


def test_description_is_the_verdict_and_a_table():
    undefined = {name: {"value": None, "n": 0} for name in ("newest.f1", "baseline.newest.f1")}
    evaluation = {"verdict": "f1 0.900", "figures": FIGURES | undefined}
    head = "| test | ours | 95 % | linear baseline |\n|---|---|---|---|"
    table = f"{head}\n| f1 | 0.9 | 0.8500 to 0.9500 | 0.8 |"
    assert run_contents.run_description("met", evaluation) == f"**met**\n\nf1 0.900\n\n{table}"


def test_description_fits_into_a_column_of_the_registry():
    names = [f"attacks.{number}" for number in range(200)] + ["behaviours.cases"]
    figures = {name: {"value": 1} for name in [*names, *(f"baseline.{name}" for name in names)]}
    evaluation = {"verdict": "f1 0.900", "figures": figures}
    description = run_contents.run_description("met", evaluation)
    assert 4_900 < len(description) <= run_contents.DESCRIPTION_LENGTH == 5_000
    assert description.index("| behaviours.cases |") < description.index("| attacks.0 |")
    assert description.endswith(" |\n\nAll figures are in `reports/evaluate.json`.")
    assert len(run_contents.run_description("met" * 5_000, evaluation)) == 5_000
