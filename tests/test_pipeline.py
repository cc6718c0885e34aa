"""The whole project through DVC and MLflow, on ninety hand-written messages."""

import json
import re
import shutil

import pandas as pd
import pytest
import ruamel.yaml
from mlflow import MlflowClient

from pipeline.core.files import read_json
from tests.harness.small_project import (
    ROOT,
    commit_all,
    new_project,
    output_bytes,
    registry_flaws,
    runner,
    set_params,
)

NAME = "spam-detector"
STAGES = ["ingest", "validate", "vectorize", "train", "evaluate", "register"]
DVC = ruamel.yaml.YAML(typ="safe").load(ROOT / "dvc.yaml")


@pytest.fixture
def copied(project, tmp_path):
    """A copy of the project that a test may change, and its runner."""
    folder = tmp_path / "copy"
    shutil.copytree(project[0], folder, symlinks=True)
    return folder, runner(folder)


def client_of(folder):
    return MlflowClient(f"sqlite:///{folder.resolve()}/mlflow.db")


def champion_of(folder):
    return client_of(folder).get_model_version_by_alias(NAME, "champion")


def version_count(folder):
    return len(client_of(folder).search_model_versions(f"name = '{NAME}'"))


def figures_of(folder):
    return read_json(folder / "reports/evaluate.json")["figures"]


def stages_run(done):
    return re.findall(r"Running stage '(\w+)'", done.stdout)


# ---- what one `dvc repro` leaves; these share one run


def test_repro_writes_every_output_of_dvc_yaml(project):
    for stage in DVC["stages"].values():
        for out in stage.get("outs", []) + stage.get("metrics", []):
            assert (project[0] / (out if isinstance(out, str) else next(iter(out)))).exists()


@pytest.mark.parametrize("stage", STAGES)
def test_report_has_the_one_schema(project, stage):
    report = read_json(project[0] / f"reports/{stage}.json")
    assert list(report) == ["rows", "figures", "verdict"]
    for figure in report["figures"].values():
        assert set(figure) <= {"value", "low", "high", "n"}


def test_no_report_contains_a_message_a_path_or_a_run_id(project):
    folder, _ = project
    run_ids = [run.info.run_id for run in client_of(folder).search_runs(["1"])]
    texts = pd.read_csv(folder / "data/inbox/messages.csv")["body"]
    for report in (folder / "reports").rglob("*.*"):
        content = report.read_bytes().decode("utf-8", "replace")
        assert not any(forbidden in content for forbidden in [str(folder), *run_ids, *texts])


def test_run_in_mlflow_has_params_and_figures_of_the_reports(project):
    (run,) = client_of(project[0]).search_runs(["1"])
    assert run.info.status == "FINISHED"
    figures = figures_of(project[0])
    assert run.data.metrics["test/f1"] == figures["f1"]["value"]
    assert run.data.metrics["difference/f1"] == figures["difference.f1"]["value"]
    assert run.data.params["train.units"] == "8"
    assert run.data.params["ingest.files.columns.text"] == "body"
    assert run.data.params["register.criteria.roc_auc.min"] == "0.0"
    assert run.data.tags["verdict"] in run.data.tags["mlflow.note.content"]


def test_run_in_mlflow_has_curves_datasets_and_artifacts(project):
    folder, _ = project
    (run,) = client_of(folder).search_runs(["1"])
    history = client_of(folder).get_metric_history(run.info.run_id, "train/loss")
    curves = pd.read_csv(folder / "reports/curves.csv")
    assert [point.step for point in history] == [1, 2]
    assert [point.value for point in history] == pytest.approx(curves["loss"], abs=1e-6)
    assert {entry.dataset.name for entry in run.inputs.dataset_inputs} == {"train", "val", "test"}
    artifacts = {file.path for file in client_of(folder).list_artifacts(run.info.run_id)}
    assert artifacts >= {"plots", "data_docs", "reports"}


def test_version_names_its_commit_threshold_and_verdict(project):
    folder, run = project
    tags = client_of(folder).get_model_version(NAME, champion_of(folder).version).tags
    assert tags["threshold"] == str(read_json(folder / "models/decision.json")["threshold"])
    assert tags["verdict"] == read_json(folder / "reports/register.json")["verdict"]
    assert tags["verdict"].startswith("first: ")
    first_commit = run("git", "rev-list", "--max-parents=0", "HEAD").stdout.strip()
    assert tags["git_commit"] == first_commit
    assert {"model_hash", "data_hash"} <= set(tags)


# ---- commands on that run


@pytest.mark.slow
def test_second_repro_runs_only_register_and_changes_nothing(copied):
    folder, run = copied
    assert stages_run(run("dvc", "repro")) == ["register"]
    assert run("git", "status", "--porcelain").stdout == ""
    assert list(registry_flaws(client_of(folder), [2])) == []


@pytest.mark.slow
def test_score_labels_a_file_with_the_champion(project, tmp_path):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("id,text\n007,WIN a prize now\n008,see you at lunch\n")
    project[1]("python", "-m", "pipeline", "score", str(source), str(target))
    scores = pd.read_csv(target, dtype={"id": str})
    added = ["label", "probability", "threshold", "model_version", "scored_at", "refused"]
    assert list(scores.columns) == ["id", "text", *added]
    assert list(scores["id"]) == ["007", "008"]
    assert set(scores["label"]) <= {"ham", "spam"}
    assert scores["probability"].between(0, 1).all()


@pytest.mark.slow
def test_dvc_shows_metrics_and_draws_every_plot(project, tmp_path):
    folder, run = project
    metrics = json.loads(run("dvc", "metrics", "show", "--json").stdout)[""]["data"]
    f1 = figures_of(folder)["f1"]["value"]
    assert metrics["reports/metrics.json"]["data"]["f1"] == f1
    run("dvc", "plots", "show", "--out", str(tmp_path / "plots"))
    page = (tmp_path / "plots/index.html").read_text()
    for definition in DVC["plots"]:
        for plot in definition.values():
            assert all(plot[key] in page for key in ("title", "x_label", "y_label"))


@pytest.mark.slow
def test_two_fresh_projects_make_the_same_bytes(project, tmp_path):
    (tmp_path / "another place").mkdir()
    new_project(tmp_path / "another place")("dvc", "repro")
    assert output_bytes(tmp_path / "another place") == output_bytes(project[0])


# ---- what changes afterwards


@pytest.mark.slow
def test_new_messages_are_first_judged_and_later_learned(copied):
    folder, run = copied
    words = ("amber", "bottle", "cactus", "donkey", "engine", "ferret")
    templates = {
        "Your parcel waits, pay the customs fee at %s.example/fee": 1,
        "%s casino: 90 free spins, claim now": 1,
        "Did you feed the %s before you left?": 0,
        "My train is late, meet me by the %s at seven": 0,
    }
    rows = [(kind, text % word) for text, kind in templates.items() for word in words]
    new = pd.DataFrame(rows, columns=["kind", "body"])
    new.to_csv(folder / "data/inbox/2026-11-20.csv", index=False)
    assert stages_run(run("dvc", "repro")) == [stage for stage in STAGES if stage != "train"]
    f1 = figures_of(folder)["newest.f1"]
    assert f1["n"] > 10
    assert client_of(folder).search_runs(["1"])[0].data.metrics["newest/f1"] == f1["value"]
    splits = pd.read_parquet(folder / "data/vectorized/splits.parquet")
    newest = set(splits["message_id"][splits["split"] == "newest"])
    later = pd.DataFrame({"kind": [0, 0], "body": ["A line of next week", "Two of next week"]})
    later.to_csv(folder / "data/inbox/20261127.csv", index=False)
    run("dvc", "repro", "vectorize")
    shards = [pd.read_parquet(folder / "data/vectorized" / name) for name in ("train", "val")]
    assert len(newest & set(pd.concat(shards)["message_id"])) > 5


@pytest.mark.slow
def test_experiment_is_recorded_and_does_not_move_the_alias(copied):
    folder, run = copied
    before = champion_of(folder).version
    run("dvc", "exp", "run", "-S", "train.epochs=1", "--name", "short")
    assert "train.epochs" in run("dvc", "params", "diff").stdout
    assert "short" in run("dvc", "exp", "show", "--csv").stdout
    assert (champion_of(folder).version, version_count(folder)) == (before, 1)
    (recorded,) = client_of(folder).search_runs(["1"], "tags.dvc_experiment = 'short'")
    assert recorded.data.params["train.epochs"] == "1"


@pytest.mark.slow
def test_another_machine_pulls_everything_and_registers_the_same_model(copied, tmp_path):
    folder, run = copied
    run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    commit_all(run, "A remote")
    run("dvc", "push")
    run("git", "clone", "--quiet", str(folder), str(tmp_path / "other"))
    other = runner(tmp_path / "other")
    other("dvc", "pull")
    assert stages_run(other("dvc", "repro")) == ["register"]
    assert other("git", "status", "--porcelain").stdout == ""
    assert list(registry_flaws(client_of(tmp_path / "other"), [2])) == []
    hashes = [champion_of(place).tags["model_hash"] for place in (folder, tmp_path / "other")]
    assert hashes[0] == hashes[1]


@pytest.mark.slow
def test_stages_from_the_run_cache_are_registered_in_a_new_registry(copied):
    folder, run = copied
    before = output_bytes(folder)
    run("dvc", "commit", "--force", "--quiet")  # as `make repro` does
    set_params(folder, {"train": {"seed": 2}})
    run("dvc", "repro")
    lost = ("dvc.lock", "ledger.jsonl", "mlflow.db", "models/model.keras", "reports/train.json")
    for name in lost:
        (folder / name).unlink()
    set_params(folder, {"train": {"seed": 1}})
    done = run("dvc", "repro")
    assert "Stage 'train' is cached" in done.stdout
    assert stages_run(done) == ["register"]
    assert output_bytes(folder) == before
    assert list(registry_flaws(client_of(folder), [2])) == []


@pytest.mark.slow
def test_another_ham_budget_is_a_new_version_of_the_same_training(copied):
    folder, run = copied
    set_params(folder, {"evaluate": {"lost_ham_budget": 0.5}})
    assert stages_run(run("dvc", "repro")) == ["evaluate", "register"]
    runs = client_of(folder).search_runs(["1"])
    assert sorted(run.data.params["evaluate.lost_ham_budget"] for run in runs) == ["0.3", "0.5"]
    for recorded in runs:
        curve = client_of(folder).get_metric_history(recorded.info.run_id, "train/loss")
        assert [point.step for point in curve] == [1, 2]
    assert str(champion_of(folder).version) == "2"
    set_params(folder, {"evaluate": {"lost_ham_budget": 0.3}})
    run("dvc", "repro")
    assert str(champion_of(folder).version) == "1"
    assert len(client_of(folder).search_runs(["1"])) == 2


@pytest.mark.slow
def test_model_that_misses_a_criterion_gets_no_alias(copied):
    folder, run = copied
    before = champion_of(folder).version
    set_params(folder, {"train": {"seed": 2}, "register": {"criteria": {"roc_auc": {"min": 1.5}}}})
    run("dvc", "repro")
    verdict = read_json(folder / "reports/register.json")["verdict"]
    assert verdict.startswith("criteria missed: roc_auc ")
    assert (champion_of(folder).version, version_count(folder)) == (before, 2)


@pytest.mark.slow
def test_bad_data_stops_at_validate(copied):
    folder, run = copied
    inbox = folder / "data/inbox/messages.csv"
    inbox.write_text(inbox.read_text() + "".join(f"7,What is seven {n}\n" for n in range(40)))
    done = run("dvc", "repro", check=False)
    assert done.returncode != 0
    assert "error: data/ingested/messages.parquet: label_is_known: " in done.stderr
    assert not (folder / "data/validated/messages.parquet").exists()
    assert (folder / "data/docs/index.html").exists()
    assert "stopped" in read_json(folder / "reports/validate.json")["verdict"]
