"""After a kill, the next `dvc repro` ends as an undisturbed one: the essential kills."""

import shutil

import pytest
from mlflow import MlflowClient

from tests.harness import faults
from tests.harness.faults import Kill
from tests.harness.small_project import MODEL, registry_flaws

pytestmark = pytest.mark.slow
TAGS = {"model_hash": "b"}


@pytest.mark.parametrize(
    ("flaw", "damage"),
    [
        ("states of runs: ", lambda client, _: client.create_run("1")),
        ("epochs: ", lambda client, run: client.log_metric(run, "train/loss", 0.5, step=2)),
        ("versions: ", lambda client, run: client.create_model_version(MODEL, "a", run, TAGS)),
        ("logged models: 2", lambda client, _: client.create_logged_model("1")),
        ("aliases: {}", lambda client, _: client.delete_registered_model_alias(MODEL, "champion")),
    ],
)
def test_damaged_registry_is_noticed(project, tmp_path, flaw, damage):
    shutil.copyfile(project[0] / "mlflow.db", tmp_path / "mlflow.db")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    damage(client, client.search_runs(["1"])[0].info.run_id)
    assert any(found.startswith(flaw) for found in registry_flaws(client, [2]))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return faults.Project(tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize(
    "kill",
    [
        Kill("train", 0.8, "dvc and its stage"),
        Kill("between", 0.7, "dvc alone"),
        Kill("register", 0.4, "the stage"),
    ],
    ids=lambda kill: f"{kill.stage} at {kill.part}, {kill.victim}",
)
def test_next_run_ends_like_an_undisturbed_one(undisturbed, kill):
    assert faults.survive(undisturbed, kill) == []
