"""A killed `dvc repro` is made good by the next one: the short form of benchmarks/faults.py."""

import shutil
from collections import Counter

import pytest
from mlflow import MlflowClient

from tests.harness import faults
from tests.harness.faults import STAGES, VICTIMS, WEIGHTS, Kill, kills
from tests.harness.small_project import registry_flaws

NAME = "spam-detector"


@pytest.mark.parametrize("number", [9, 25, 100])
def test_kills_are_spread_over_stages_moments_and_victims(number):
    planned = kills(number)
    assert len(planned) == number
    per_stage = Counter(kill.stage for kill in planned)
    assert set(per_stage) <= {*STAGES, "between"}
    for stage, count in per_stage.items():
        assert abs(count - number * WEIGHTS[stage] / sum(WEIGHTS.values())) < 1
        parts = [kill.part for kill in planned if kill.stage == stage]
        assert parts == sorted(set(parts))
        assert 0 < parts[0] < parts[-1] + 1e-9 < 1
    assert max(Counter(kill.victim for kill in planned).values()) <= number / len(VICTIMS) + 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "flaw"),
    [
        (lambda client, _: client.create_run("1"), "runs are FINISHED, RUNNING"),
        (lambda client, run: client.set_terminated(run, "KILLED"), "runs are KILLED"),
        (
            lambda client, run: client.set_tag(client.create_run("1").info.run_id, "run_key", "b"),
            "2 evaluated",
        ),
        (
            lambda client, run: client.log_metric(run, "train/loss", 0.5, step=2),
            "the curves have the epochs",
        ),
        (
            lambda client, run: client.create_model_version(NAME, "a", run, {"model_hash": "b"}),
            "2 versions",
        ),
        (lambda client, _: client.create_logged_model("1"), "2 logged models"),
        (
            lambda client, _: client.delete_registered_model_alias(NAME, "champion"),
            "aliases are {}",
        ),
        (
            lambda client, _: client.set_registered_model_alias(NAME, "other", "1"),
            "aliases are {'champion'",
        ),
    ],
)
def test_a_registry_that_is_not_whole_is_seen(project, tmp_path, harm, flaw):
    shutil.copyfile(project[0] / "mlflow.db", tmp_path / "mlflow.db")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(registry_flaws(client, [2])) == []
    harm(client, client.search_runs(["1"])[0].info.run_id)
    assert [found for found in registry_flaws(client, [2]) if found.startswith(flaw)]


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory):
    return faults.Project(tmp_path_factory.mktemp("faults"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "kill",
    [
        Kill("validate", 0.7, "dvc and its stage"),
        Kill("train", 0.8, "dvc and its stage"),
        Kill("train", 0.7, "dvc, the stage lives on"),
        Kill("between", 0.7, "dvc and its stage"),
        Kill("register", 0.4, "the stage"),
        Kill("register", 0.8, "dvc and its stage"),
    ],
    ids=lambda kill: f"{kill.stage} at {kill.part}, {kill.victim}",
)
def test_next_run_ends_as_if_nothing_had_happened(disturbed, kill):
    assert faults.survives(disturbed, kill) == []
