"""The stage decides on val alone, only measures on test, and its files agree."""

import contextlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline import evaluate
from pipeline.core.files import read_json
from pipeline.core.params import parse_params, read_yaml
from pipeline.core.schemas import MESSAGES, SPLITS
from pipeline.core.tables import read_csv, write_parquet
from pipeline.evaluation.attacks import ATTACK_STRENGTHS
from pipeline.evaluation.behavioural_tests import BEHAVIOURAL_TESTS
from pipeline.evaluation.curves import PLOTS
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.report import NEWEST_METRICS
from pipeline.models import keras_files
from pipeline.preprocessing.tokenizer import fit_tokenizer
from tests.harness.errors import error_of
from tests.harness.predictions import message_rows
from tests.harness.small_networks import small_network
from tests.harness.small_project import MESSAGES as MESSAGES_FILE
from tests.harness.small_project import ROOT, set_params, stage_arguments

INPUTS = ["messages.parquet", "splits.parquet", "tokenizer.json", "model.keras"]
OUTPUTS = ["decision.json", "mistakes.parquet", "evaluate.json", "metrics.json", "plots"]
NEWEST = ("newest", "baseline.newest", "difference.newest")
NEWEST_FIGURES = {f"{prefix}.{name}" for prefix in NEWEST for name in NEWEST_METRICS}


class Project:
    """The hand-written messages with splits, a tokenizer and an untrained network."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
        set_params(folder, {"evaluate": {"lost_ham_budget": 0.2, "resamples": 7, "seed": 1}})
        rows = pd.read_csv(MESSAGES_FILE)
        self.messages = message_rows(rows["body"], np.where(rows["kind"] == 1, "spam", "ham"))
        self.splits = self.messages[["message_id"]].assign(
            split=np.resize(["train", "val", "test"], len(rows)),
            campaign_key=self.messages["message_id"],
            left_out=np.arange(len(rows)) % 11 == 0,
        )
        self.in_test = ((self.splits["split"] == "test") & ~self.splits["left_out"]).to_numpy()
        tokenizer = fit_tokenizer(rows["body"], vocabulary_size=400, sequence_length=30)
        (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
        network = small_network(tokenizer.get_vocab_size(), seed=6)
        keras_files.save(network, folder / "model.keras")

    def run(self, name, messages=None, splits=None):
        """The folder with the outputs of the stage, on these tables or the project's own."""
        messages = self.messages if messages is None else messages
        splits = self.splits if splits is None else splits
        for file, rows, schema in zip(INPUTS, (messages, splits), (MESSAGES, SPLITS), strict=False):
            table = pa.Table.from_pandas(rows, schema, preserve_index=False)
            write_parquet(self.folder / file, table.to_batches(), schema)
        outputs = self.folder / name
        paths = [*(self.folder / file for file in INPUTS), *(outputs / file for file in OUTPUTS)]
        with contextlib.chdir(self.folder):
            evaluate.main(stage_arguments("evaluate", *paths))
        return outputs


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def outputs(project):
    """The outputs on the project's own tables. Read only."""
    return project.run("outputs")


def figures_of(outputs):
    return read_json(outputs / "evaluate.json")["figures"]


def test_the_files_agree(project, outputs):
    report = read_json(outputs / "evaluate.json")
    assert report["rows"] == project.in_test.sum()
    metrics = read_json(outputs / "metrics.json")
    assert metrics == {name: report["figures"][name]["value"] for name in METRICS}
    threshold = read_json(outputs / "decision.json")["threshold"]
    assert report["figures"]["threshold"]["value"] == pytest.approx(threshold, abs=1e-6)
    mistakes = pd.read_parquet(outputs / "mistakes.parquet")
    assert set(mistakes["message_id"]) == set(project.messages["message_id"][project.in_test])
    confusion = pd.DataFrame(read_csv(outputs / "plots" / "confusion.csv"))
    assert (confusion["actual"] != confusion["predicted"]).sum() == mistakes["wrong"].sum()


def test_plots_are_written_for_both_models(outputs):
    files = {path.stem for path in (outputs / "plots").iterdir()}
    assert files == {*PLOTS, *(f"{name}_baseline" for name in PLOTS)}
    roc = read_csv(outputs / "plots" / "roc_baseline.csv")
    assert [roc[name][0] for name in roc] == ["0.0", "0.0", ""]  # an infinite threshold is empty
    assert [roc[name][-1] for name in roc][:2] == ["1.0", "1.0"]


def test_report_has_every_attack_and_behavioural_test(outputs):
    attacks = [f"{name}_{strength}.spam_caught_percent" for name, strength in ATTACK_STRENGTHS]
    names = [f"attacks.{name}" for name in [*attacks, "adaptive.spam_caught_percent"]]
    names += [f"behaviours.{name}.holds_percent" for name in BEHAVIOURAL_TESTS]
    assert {*names, *(f"baseline.{name}" for name in names)} <= figures_of(outputs).keys()


def test_without_newest_messages_their_figures_are_null(outputs):
    figures = figures_of(outputs)
    assert all(figures[name] == {"value": None, "n": 0} for name in NEWEST_FIGURES)


@pytest.mark.slow
def test_the_stage_is_repeatable(project, outputs):
    again = project.run("again")
    for file in (path.relative_to(outputs) for path in outputs.rglob("*.*")):
        assert (again / file).read_bytes() == (outputs / file).read_bytes(), file


@pytest.mark.slow
def test_nothing_is_chosen_on_test(project, outputs):
    labels = project.messages["label"]
    turned = np.where(labels == "ham", "spam", "ham")
    messages = project.messages.assign(label=np.where(project.in_test, turned, labels))
    after = project.run("turned", messages=messages)
    decisions = [(folder / "decision.json").read_bytes() for folder in (outputs, after)]
    assert decisions[0] == decisions[1]
    assert read_json(after / "metrics.json") != read_json(outputs / "metrics.json")


@pytest.mark.slow
def test_newest_messages_change_only_their_own_figures(project, outputs):
    late = message_rows(project.messages["text"] + " now", project.messages["label"])
    days = np.where(np.arange(180) < 30, 20, 40)  # test rows from the 30th on are as new
    received_at = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(days, "D")
    messages = pd.concat([project.messages, late]).assign(received_at=received_at)
    late_splits = project.splits.assign(split="newest", message_id=late["message_id"])
    splits = pd.concat([project.splits, late_splits])
    before = figures_of(outputs)
    after = figures_of(project.run("newest", messages=messages, splits=splits))
    newest = project.in_test[30:].sum() + (~project.splits["left_out"]).sum()
    assert {after[name]["n"] for name in NEWEST_FIGURES} == {newest}
    assert 0 < after["newest.spam_caught_percent"]["value"] <= 100
    changed = {name for name in before if before[name] != after[name]}
    assert changed == NEWEST_FIGURES


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("lost_ham_budget", 0.0, "greater than 0, not 0.0"),
        ("lost_ham_budget", 1.0, "less than 1, not 1.0"),
        ("resamples", 0, "greater than or equal to 1, not 0"),
        ("resamples", 10**9, "less than or equal to 1000000, not 1000000000"),
        ("seed", -1, "greater than or equal to 0, not -1"),
    ],
)
def test_params_out_of_range_are_refused(key, value, problem):
    section = read_yaml(ROOT / "params.yaml")["evaluate"] | {key: value}
    error = error_of(parse_params, evaluate.Params, section, "evaluate")
    assert error == f"evaluate.{key}: input should be {problem}"
