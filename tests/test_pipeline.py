"""The whole project through DVC and MLflow, on ninety hand-written messages."""

import json
import re
import shutil

import pandas as pd
import pytest
from mlflow import MlflowClient

from pipeline import evaluate, register, train
from pipeline.core.files import read_json
from pipeline.models.architectures import MODELS
from pipeline.registry import subprocesses, versions
from pipeline.serving import batch
from tests.harness.hostile_inbox import plant_hostile_files
from tests.harness.mlflow_store import store_at
from tests.harness.model_server import model_server
from tests.harness.small_project import (
    STAGES as COMMANDS,
)
from tests.harness.small_project import (
    commit_all,
    new_project,
    output_bytes,
    registry_flaws,
    runner,
    set_params,
)

NAME = "spam-detector"
STAGES = ["ingest", "validate", "vectorize", "train", "evaluate", "register"]


def client_of(folder):
    return MlflowClient(f"sqlite:///{folder.resolve()}/mlflow.db")


def champion_of(folder):
    return client_of(folder).get_model_version_by_alias(NAME, "champion")


def figures_of(folder):
    return read_json(folder / "reports/evaluate.json")["figures"]


def stages_run(done):
    return re.findall(r"Running stage '(\w+)'", done.stdout)


# ---- what one `dvc repro` leaves; these share one run


def test_dvcs_site_cache_is_the_projects_own(project):
    """It has pickles, so nobody else may write to it (CVE-2025-69872 of diskcache)."""
    folder, run = project
    parent = folder / ".dvc-site-cache" / "repo"
    (cache,) = [path for path in parent.iterdir() if path.is_dir()]
    assert (cache / "links").is_dir()
    assert [path for path in (parent, cache) if path.stat().st_mode & 0o002] == []
    tracked = run("git", "ls-files", "--others", "--cached", "--exclude-standard", str(parent))
    assert tracked.stdout == ".dvc-site-cache/repo/.gitignore\n"


def test_reports_have_one_schema_and_no_message_path_or_run_id(project):
    folder, _ = project
    for stage in STAGES:
        report = read_json(folder / f"reports/{stage}.json")
        assert list(report) == ["rows", "figures", "verdict"]
        assert set().union(*report["figures"].values()) <= {"value", "low", "high", "n"}
    run_ids = [run.info.run_id for run in client_of(folder).search_runs(["1"])]
    texts = pd.read_csv(folder / "data/inbox/messages.csv")["body"]
    for report in (folder / "reports").rglob("*.*"):
        content = report.read_bytes().decode("utf-8", "replace")
        assert not any(forbidden in content for forbidden in [str(folder), *run_ids, *texts])


def test_run_and_version_are_those_of_the_reports(project):
    folder, run = project
    (recorded,) = client_of(folder).search_runs(["1"])
    figures = figures_of(folder)
    assert recorded.data.metrics["test/f1"] == figures["f1"]["value"]
    assert recorded.data.metrics["versus_baseline/f1"] == figures["difference.f1"]["value"]
    assert recorded.data.params["train.units"] == "8"
    assert recorded.data.params["ingest.files.columns.text"] == "body"
    artifacts = {file.path for file in client_of(folder).list_artifacts(recorded.info.run_id)}
    assert artifacts >= {"plots", "data_docs", "reports"}
    tags = champion_of(folder).tags
    assert tags["threshold"] == str(read_json(folder / "models/decision.json")["threshold"])
    assert tags["verdict"] == read_json(folder / "reports/register.json")["verdict"]
    first_commit = run("git", "rev-list", "--max-parents=0", "HEAD").stdout.strip()
    assert tags["git_commit"] == first_commit


@pytest.mark.slow
def test_two_fresh_projects_make_the_same_bytes(project, tmp_path):
    new_project(tmp_path / "another place")("dvc", "repro")
    assert output_bytes(tmp_path / "another place") == output_bytes(project[0])


# ---- what changes afterwards


@pytest.mark.slow
def test_new_messages_are_first_judged_and_later_learned(copied):
    folder, run = copied
    words = ("amber", "bottle", "cactus", "donkey", "engine", "ferret")
    templates = ("1,Your parcel waits: pay at %s.example/fee", "0,Did you feed the %s today?")
    rows = [template % word for template in templates for word in words]
    inbox = folder / "data" / "inbox"
    (inbox / "2026-11-20.csv").write_text("\n".join(["kind,body", *rows]))
    assert stages_run(run("dvc", "repro")) == [
        "collect",
        *[stage for stage in STAGES if stage != "train"],
    ]
    f1 = figures_of(folder)["newest.f1"]
    assert f1["n"] > 10
    assert client_of(folder).search_runs(["1"])[0].data.metrics["test_newest/f1"] == f1["value"]
    splits = pd.read_parquet(folder / "data/vectorized/splits.parquet")
    newest = set(splits["message_id"][splits["split"] == "newest"])
    (inbox / "20261127.csv").write_text("kind,body\n0,A line of next week\n0,Two of next week\n")
    run("dvc", "repro", "vectorize")
    shards = [pd.read_parquet(folder / "data/vectorized" / name) for name in ("train", "val")]
    assert len(newest & set(pd.concat(shards)["message_id"])) > 5


@pytest.mark.slow
def test_hostile_files_in_the_inbox_are_data(copied, tmp_path):
    folder, run = copied
    marker = tmp_path / "PWNED"
    plant_hostile_files(folder / "data" / "inbox", marker)
    run("dvc", "remote", "add", "--local", "--default", "storage", str(tmp_path / "storage"))
    assert stages_run(run("dvc", "repro", "vectorize")) == ["collect", "ingest"]
    run("dvc", "push", "--quiet", "ingest")
    run("dvc", "pull", "--quiet", "ingest")
    changed = run("git", "status", "--porcelain", "--ignored=no").stdout.split("\n")
    assert changed == [" M data/inbox.lock.json", " M dvc.lock", ""]
    manifest = read_json(folder / "data/inbox.lock.json")
    assert list(manifest["files"]) == ["deep/dvc.yaml", "messages.csv"]
    assert not marker.exists()


@pytest.mark.slow
def test_experiment_is_recorded_and_does_not_move_the_alias(copied):
    folder, run = copied
    run("dvc", "exp", "run", "-S", "train.epochs=1", "--name", "short")
    (version,) = client_of(folder).search_model_versions(f"name = '{NAME}'")
    assert champion_of(folder).version == version.version
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
    for place, run_there in ((folder, run), (tmp_path / "other", other)):
        assert stages_run(run_there("dvc", "repro")) == ["collect", "register"]
        assert run_there("git", "status", "--porcelain").stdout == ""
        assert list(registry_flaws(client_of(place), [2])) == []
    hashes = [champion_of(place).tags["model_hash"] for place in (folder, tmp_path / "other")]
    assert hashes[0] == hashes[1]


@pytest.mark.slow
def test_stages_from_the_run_cache_are_registered_in_a_new_registry(copied):
    """A kill has cut dvc.lock, and other files are lost; the commands are those of `make repro`."""
    folder, run = copied
    before = output_bytes(folder)
    run("python", "-m", "pipeline.core.dvc_cache", "after")
    for name in ("ledger.jsonl", "mlflow.db", "models/model.keras", "reports/train.json"):
        (folder / name).unlink()
    lock = folder / "dvc.lock"
    lock.write_text(lock.read_text()[: lock.stat().st_size // 2])
    run("python", "-m", "pipeline.core.dvc_cache", "before")
    done = run("dvc", "repro")
    assert "Stage 'train' is cached" in done.stdout
    assert stages_run(done) == ["collect", "register"]
    assert re.search(r"^train +unchanged +\d+  dense: epoch ", done.stderr, re.MULTILINE)
    assert re.search(r"^register +\d+\.\d +\d+  first: ", done.stderr, re.MULTILINE)
    assert output_bytes(folder) == before
    assert list(registry_flaws(client_of(folder), [2])) == []


@pytest.mark.slow
@pytest.mark.parametrize("network", sorted(MODELS.keys() - {"dense", "bilstm"}))
def test_each_network_is_registered_and_labels_messages(network, copied, empty_database):
    """In this process, which has imported TensorFlow; `dvc repro` runs the two others elsewhere.

    `project` trains dense, and the tutorial's test bilstm.
    """
    folder, _ = copied
    (folder / "ledger.jsonl").unlink()
    shutil.rmtree(folder / "mlartifacts")
    shutil.copyfile(empty_database, folder / "mlflow.db")
    set_params(folder, {"train": {"model": network}})
    with store_at(f"sqlite:///{folder}/mlflow.db", folder):
        for stage in (train, evaluate, register):
            command = COMMANDS[stage.__name__.removeprefix("pipeline.")].split()
            stage.main(command[3:])
        assert read_json(folder / "reports/register.json")["verdict"].startswith("first: ")
        batch.main(["data/inbox/messages.csv", "scored.csv", "--text", "body"])
        scored = pd.read_csv(folder / "scored.csv")
        model, version = versions.load_champion()
        records = [{"text": text} for text in scored["body"]]
        with model_server(model, version) as address, subprocesses.local_session() as session:
            body = json.dumps({"dataframe_records": records})
            headers = {"Content-Type": "application/json"}
            response = session.post(f"{address}/invocations", data=body, headers=headers)
    answers = pd.DataFrame(response.json()["predictions"])
    assert answers["label"].tolist() == scored["label"].tolist()
    assert answers["probability"].tolist() == pytest.approx(scored["probability"].tolist())
    assert scored["probability"].nunique() > 1
