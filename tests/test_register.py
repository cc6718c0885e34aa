"""Only a model that meets the criteria takes the alias, once, and the run says why or why not."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import MESSAGES, ROOT, runner, set_params

from pipeline import connection, formats, models, register, registry, stage
from pipeline.register import Bound, Params, description, metric_name, missed
from pipeline.stage import Figure, PipelineError
from pipeline.vectorize import SPLITS, Shares, fit_tokenizer
from pipeline.vectorize import Params as VectorizeParams

FIGURES = {
    "f1": {"value": 0.9, "low": 0.85, "high": 0.95, "n": 40},
    "ham_blocked_percent": {"value": 1.5, "n": 30},
    "roc_auc": {"value": None, "n": 40},
    "baseline.f1": {"value": 0.8, "n": 40},
    "difference.f1": {"value": 0.1, "n": 40},
    "slices.long.recall": {"value": 0.5, "n": 4},
}

# ---- criteria


def test_figure_within_its_bound_is_not_missed():
    assert missed({"f1": Bound(min=0.9), "ham_blocked_percent": Bound(max=1.5)}, FIGURES) == []
    assert missed({}, FIGURES) == []


@pytest.mark.parametrize(
    ("name", "bound", "reason"),
    [
        ("f1", Bound(min=0.901), "f1 0.9 is below 0.901"),
        ("ham_blocked_percent", Bound(max=0), "ham_blocked_percent 1.5 is above 0"),
        ("difference.f1", Bound(min=0.25), "difference.f1 0.1 is below 0.25"),
        ("slices.long.recall", Bound(max=0.25), "slices.long.recall 0.5 is above 0.25"),
        ("roc_auc", Bound(min=0), "roc_auc is undefined on this test set"),
        ("roc_auc", Bound(max=1), "roc_auc is undefined on this test set"),
    ],
)
def test_figure_beyond_its_bound_is_a_reason(name, bound, reason):
    assert missed({name: bound}, FIGURES) == [reason]


def test_reasons_stand_in_the_order_of_the_criteria():
    criteria = {"ham_blocked_percent": Bound(max=1), "baseline.f1": Bound(min=0), "f1": Bound(min=1)}
    assert missed(criteria, FIGURES) == ["ham_blocked_percent 1.5 is above 1", "f1 0.9 is below 1"]


def test_criterion_on_a_figure_that_is_not_there_is_refused():
    with pytest.raises(PipelineError) as refused:
        missed({"f2": Bound(min=0.9)}, FIGURES)
    assert str(refused.value) == (
        "params.yaml: register.criteria: unknown 'f2'; choose from "
        "f1, ham_blocked_percent, roc_auc, baseline.f1, difference.f1, slices.long.recall"
    )


@pytest.mark.parametrize(
    ("criterion", "line"),
    [
        ({}, ": a criterion has either min or max"),
        ({"min": 0.5, "max": 0.9}, ": a criterion has either min or max"),
        ({"mim": 0.5}, ".mim: unknown key; remove it or mend its spelling"),
        ({"min": "high"}, ".min: input should be a valid number, not 'high'"),
    ],
)
def test_criterion_needs_exactly_one_of_min_and_max(criterion, line, tmp_path, monkeypatch):
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    set_params(tmp_path, {"register": {"criteria": {"f1": criterion}}})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError) as refused:
        stage.read_params(Params, "register")
    assert str(refused.value) == f"params.yaml: register.criteria.f1{line}"


# ---- what the run shows


@pytest.mark.parametrize(
    ("figure", "name"),
    [
        ("f1", "test/f1"),
        ("baseline.f1", "baseline/f1"),
        ("difference.f1", "difference/f1"),
        ("slices.long.recall", "slices/long.recall"),
    ],
)
def test_metric_is_named_so_that_the_ui_groups_it(figure, name):
    assert metric_name(figure) == name


def test_description_is_the_verdict_and_a_markdown_table_beside_the_baseline():
    assert description("criteria met", {"verdict": "f1 0.900", "figures": FIGURES}).split("\n") == [
        "**criteria met**",
        "",
        "f1 0.900",
        "",
        "| test | ours | 95 % | linear baseline |",
        "|---|---|---|---|",
        "| f1 | 0.9 | 0.8500 to 0.9500 | 0.8 |",
    ]


def test_commit_is_that_of_the_repository_and_empty_outside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert register.commit() == ""
    run = runner(tmp_path)
    run("git", "init", "--quiet")
    name = ("-c", "user.name=A stranger", "-c", "user.email=stranger@example.com")
    run("git", *name, "commit", "--quiet", "--allow-empty", "--message", "First")
    assert register.commit() == run("git", "rev-parse", "HEAD").stdout.strip()


# ---- the stage


class Project:
    """The files of an evaluated model, in a folder with an MLflow of its own."""

    def __init__(self, folder, store):
        self.folder, self.store = folder, store
        shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
        self.criteria(f1={"min": 0.5})
        rows = pd.read_csv(MESSAGES)
        ids = [f"{i:016x}" for i in range(len(rows))]
        label = np.where(rows["kind"] == 1, "spam", "ham")
        messages = pd.DataFrame(
            {"message_id": ids, "text": rows["body"], "label": label, "source": "sms", "row": 1}
        )
        messages["received_at"] = pd.Series(pd.NaT, index=rows.index, dtype="datetime64[us, UTC]")
        split = np.repeat(["train", "val", "test"], [50, 27, 13])
        splits = pd.DataFrame(
            {"message_id": ids, "split": split, "campaign_key": ids, "left_out": rows.index < 9}
        )
        for name, table, schema in (("messages", messages, formats.MESSAGES), ("splits", splits, SPLITS)):
            batches = pa.Table.from_pandas(table, schema, preserve_index=False).to_batches()
            stage.write_parquet(folder / f"{name}.parquet", batches, schema)
        tokenizer = fit_tokenizer(rows["body"], VectorizeParams(Shares(0.4, 0.3, 0.3), "s", 400, 30, 10))
        (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
        size = models.Size(["x"] * tokenizer.get_vocab_size(), 5, 4, 0.0, 0.0, 0.0)
        models.save(models.MODELS["dense"](size), folder / "model.keras")
        self.decide(threshold=0.5)
        stage.write_csv(folder / "curves.csv", ("epoch", "loss"), [(1, 0.5), (2, 0.25)])
        figures = {name: Figure(**figure) for name, figure in FIGURES.items()}
        stage.write_report(folder / "reports" / "evaluate.json", 13, figures, "f1 0.900")
        plot = {"x": "epoch", "y": {"curves.csv": "loss"}, "template": "simple"}
        names = {"title": "Loss", "x_label": "epoch", "y_label": "loss"}
        stage.write_json(folder / "dvc.yaml", {"plots": [{"loss": plot | names}]})  # JSON is YAML
        stage.write_text(folder / "docs" / "index.html", "docs")

    def criteria(self, **criteria):
        set_params(self.folder, {"register": {"criteria": criteria}})

    def decide(self, threshold):
        decision = {"slope": 1.0, "intercept": 0.0, "threshold": threshold}
        stage.write_json(self.folder / "decision.json", decision)

    def register(self):
        """The bytes of the report."""
        parts = (
            "tokenizer.json",
            "model.keras",
            "decision.json",
            "curves.csv",
            "reports/evaluate.json",
            "docs",
        )
        register.main(["dvc.yaml", "messages.parquet", "splits.parquet", *parts, "register.json"])
        return (self.folder / "register.json").read_bytes()

    def verdict(self):
        return json.loads((self.folder / "register.json").read_bytes())["verdict"]

    def runs(self):
        return self.store.search_runs(["1"], order_by=["attributes.start_time ASC"])

    def versions(self):
        found = self.store.search_model_versions(f"name = '{connection.NAME}'")
        return sorted(str(version.version) for version in found)


@pytest.fixture
def project(store, tmp_path):
    keras.utils.set_random_seed(7)
    return Project(tmp_path, store)


@pytest.mark.slow
def test_registered_twice_is_one_run_one_version_and_equal_bytes(project):
    first = project.register()
    assert json.loads(first) == {
        "rows": 13,
        "figures": {"f1": FIGURES["f1"]},
        "verdict": "criteria met: takes the alias champion",
    }
    (run,) = project.runs()
    version = project.store.get_model_version(connection.NAME, "1")
    assert project.register() == first
    assert len(project.runs()) == 1
    assert project.versions() == ["1"] == [registry.champion()]
    assert project.runs()[0].data.to_dictionary() == run.data.to_dictionary()
    assert project.store.get_model_version(connection.NAME, "1").tags == version.tags


@pytest.mark.slow
def test_run_and_version_show_what_the_files_say(project):
    project.register()
    (run,) = project.runs()
    assert run.info.run_name.startswith("bilstm f1 0.900 ")
    assert run.data.params["register.criteria.f1.min"] == "0.5"
    assert run.data.metrics["test/f1"] == 0.9
    assert "test/roc_auc" not in run.data.metrics  # undefined
    assert run.data.metrics["train/loss"] == 0.25
    datasets = {entry.dataset.name: json.loads(entry.dataset.profile) for entry in run.inputs.dataset_inputs}
    assert {name: profile["num_rows"] for name, profile in datasets.items()} == {
        "train": 41,
        "val": 27,
        "test": 13,
    }
    version = project.store.get_model_version(connection.NAME, "1")
    assert version.run_id == run.info.run_id
    assert version.tags["threshold"] == "0.5"
    assert version.tags["model_hash"] == run.data.tags["model_hash"]
    assert version.description == run.data.tags["mlflow.note.content"]
    model, number = registry.load_champion()
    assert number == "1"
    assert [column.name for column in model.metadata.signature.inputs] == ["text"]
    answer = model.predict(pd.DataFrame({"text": ["WIN a prize now", "see you at lunch"]}))
    assert list(answer.columns) == ["label", "probability", "threshold"]
    assert answer["label"].tolist() == ["spam" if p >= 0.5 else "ham" for p in answer["probability"]]
    named = model.predict(pd.Series(["see you at lunch"], name="text"))
    assert named["probability"][0] == pytest.approx(answer["probability"][1], abs=1e-6)
    shutil.rmtree(project.folder / "mlartifacts")
    with pytest.raises(PipelineError, match=r"^MLflow at sqlite:///.*: .*\S$"):
        registry.load_champion()


@pytest.mark.slow
def test_criteria_missed_is_told_and_moves_no_alias(project):
    project.register()
    project.decide(threshold=0.6)  # another model
    project.criteria(f1={"min": 0.95}, ham_blocked_percent={"max": 1})
    project.register()
    reasons = "criteria missed: f1 0.9 is below 0.95; ham_blocked_percent 1.5 is above 1"
    assert project.verdict() == reasons
    assert project.runs()[-1].data.tags["verdict"] == reasons
    assert project.versions() == ["1", "2"]
    assert registry.champion() == "1"


@pytest.mark.slow
def test_criteria_that_were_lowered_give_the_same_version_the_alias(project):
    project.criteria(f1={"min": 0.95})
    project.register()
    assert registry.champion() is None
    project.criteria(f1={"min": 0.9})
    project.register()
    assert project.versions() == ["1"] == [registry.champion()]
    verdicts = [run.data.tags["verdict"] for run in project.runs()]
    assert verdicts == ["criteria missed: f1 0.9 is below 0.95", "criteria met: takes the alias champion"]
    assert project.store.get_model_version(connection.NAME, "1").tags["verdict"] == verdicts[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("least", "verdict"),
    [
        (0.5, "criteria met: an experiment, which moves nothing"),
        (0.95, "criteria missed: f1 0.9 is below 0.95"),
    ],
)
def test_experiment_is_recorded_with_its_verdict_and_moves_nothing(least, verdict, project, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "wider")
    project.criteria(f1={"min": least})
    project.register()
    assert project.verdict() == verdict
    (run,) = project.runs()
    assert run.info.run_name == run.data.tags["dvc_experiment"] == "wider"
    assert run.data.tags["verdict"] == verdict
    assert project.versions() == []
    assert registry.champion() is None


@pytest.mark.slow
def test_nothing_is_written_when_the_registry_does_not_answer(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(PipelineError, match=r"^MLflow at http://127.0.0.1:9: Connection refused; "):
        project.register()
    assert not Path("register.json").exists()
