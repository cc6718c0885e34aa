"""pipeline/tracking/run_contents.py"""

from dataclasses import replace

import pandas as pd

from pipeline.core.files import read_json
from pipeline.tracking import run_contents
from pipeline.tracking.run_contents import collect_run_contents
from tests.harness.evaluated_project import FIGURES
from tests.harness.small_project import ROOT


def test_contents_come_from_the_inputs(inputs):
    curves = {"epoch": [1.0, 2.0], "loss": [0.5, float("nan")]}
    contents = collect_run_contents(replace(inputs, curves=curves), "promoted")
    assert contents.name == "bilstm f1 0.900 01234567"
    params = {"train.model": "bilstm", "train.units": 8, "validate.row_count": [20, 40]}
    assert contents.params == params
    metrics = {"test/f1": 0.9, "test/ham_blocked_percent": 1.5, "values_of_baseline/f1": 0.8}
    metrics |= {"versus_baseline/f1": 0.1, "within_slices/long.recall": 0.5}
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


def test_metrics_that_matter_come_first_in_the_order_of_mlflow():
    figures = read_json(ROOT / "reports" / "evaluate.json")["figures"]
    names = sorted(run_contents.metric_name(figure) for figure in figures)
    groups = list(dict.fromkeys(name.partition("/")[0] for name in [*names, "train/loss"]))
    assert len(names) == len(set(names)) == len(figures)
    assert sum(name.startswith("test/") for name in names) == 12
    assert sorted(groups)[0] == "test"
    after_curves = sorted(groups)[sorted(groups).index("train") + 1 :]
    assert after_curves == [
        "under_attack",
        "values_of_baseline",
        "versus_baseline",
        "within_slices",
    ]


def test_description_is_the_verdict_and_a_table():
    undefined = {name: {"value": None, "n": 0} for name in ("newest.f1", "baseline.newest.f1")}
    evaluation = {"verdict": "f1 0.900", "figures": FIGURES | undefined}
    assert run_contents.run_description("met", evaluation).splitlines() == [
        *("met", "", "f1 0.900", ""),
        "| test&emsp; | ours&emsp; | 95 % interval&emsp; | linear baseline&emsp; |",
        "|---|---|---|---|",
        "| f1&emsp; | 0.9&emsp; | 0.85 to 0.95&emsp; | 0.8&emsp; |",
        "| ham_blocked_percent&emsp; | 1.5&emsp; | &emsp; | &emsp; |",
        *("", "The artifact `reports/evaluate.json` has all figures."),
    ]


def test_description_has_figures_of_the_report():
    figures = read_json(ROOT / "reports" / "evaluate.json")["figures"]
    assert set(run_contents.DESCRIBED_FIGURES) <= set(figures)


def test_description_fits_into_a_column_of_the_registry():
    evaluation = {"verdict": "f1 0.900", "figures": {}}
    assert len(run_contents.run_description("met" * 5_000, evaluation)) == 5_000
