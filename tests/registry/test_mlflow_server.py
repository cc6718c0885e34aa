"""The pipeline on a real MLflow server, with users, PostgreSQL and S3, and all that can go wrong there."""

import base64
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
import ruamel.yaml
from mlflow import MlflowClient

from tests.harness.servers import (
    USER,
    answers,
    bucket,
    calls,
    drops,
    free_port,
    loses_the_answer,
    slows,
)
from tests.harness.small_project import registry_flaws, runner, set_params

pytestmark = pytest.mark.slow

NAME = "spam-detector"
NO_WAIT = {"MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0", "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0"}
GIVES_UP = {**NO_WAIT, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
SECRETS = [
    USER[1],
    quote(USER[1], safe=""),
    quote(USER[1]),
    base64.b64encode(":".join(USER).encode()).decode(),
]
REPORT = "reports/register.json"


@dataclass(frozen=True)
class Project:
    """A folder whose commands ask the server; none of them ever says the password."""

    folder: Path
    address: str

    def run(self, *command, check=True, **environment):
        done = runner(self.folder)(
            *command, check=check, MLFLOW_TRACKING_URI=self.address, **environment
        )
        assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
        return done

    def stage(self, name) -> list[str]:
        """A stage's command, to be run without DVC."""
        definitions = ruamel.yaml.YAML(typ="safe").load(self.folder / "dvc.yaml")
        return definitions["stages"][name]["cmd"].split()

    def killed_in_register(self, proxy, pattern, number, after) -> None:
        """Kills a register when its n-th request of a kind comes, or when the server has carried it out."""
        proxy.on(calls(lambda: os.killpg(process.pid, signal.SIGKILL), after), pattern, [number])
        process = subprocess.Popen(
            [sys.executable, *self.stage("register")[1:]],
            cwd=self.folder,
            env={**os.environ, "MLFLOW_TRACKING_URI": self.address},
            start_new_session=True,
        )
        assert process.wait() == -signal.SIGKILL, (
            f"no request {number} of {pattern!r} in {proxy.requests}"
        )
        proxy.reset()


def copied(folder, to) -> Path:
    shutil.copytree(folder, to, symlinks=True)
    return to


@pytest.fixture(scope="module")
def first(mlflow_server, project, tmp_path_factory):
    """A project whose model is the champion on the server, which is saved as `first`."""
    folder = copied(project[0], tmp_path_factory.mktemp("first") / "project")
    set_params(folder, {"train": {"seed": 2}})  # DVC's cache has none of it: train runs
    (folder / "ledger.jsonl").unlink()
    mlflow_server.restore("empty")
    Project(folder, mlflow_server.address()).run("dvc", "repro")
    mlflow_server.save("first")
    return folder


@pytest.fixture(scope="module")
def second(first, mlflow_server, tmp_path_factory):
    """Its next model is trained and evaluated but not registered; the server is saved as `second`."""
    folder = copied(first, tmp_path_factory.mktemp("second") / "project")
    set_params(folder, {"train": {"seed": 3}})
    mlflow_server.restore("first")
    Project(folder, mlflow_server.address()).run("dvc", "repro", "evaluate")
    (folder / REPORT).unlink()
    mlflow_server.save("second")
    return folder


@pytest.fixture
def registered(first, mlflow_server, proxy, tmp_path):
    """There is one model, and it is the champion."""
    mlflow_server.restore("first")
    return Project(copied(first, tmp_path / "project"), mlflow_server.address(port=proxy.port))


@pytest.fixture
def forgotten(registered, mlflow_server):
    """There is one model, and the server has never heard of it."""
    mlflow_server.restore("empty")
    return registered


@pytest.fixture
def challenging(second, mlflow_server, proxy, tmp_path):
    """There is a champion, and a second model to register."""
    mlflow_server.restore("second")
    return Project(copied(second, tmp_path / "project"), mlflow_server.address(port=proxy.port))


def champion_of(server):
    return str(MlflowClient(server.address()).get_model_version_by_alias(NAME, "champion").version)


def versions_of(server):
    found = MlflowClient(server.address()).search_model_versions(f"name = '{NAME}'")
    return sorted(str(version.version) for version in found)


def flaws_of(server, epochs):
    return list(registry_flaws(MlflowClient(server.address()), epochs))


def error_of(done):
    """The one line in which a command says why it stopped."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    *before, line = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert not [said for said in before if said.startswith("error: ")]
    return line


# ---- as it should be


def test_repro_against_a_server_makes_run_version_and_alias_once(registered, mlflow_server):
    assert flaws_of(mlflow_server, epochs=[2]) == []
    before = registered.run("git", "diff").stdout
    again = registered.run("dvc", "repro")
    assert again.stdout.count("Running stage") == 1
    assert registered.run("git", "diff").stdout == before
    assert flaws_of(mlflow_server, epochs=[2]) == []


def test_artifacts_lie_in_s3_and_score_answers_from_there(registered, mlflow_server, tmp_path):
    """The name and the password may stand in the environment instead of the address."""
    (run,) = MlflowClient(mlflow_server.address()).search_runs(["1"])
    assert run.info.artifact_uri == f"mlflow-artifacts:/1/{run.info.run_id}/artifacts"
    keys = {entry.key for entry in bucket(mlflow_server.artifacts).objects.all()}
    assert f"1/{run.info.run_id}/artifacts/reports/evaluate.json" in keys
    assert any(key.endswith("/artifacts/network/saved_model.pb") for key in keys)
    bare = Project(registered.folder, mlflow_server.address(None))
    known = {"MLFLOW_TRACKING_USERNAME": USER[0], "MLFLOW_TRACKING_PASSWORD": USER[1]}
    (tmp_path / "in.csv").write_text("text\nWIN a prize now\nsee you at lunch\n")
    files = str(tmp_path / "in.csv"), str(tmp_path / "out.csv")
    bare.run("python", "-m", "pipeline", "score", *files, **known)
    out = pd.read_csv(tmp_path / "out.csv")
    assert set(out["label"]) <= {"ham", "spam"}
    assert list(out["model_version"]) == [1, 1]


def test_emptied_server_gets_everything_back(forgotten, mlflow_server):
    forgotten.run("dvc", "repro")
    assert flaws_of(mlflow_server, epochs=[2]) == []


def test_password_is_in_nothing_that_is_kept(registered, mlflow_server):
    kept = {"the database": mlflow_server.database.dump("mlflow").encode()}
    kept |= {
        entry.key: entry.get()["Body"].read()
        for entry in bucket(mlflow_server.artifacts).objects.all()
    }
    kept |= {
        str(path): path.read_bytes() for path in registered.folder.rglob("*") if path.is_file()
    }
    assert b"spam-detector" in kept["the database"]
    found = [
        place for place, content in kept.items() for secret in SECRETS if secret.encode() in content
    ]
    assert found == []


# ---- outages that pass


def test_server_that_is_restarted_twice_in_the_middle_gets_everything_once(
    challenging, mlflow_server, proxy
):
    proxy.on(calls(mlflow_server.restart), "PUT .*/artifacts/", [10])
    proxy.on(calls(mlflow_server.restart, after=True), "POST .*/model-versions/create", [1])
    challenging.run(*challenging.stage("register"), MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR="1")
    assert flaws_of(mlflow_server, epochs=[2, 2]) == []


def test_server_that_comes_late_is_waited_for(challenging, mlflow_server):
    mlflow_server.restart()
    direct = Project(challenging.folder, mlflow_server.address())
    direct.run(*direct.stage("register"), MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR="1")
    assert flaws_of(mlflow_server, epochs=[2, 2]) == []


def test_slow_server_gets_everything_once(challenging, mlflow_server, proxy):
    proxy.on(slows(1), numbers=range(12, 1000, 12))
    challenging.run(*challenging.stage("register"))
    assert flaws_of(mlflow_server, epochs=[2, 2]) == []


def test_every_endpoint_may_answer_500_and_then_429(forgotten, mlflow_server, proxy):
    proxy.on(answers(500), numbers=[1], per_endpoint=True)
    proxy.on(answers(429, Retry_After="1"), numbers=[2], per_endpoint=True)
    forgotten.run(*forgotten.stage("register"), **NO_WAIT)
    assert flaws_of(mlflow_server, epochs=[2]) == []


def test_lost_answer_of_a_creation_makes_no_second(forgotten, mlflow_server, proxy):
    """The server carried it out, the client does not know, and looks before it asks again."""
    creations = (
        "(runs/create|registered-models/create|model-versions/create|registered-models/alias)$"
    )
    proxy.on(loses_the_answer, f"POST .*/{creations}", [1], per_endpoint=True)
    forgotten.run(*forgotten.stage("register"), **NO_WAIT)
    assert flaws_of(mlflow_server, epochs=[2]) == []


def test_lost_answers_of_all_writes_are_made_good_by_the_next_register(
    forgotten, mlflow_server, proxy
):
    proxy.on(loses_the_answer, "^(POST|PUT|PATCH)", [1], per_endpoint=True)
    for _ in range(3):  # MLflow's own client repeats some writes that the server refuses to repeat
        done = forgotten.run(*forgotten.stage("register"), check=False, **NO_WAIT)
        if done.returncode == 0:
            break
        error_of(done)
    assert flaws_of(mlflow_server, epochs=[2]) == []


# ---- outages that last


OUTAGES = {
    "500": (answers(500), "500"),
    "429": (answers(429, Retry_After="1"), "429"),
    "401": (answers(401, b"Unauthorized"), "MLFLOW_TRACKING_PASSWORD"),
    "403": (answers(403, b"Permission denied"), "MLFLOW_TRACKING_PASSWORD"),
    "dropped": (drops, "MLFLOW_TRACKING_URI"),
    "no MLflow, 404": (answers(404, b"<html>no such page</html>", Content_Type="text/html"), "404"),
    "no MLflow, 200": (
        answers(200, b"<html>please log in</html>", Content_Type="text/html"),
        "JSON",
    ),
}


@pytest.mark.parametrize("outage", OUTAGES)
def test_server_that_stays_away_is_one_line_and_moves_nothing(
    outage, challenging, mlflow_server, proxy
):
    action, said = OUTAGES[outage]
    proxy.on(action)
    line = error_of(challenging.run(*challenging.stage("register"), check=False, **GIVES_UP))
    assert line.startswith(f"error: MLflow at http://***@127.0.0.1:{proxy.port}: ")
    assert said in line
    assert not (challenging.folder / REPORT).exists()
    assert (versions_of(mlflow_server), champion_of(mlflow_server)) == (["1"], "1")


def test_server_that_takes_no_artifacts_is_one_line_and_moves_nothing(
    challenging, mlflow_server, proxy
):
    proxy.on(answers(500), "PUT .*/artifacts/")
    line = error_of(challenging.run(*challenging.stage("register"), check=False, **GIVES_UP))
    assert line.startswith(f"error: MLflow at http://***@127.0.0.1:{proxy.port}: ")
    assert "500" in line
    assert (versions_of(mlflow_server), champion_of(mlflow_server)) == (["1"], "1")


def test_champion_that_cannot_be_downloaded_is_one_line(registered, proxy):
    proxy.on(answers(500), "GET .*/mlflow-artifacts/")
    line = error_of(
        registered.run("python", "-m", "pipeline", "score", "-", "-", check=False, **GIVES_UP)
    )
    assert line.startswith(f"error: MLflow at http://***@127.0.0.1:{proxy.port}: ")
    assert "500" in line


@pytest.mark.parametrize("outage", ["500", "no MLflow, 404", "no MLflow, 200"])
def test_score_without_its_server_never_says_that_there_is_no_champion(outage, registered, proxy):
    action, said = OUTAGES[outage]
    proxy.on(action)
    done = registered.run("python", "-m", "pipeline", "score", "-", "-", check=False, **GIVES_UP)
    line = error_of(done)
    assert line.startswith(f"error: MLflow at http://***@127.0.0.1:{proxy.port}: ")
    assert said in line


def test_wrong_password_says_what_to_set(challenging, mlflow_server):
    wrong = Project(challenging.folder, mlflow_server.address((USER[0], "not my password")))
    done = wrong.run(*wrong.stage("register"), check=False, **GIVES_UP)
    line = error_of(done)
    assert "not my password" not in done.stdout + done.stderr
    assert quote("not my password") not in done.stdout + done.stderr
    assert "not authenticated" in line
    assert line.endswith("; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
    assert versions_of(mlflow_server) == ["1"]


def test_password_as_long_as_a_token_is_hidden_whole(challenging, mlflow_server, proxy):
    proxy.on(drops)  # MLflow then says the whole address
    long = Project(
        challenging.folder, mlflow_server.address((USER[0], "0123456789" * 40), proxy.port)
    )
    done = long.run(*long.stage("register"), check=False, **GIVES_UP)
    assert "0123456789" not in done.stdout + done.stderr
    assert error_of(done).startswith(f"error: MLflow at http://***@127.0.0.1:{proxy.port}: ")


def test_server_that_is_not_there_is_one_line(challenging, mlflow_server):
    nowhere = Project(challenging.folder, mlflow_server.address(port=free_port()))
    line = error_of(nowhere.run(*nowhere.stage("register"), check=False, **GIVES_UP))
    assert line.startswith("error: MLflow at http://***@127.0.0.1:")
    assert "Connection refused" in line


def test_alias_that_cannot_be_moved_stays_and_is_moved_by_the_next_register(
    challenging, mlflow_server, proxy
):
    proxy.on(answers(500), "POST .*/registered-models/alias")
    error_of(challenging.run(*challenging.stage("register"), check=False, **GIVES_UP))
    assert (versions_of(mlflow_server), champion_of(mlflow_server)) == (["1", "2"], "1")
    proxy.reset()
    challenging.run(*challenging.stage("register"))
    assert flaws_of(mlflow_server, epochs=[2, 2]) == []


# ---- kills


MOMENTS = [  # the n-th request of a kind, and whether the server had carried it out
    ("POST .*/experiments/create", 1, True),
    ("POST .*/runs/create", 1, True),
    ("POST .*/runs/log-batch", 3, False),
    ("PUT .*/artifacts/plots", 3, True),
    ("POST .*/logged-models$", 1, True),
    ("PUT .*/models/", 9, False),
    ("POST .*/registered-models/create", 1, True),
    ("POST .*/model-versions/create", 1, True),
    ("POST .*/registered-models/alias", 1, True),
]
KILLS = int(os.environ.get("KILLS", "0"))


def test_register_that_is_killed_again_and_again_ends_as_if_undisturbed(
    forgotten, mlflow_server, proxy
):
    undisturbed = (forgotten.folder / REPORT).read_bytes()
    (forgotten.folder / REPORT).unlink()
    for moment in MOMENTS:
        forgotten.killed_in_register(proxy, *moment)
    forgotten.run(*forgotten.stage("register"))
    assert flaws_of(mlflow_server, epochs=[2]) == []
    assert (forgotten.folder / REPORT).read_bytes() == undisturbed


@pytest.mark.skipif(
    KILLS == 0, reason="KILLS, half a minute each, spreads so many over all requests"
)
def test_register_that_is_killed_at_any_request_ends_as_if_undisturbed(
    forgotten, mlflow_server, proxy
):
    undisturbed = (forgotten.folder / REPORT).read_bytes()
    forgotten.run(*forgotten.stage("register"))
    requests = len(proxy.requests)
    for kill in range(KILLS):
        number, after = 1 + kill * requests // KILLS, kill % 2 == 1
        mlflow_server.restore("empty")
        (forgotten.folder / REPORT).unlink()
        proxy.reset()
        forgotten.killed_in_register(proxy, "", number, after)
        forgotten.run(*forgotten.stage("register"))
        assert flaws_of(mlflow_server, epochs=[2]) == []
        assert (forgotten.folder / REPORT).read_bytes() == undisturbed


# ---- training


def test_training_outlives_its_server_and_its_curves_are_whole_in_the_end(
    registered, mlflow_server, proxy
):
    set_params(registered.folder, {"train": {"seed": 4, "epochs": 5, "patience": 5}})
    proxy.on(calls(mlflow_server.stop), "POST .*/runs/log-batch", [3])  # params, epoch 1, epoch 2
    stopped = registered.run("dvc", "repro", check=False, **GIVES_UP)
    assert "epoch 5: " in stopped.stderr
    assert "the training continues" in stopped.stderr
    assert "Running stage 'register'" in stopped.stdout
    assert stopped.stderr.count("\nerror: MLflow at http://***@127.0.0.1:") == 1
    mlflow_server.start()
    assert champion_of(mlflow_server) == "1"
    again = registered.run("dvc", "repro")
    assert again.stdout.count("Running stage") == 1
    assert flaws_of(mlflow_server, epochs=[2, 5]) == []


def test_training_without_a_server_does_not_begin(registered, proxy):
    proxy.on(drops)
    done = registered.run(*registered.stage("train"), check=False, **GIVES_UP)
    assert error_of(done).startswith(f"error: MLflow at http://***@127.0.0.1:{proxy.port}: ")
    assert "epoch 1" not in done.stderr
