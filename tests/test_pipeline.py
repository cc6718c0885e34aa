"""The whole of it, through DVC and MLflow, on ninety hand-written messages."""

import json
import re
import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import ruamel.yaml
from mlflow import MlflowClient

from tests.harness.small_project import Run, made, new_project, registry_flaws, runner, set_params

pytestmark = pytest.mark.slow

STAGES = ["ingest", "validate", "vectorize", "train", "evaluate", "register"]


@pytest.fixture
def copied(project, tmp_path) -> tuple[Path, Run]:
    """A copy of the project that has run, to be changed."""
    folder = tmp_path / "copy"
    shutil.copytree(project[0], folder, symlinks=True)
    return folder, runner(folder)


def client_of(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder.resolve()}/mlflow.db")


def champion_of(folder: Path) -> str:
    return client_of(folder).get_model_version_by_alias("spam-detector", "champion").version


def ran(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


def test_every_output_that_dvc_names_is_there(project):
    folder, _ = project
    for entry in ruamel.yaml.YAML(typ="safe").load(folder / "dvc.yaml")["stages"].values():
        for out in entry.get("outs", []) + entry.get("metrics", []):
            assert (folder / (out if isinstance(out, str) else next(iter(out)))).exists()


def test_every_report_has_the_one_schema(project):
    for stage in STAGES:
        report = json.loads((project[0] / "reports" / f"{stage}.json").read_text())
        assert list(report) == ["rows", "figures", "verdict"]
        assert all(
            set(figure) <= {"value", "low", "high", "n"} for figure in report["figures"].values()
        )


def test_no_report_holds_a_message_a_path_or_a_run_id(project):
    folder, _ = project
    run_ids = [run.info.run_id for run in client_of(folder).search_runs(["1"])]
    texts = pd.read_csv(folder / "data/inbox/messages.csv")["body"]
    for report in (folder / "reports").rglob("*.*"):
        content = report.read_text()
        assert not any(bad in content for bad in [str(folder), *run_ids, *texts])


def test_a_second_repro_runs_only_register_and_changes_nothing(project):
    folder, run = project
    before = client_of(folder).search_model_versions("name = 'spam-detector'")
    assert ran(run("dvc", "repro").stdout) == ["register"]
    assert run("git", "status", "--porcelain").stdout == ""
    assert (
        len(client_of(folder).search_model_versions("name = 'spam-detector'")) == len(before) == 1
    )
    assert len(client_of(folder).search_runs(["1"])) == 1


def test_the_run_in_mlflow_shows_the_figures_of_the_reports(project):
    folder, _ = project
    (run,) = client_of(folder).search_runs(["1"])
    assert run.info.status == "FINISHED"
    figures = json.loads((folder / "reports/evaluate.json").read_text())["figures"]
    assert run.data.metrics["test/f1"] == figures["f1"]["value"]
    assert run.data.metrics["difference/f1"] == figures["difference.f1"]["value"]
    assert run.data.params["train.units"] == "8"
    assert run.data.params["ingest.files.columns.text"] == "body"
    assert run.data.params["register.criteria.roc_auc.min"] == "0.0"
    history = client_of(folder).get_metric_history(run.info.run_id, "train/loss")
    curves = pd.read_csv(folder / "reports/curves.csv")
    assert [point.step for point in history] == [1, 2]
    assert [point.value for point in history] == pytest.approx(curves["loss"], abs=1e-6)
    assert {entry.dataset.name for entry in run.inputs.dataset_inputs} == {"train", "val", "test"}
    artifacts = {file.path for file in client_of(folder).list_artifacts(run.info.run_id)}
    assert {"plots", "data_docs", "reports"} <= artifacts
    assert run.data.tags["verdict"] in run.data.tags["mlflow.note.content"]


def test_the_version_says_what_it_is_made_of(project):
    folder, run = project
    version = client_of(folder).get_model_version("spam-detector", champion_of(folder))
    decision = json.loads((folder / "models/decision.json").read_text())
    assert version.tags["threshold"] == str(decision["threshold"])
    assert version.tags["verdict"] == "first: it meets the criteria, and there is no champion"
    first = run("git", "rev-list", "--max-parents=0", "HEAD").stdout.strip()
    assert version.tags["git_commit"] == first
    assert {"model_hash", "data_hash"} <= set(version.tags)
    model = mlflow.models.Model.load(
        version.source.replace("models:/", f"{folder}/mlartifacts/models/") + "/artifacts"
    )
    assert [column.name for column in model.signature.inputs] == ["text"]
    assert [column.name for column in model.signature.outputs] == [
        "label",
        "probability",
        "threshold",
    ]
    assert model.saved_input_example_info is not None


def test_score_labels_a_file_with_the_champion(project, tmp_path):
    _, run = project
    (tmp_path / "in.csv").write_text("id,text\n007,WIN a prize now\n008,see you at lunch\n")
    run("python", "-m", "pipeline", "score", str(tmp_path / "in.csv"), str(tmp_path / "out.csv"))
    out = pd.read_csv(tmp_path / "out.csv", dtype={"id": str})
    added = ["label", "probability", "threshold", "model_version", "scored_at", "refused"]
    assert list(out.columns) == ["id", "text", *added]
    assert list(out["id"]) == ["007", "008"]
    assert set(out["label"]) <= {"ham", "spam"}
    assert out["probability"].between(0, 1).all()


def test_new_messages_are_judged_before_they_are_learned(copied):
    """A file of this week trains nothing and is what the model is judged on; next week it is learned."""
    folder, run = copied
    written = {
        1: (
            "Your parcel waits, pay the customs fee at %s.example/fee",
            "%s casino: 90 free spins, claim now",
        ),
        0: ("Did you feed the %s before you left?", "My train is late, meet me by the %s at seven"),
    }
    words = "amber", "bottle", "cactus", "donkey", "engine", "ferret"
    rows = [(kind, one % word) for kind, ones in written.items() for one in ones for word in words]
    late = pd.DataFrame(rows, columns=["kind", "body"])
    late.to_csv(folder / "data/inbox/2026-11-20.csv", index=False)
    assert ran(run("dvc", "repro").stdout) == [stage for stage in STAGES if stage != "train"]
    figures = json.loads((folder / "reports/evaluate.json").read_text())["figures"]
    assert figures["newest.f1"]["n"] > 10
    metrics = client_of(folder).search_runs(["1"])[0].data.metrics
    assert metrics["newest/f1"] == figures["newest.f1"]["value"]
    splits = pd.read_parquet(folder / "data/vectorized/splits.parquet")
    newest = set(splits["message_id"][splits["split"] == "newest"])
    later = pd.DataFrame(
        {"kind": [0, 0], "body": ["A line of next week", "Two of them: one might be a clock's"]}
    )
    later.to_csv(folder / "data/inbox/20261127.csv", index=False)
    run("dvc", "repro", "vectorize")
    learned = pd.concat(
        pd.read_parquet(folder / "data/vectorized" / name) for name in ("train", "val")
    )
    assert len(newest & set(learned["message_id"])) > 5


def test_dvc_shows_metrics_and_draws_every_plot(project, tmp_path):
    folder, run = project
    shown = json.loads(run("dvc", "metrics", "show", "--json").stdout)
    f1 = json.loads((folder / "reports/evaluate.json").read_text())["figures"]["f1"]["value"]
    assert shown[""]["data"]["reports/metrics.json"]["data"]["f1"] == f1
    run("dvc", "plots", "show", "--out", str(tmp_path / "plots"))
    page = (tmp_path / "plots" / "index.html").read_text()
    for definition in ruamel.yaml.YAML(typ="safe").load(folder / "dvc.yaml")["plots"]:
        for plot in definition.values():
            assert plot["title"] in page
            assert plot["x_label"] in page
            assert plot["y_label"] in page


def test_an_experiment_is_recorded_and_moves_nothing(copied):
    folder, run = copied
    before = champion_of(folder)
    run("dvc", "exp", "run", "-S", "train.epochs=1", "--name", "short")
    assert "train.epochs" in run("dvc", "params", "diff").stdout
    assert "short" in run("dvc", "exp", "show", "--csv").stdout
    versions = client_of(folder).search_model_versions("name = 'spam-detector'")
    assert [version.version for version in versions] == [before]
    (found,) = client_of(folder).search_runs(["1"], "tags.dvc_experiment = 'short'")
    assert found.data.params["train.epochs"] == "1"
    assert "moves nothing" in found.data.tags["verdict"]


def test_another_machine_pulls_everything_and_registers_the_same_model(copied, tmp_path):
    folder, run = copied
    run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    run("git", "commit", "--quiet", "--all", "--message", "A remote")
    run("dvc", "push")
    run("git", "clone", "--quiet", str(folder), str(tmp_path / "other"))
    other = runner(tmp_path / "other")
    other("dvc", "pull")
    assert ran(other("dvc", "repro").stdout) == ["register"]
    assert other("git", "status", "--porcelain").stdout == ""
    hashes = [
        client_of(place).get_model_version("spam-detector", champion_of(place)).tags["model_hash"]
        for place in (folder, tmp_path / "other")
    ]
    assert hashes[0] == hashes[1]
    (rebuilt,) = client_of(tmp_path / "other").search_runs(["1"])
    assert (
        len(client_of(tmp_path / "other").get_metric_history(rebuilt.info.run_id, "train/loss"))
        == 2
    )


def test_two_fresh_projects_make_the_same_bytes(project, tmp_path):
    folder, _ = project
    (tmp_path / "another place").mkdir()
    new_project(tmp_path / "another place")("dvc", "repro")
    assert made(tmp_path / "another place") == made(folder)


def test_a_lost_registry_is_made_again_with_its_curves(copied):
    folder, run = copied
    (folder / "mlflow.db").unlink()
    shutil.rmtree(folder / "mlartifacts", ignore_errors=True)
    assert ran(run("dvc", "repro").stdout) == ["register"]
    assert run("git", "status", "--porcelain").stdout == ""
    assert list(registry_flaws(client_of(folder), [2])) == []


def test_stages_restored_from_the_run_cache_are_registered(copied):
    folder, run = copied
    before = made(folder)
    run("dvc", "commit", "--force", "--quiet")  # as `make repro` does: into the run cache
    set_params(folder, {"train": {"seed": 2}})
    run("dvc", "repro")
    (folder / "mlflow.db").unlink()
    gone = (
        "dvc.lock",
        "ledger.jsonl",
        "models/model.keras",
        "reports/train.json",
        "reports/evaluate.json",
    )
    for name in gone:
        (folder / name).unlink()
    set_params(folder, {"train": {"seed": 1}})
    restored = run("dvc", "repro").stdout
    assert "Stage 'train' is cached" in restored
    assert ran(restored) == ["register"]
    assert made(folder) == before
    assert list(registry_flaws(client_of(folder), [2])) == []


def test_another_budget_is_a_new_run_and_a_new_version_with_the_same_curves(copied):
    folder, run = copied
    set_params(folder, {"evaluate": {"lost_ham_budget": 0.5}})
    assert ran(run("dvc", "repro").stdout) == ["evaluate", "register"]
    runs = client_of(folder).search_runs(["1"])
    assert sorted(found.data.params["evaluate.lost_ham_budget"] for found in runs) == ["0.3", "0.5"]
    curves = [
        client_of(folder).get_metric_history(found.info.run_id, "train/loss") for found in runs
    ]
    assert [[point.step for point in curve] for curve in curves] == [[1, 2], [1, 2]]
    assert str(champion_of(folder)) == "2"
    set_params(folder, {"evaluate": {"lost_ham_budget": 0.3}})
    run("dvc", "repro")
    assert str(champion_of(folder)) == "1"
    assert len(client_of(folder).search_runs(["1"])) == 2


def test_a_model_that_misses_a_criterion_is_recorded_without_the_alias(copied):
    folder, run = copied
    before = champion_of(folder)
    set_params(folder, {"train": {"seed": 2}, "register": {"criteria": {"roc_auc": {"min": 1.5}}}})
    run("dvc", "repro")
    report = json.loads((folder / "reports/register.json").read_text())
    assert report["verdict"].startswith("criteria missed: roc_auc ")
    assert champion_of(folder) == before
    assert len(client_of(folder).search_model_versions("name = 'spam-detector'")) == 2


def test_bad_data_stops_at_the_guard(copied):
    folder, run = copied
    inbox = folder / "data/inbox/messages.csv"
    inbox.write_text(inbox.read_text() + "".join(f"7,What is seven {n}\n" for n in range(40)))
    stopped = run("dvc", "repro", check=False)
    assert stopped.returncode != 0
    assert "error: data/ingested/messages.parquet: label_is_known: " in stopped.stderr
    assert not (folder / "data/validated/messages.parquet").exists()
    assert (folder / "data/docs/index.html").exists()
    assert "stopped" in json.loads((folder / "reports/validate.json").read_text())["verdict"]
