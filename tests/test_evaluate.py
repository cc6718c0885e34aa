"""The stage decides on val alone, only measures on test, and its files agree."""

import contextlib
import shutil

import numpy as np
import pandas as pd
import pytest

from pipeline import evaluate
from pipeline.core.files import read_json
from pipeline.core.tables import read_csv
from pipeline.evaluation.attacks import ATTACK_STRENGTHS
from pipeline.evaluation.behavioural_tests import BEHAVIOURAL_TESTS, OF_TODAY
from pipeline.evaluation.curves import PLOTS
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.report import BLOCKED_METRICS, NEWEST_METRICS
from pipeline.models import keras_files
from tests.harness.evaluated_project import Project
from tests.harness.small_networks import small_network
from tests.harness.small_project import set_params, stage_arguments

INPUTS = [
    "messages.parquet",
    "calibration.parquet",
    "splits.parquet",
    "tokenizer.json",
    "evaluated.keras",
    "model.keras",
    "out_of_fold.parquet",
]
OUTPUTS = ["decision.json", "mistakes.parquet", "evaluate.json", "metrics.json", "plots"]
NEWEST = ("newest", "baseline.newest", "difference.newest")
NEWEST_FIGURES = {f"{prefix}.{name}" for prefix in NEWEST for name in NEWEST_METRICS}
NEWEST_FIGURES |= {f"served.newest.{name}" for name in BLOCKED_METRICS}


def run(folder):
    """Runs the stage in the folder of a project. Returns the folder with its outputs."""
    outputs = folder / "outputs"
    with contextlib.chdir(folder):
        evaluate.main(stage_arguments("evaluate", *INPUTS, *(outputs / name for name in OUTPUTS)))
    return outputs


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The outputs for an untrained network, in the folder of its project. Read only."""
    folder = tmp_path_factory.mktemp("project")
    Project(folder, store=None)
    set_params(folder, {"evaluate": {"lost_ham_budget": 0.2, "resamples": 7, "seed": 1}})
    return run(folder)


@pytest.fixture
def tables(outputs):
    """The messages and their splits."""
    return [pd.read_parquet(outputs.parent / f"{name}.parquet") for name in ("messages", "splits")]


def run_with(tables, outputs, tmp_path):
    """The outputs for a copy of the project with other messages and splits."""
    folder = shutil.copytree(outputs.parent, tmp_path / "copy")
    for table, name in zip(tables, ("messages", "splits"), strict=True):
        table.to_parquet(folder / f"{name}.parquet")
    return run(folder)


def in_test(splits):
    return (splits["split"] == "test") & ~splits["left_out"]


def figures_of(outputs):
    return read_json(outputs / "evaluate.json")["figures"]


def test_the_files_agree_and_both_models_have_plots(outputs, tables):
    _, splits = tables
    report = read_json(outputs / "evaluate.json")
    assert report["rows"] == in_test(splits).sum()
    metrics = read_json(outputs / "metrics.json")
    assert metrics == {name: report["figures"][name]["value"] for name in METRICS}
    threshold = read_json(outputs / "decision.json")["threshold"]
    assert report["figures"]["threshold"]["value"] == pytest.approx(threshold, abs=1e-6)
    mistakes = pd.read_parquet(outputs / "mistakes.parquet")
    assert set(mistakes["message_id"]) == set(splits["message_id"][in_test(splits)])
    confusion = pd.DataFrame(read_csv(outputs / "plots" / "confusion.csv"))
    assert (confusion["actual"] != confusion["predicted"]).sum() == mistakes["wrong"].sum()
    plots = {path.stem for path in (outputs / "plots").iterdir()}
    assert plots == {*PLOTS, *(f"{name}_baseline" for name in PLOTS)}


def test_report_has_every_attack_and_behavioural_test(outputs):
    attacks = [f"{name}_{strength}.spam_caught_percent" for name, strength in ATTACK_STRENGTHS]
    names = [f"attacks.{name}" for name in [*attacks, "adaptive.spam_caught_percent"]]
    names += [f"behaviours.{name}.holds_percent" for name in BEHAVIOURAL_TESTS]
    figures = figures_of(outputs)
    assert {*names, *(f"baseline.{name}" for name in names)} <= figures.keys()
    assert all(figures[name] == {"value": None, "n": 0} for name in NEWEST_FIGURES)


@pytest.mark.slow
def test_nothing_is_chosen_on_test(outputs, tables, tmp_path):
    messages, splits = tables
    turned = messages["label"].map({"ham": "spam", "spam": "ham"})
    messages["label"] = turned.where(in_test(splits), messages["label"])
    after = run_with([messages, splits], outputs, tmp_path)
    decisions = [(folder / "decision.json").read_bytes() for folder in (outputs, after)]
    assert decisions[0] == decisions[1]
    assert read_json(after / "metrics.json") != read_json(outputs / "metrics.json")


@pytest.mark.slow
def test_newest_messages_change_only_their_own_figures(outputs, tables, tmp_path):
    messages, splits = tables
    ids = "n" + messages["message_id"]
    late = messages.assign(message_id=ids, text=messages["text"] + " now")
    days = np.where(np.arange(180) < 30, 20, 40)  # test rows from the 30th on are as new
    received_at = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(days, "D")
    all_messages = pd.concat([messages, late]).assign(received_at=received_at)
    all_splits = pd.concat([splits, splits.assign(split="newest", message_id=ids)])
    before = figures_of(outputs)
    after = figures_of(run_with([all_messages, all_splits], outputs, tmp_path))
    newest = in_test(splits)[30:].sum() + (~splits["left_out"]).sum()
    assert {after[name]["n"] for name in NEWEST_FIGURES} == {newest}
    assert 0 < after["newest.spam_caught_percent"]["value"] <= 100
    changed = {name for name in before if before[name] != after[name]}
    assert changed == NEWEST_FIGURES


@pytest.mark.slow
def test_network_that_serves_changes_only_its_own_figures(outputs, tables, tmp_path):
    folder = shutil.copytree(outputs.parent, tmp_path / "copy")
    network = small_network(400, seed=2, scale=3.0)
    keras_files.save(network, folder / "model.keras")
    before, after = figures_of(outputs), figures_of(run(folder))
    changed = {name for name in before if before[name] != after[name]}
    served = {name for name in before if name.startswith(("served.", "served_gain."))}
    assert served == {
        "served_gain.average_precision",
        *(f"served.behaviours.{name}.holds_percent" for name in OF_TODAY),
        *(f"served.newest.{name}" for name in BLOCKED_METRICS),
    }
    assert "served_gain.average_precision" in changed <= served
    assert before["served_gain.average_precision"]["value"] == 0
    decisions = [(path / "decision.json").read_bytes() for path in (outputs, folder / "outputs")]
    assert decisions[0] == decisions[1]
