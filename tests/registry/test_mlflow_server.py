"""register on a real MLflow server with users, PostgreSQL and S3, and its faults."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
from urllib.parse import quote

import pandas as pd
import pytest
from mlflow import MlflowClient

from pipeline import register
from pipeline.registry import parity, versions
from pipeline.registry.restore import FILE_NAMES
from tests.harness.errors import error_of
from tests.harness.evaluated_project import REGISTER_ARGUMENTS, Project, score_in_process
from tests.harness.fault_proxy import answers, calls, drops, loses_the_answer
from tests.harness.mlflow_store import store_at
from tests.harness.servers import USER, bucket
from tests.harness.small_models import plain_decision
from tests.harness.small_project import ROOT, environment, registry_flaws, runner, set_params

pytestmark = pytest.mark.slow

NO_WAIT = {"MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0", "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0"}
ONE_RETRY = {**NO_WAIT, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
BASIC_AUTH = base64.b64encode(":".join(USER).encode()).decode()
SECRETS = [USER[1], quote(USER[1], safe=""), quote(USER[1]), BASIC_AUTH]
REPORT = "register.json"
REGISTER = ["python", "-m", "pipeline.register", *REGISTER_ARGUMENTS]


class ServerProject:
    """A project whose registry is the server; no output ever has the password."""

    def __init__(self, folder, address):
        self.folder, self.address = folder, address

    def run(self, *command, check=True, **environment):
        """Runs a command in a process of its own."""
        settings = {"MLFLOW_TRACKING_URI": self.address, "PYTHONPATH": str(ROOT), **environment}
        done = runner(self.folder)(*command, check=check, **settings)
        assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
        return done

    def call(self, function, *arguments, **environment):
        """Calls a function of the pipeline in this process, in the project's folder."""
        with store_at(self.address, self.folder) as patch:
            patch.setattr(parity, "score_in_child", score_in_process)
            for name, value in environment.items():
                patch.setenv(name, value)
            return function(*arguments)

    def improve(self):
        """Makes a better model than that of `first`."""
        (self.folder / "decision.json").write_text(json.dumps(plain_decision(0.0)))
        (self.folder / REPORT).unlink()

    def register(self, **environment):
        self.call(*REGISTER_CALL, **environment)

    def error(self, function, *arguments):
        """The one line with which a function stops."""
        line = error_of(self.call, function, *arguments, **ONE_RETRY)
        assert not [secret for secret in ("\n", *SECRETS) if secret in line]
        return line

    def kill_register(self, proxy, pattern, number, after) -> None:
        """Kills register at the n-th request of a kind, before or after it is served."""
        kill = calls(lambda: os.killpg(process.pid, signal.SIGKILL), after)
        proxy.on(kill, pattern, number)
        settings = {"MLFLOW_TRACKING_URI": self.address, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            REGISTER, cwd=self.folder, env=environment() | settings, start_new_session=True
        )
        assert process.wait() == -signal.SIGKILL, (pattern, number, proxy.requests)
        proxy.reset()


REGISTER_CALL = (register.main, REGISTER_ARGUMENTS)


@pytest.fixture(scope="module")
def first(mlflow_server, tmp_path_factory):
    """The files of a model that is the champion on the server, which is saved as `first`."""
    folder = tmp_path_factory.mktemp("first")
    Project(folder, store=None).set_threshold(2.0)  # calls nothing spam
    mlflow_server.restore("empty")
    ServerProject(folder, mlflow_server.address()).register()
    mlflow_server.save("first")
    return folder


@pytest.fixture
def registered(first, mlflow_server, proxy, tmp_path):
    """There is one model, and it is the champion."""
    mlflow_server.restore("first")
    folder = shutil.copytree(first, tmp_path / "project")
    return ServerProject(folder, mlflow_server.address(port=proxy.port))


@pytest.fixture
def forgotten(registered, mlflow_server):
    """There is one model, and the server does not know it."""
    mlflow_server.restore("empty")
    return registered


@pytest.fixture
def challenging(registered):
    """There is a champion, and a better model to register."""
    registered.improve()
    return registered


def client_of(server):
    return MlflowClient(server.address(), server.address())


def assert_nothing_moved(server):
    """Version 1 is the only one, and the champion."""
    client = client_of(server)
    (version,) = client.search_model_versions()
    assert client.get_model_version_by_alias(version.name, "champion").version == version.version


def flaws_of(server, epochs):
    return list(registry_flaws(client_of(server), epochs))


# ---- without faults


def test_score_reads_the_model_from_s3(registered, mlflow_server, tmp_path):
    """User and password may be in the environment instead of the address."""
    (run,) = client_of(mlflow_server).search_runs(["1"])
    assert run.info.artifact_uri == f"mlflow-artifacts:/1/{run.info.run_id}/artifacts"
    bare = ServerProject(registered.folder, mlflow_server.address(None))
    user = {"MLFLOW_TRACKING_USERNAME": USER[0], "MLFLOW_TRACKING_PASSWORD": USER[1]}
    (tmp_path / "in.csv").write_text("text\nWIN a prize now\nsee you at lunch\n")
    files = str(tmp_path / "in.csv"), str(tmp_path / "out.csv")
    bare.run("python", "-m", "pipeline", "score", *files, **user)
    assert pd.read_csv(tmp_path / "out.csv")["model_version"].tolist() == [1, 1]


def test_password_is_in_nothing_that_is_kept(registered, mlflow_server):
    kept = {"the database": mlflow_server.database.dump("mlflow").encode()}
    for entry in bucket(mlflow_server.artifacts).objects.all():
        kept[entry.key] = entry.get()["Body"].read()
    for path in registered.folder.rglob("*"):
        if path.is_file():
            kept[str(path)] = path.read_bytes()
    assert b"spam-detector" in kept["the database"]
    secrets = [secret.encode() for secret in SECRETS]
    assert [place for place, content in kept.items() if any(s in content for s in secrets)] == []


def test_lost_registry_is_restored(registered, mlflow_server):
    """The database is gone; ledger and DVC's cache rebuild both champions."""
    registered.run("git", "init", "--quiet")
    registered.run("dvc", "init", "--quiet")
    registered.run("dvc", "add", "--quiet", *FILE_NAMES.values())
    registered.improve()
    registered.run("dvc", "add", "--quiet", *FILE_NAMES.values())
    registered.register()
    mlflow_server.restore("empty")
    registered.run("python", "-m", "pipeline", "ledger", "restore")
    assert registered.call(versions.alias_numbers) == {"champion": "2", "previous": "1"}
    registered.run("python", "-m", "pipeline", "ledger", "verify")


# ---- outages that pass


def test_server_that_restarts_twice_gets_everything_once(challenging, mlflow_server, proxy):
    proxy.on(calls(mlflow_server.restart), "PUT .*/artifacts/", 10)
    proxy.on(calls(mlflow_server.restart, after=True), "POST .*/model-versions/create", 1)
    challenging.register(MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR="1")
    assert flaws_of(mlflow_server, epochs=[2, 2]) == []


def test_each_endpoint_may_answer_500_and_then_429(forgotten, mlflow_server, proxy):
    proxy.on(answers(500), number=1, per_endpoint=True)
    proxy.on(answers(429, Retry_After="1"), number=2, per_endpoint=True)
    forgotten.register(**NO_WAIT)
    assert flaws_of(mlflow_server, epochs=[2]) == []


def test_lost_answer_of_a_creation_makes_no_second(forgotten, mlflow_server, proxy):
    creations = "POST .*/(experiments|runs|registered-models|model-versions)/(create|alias)$"
    proxy.on(loses_the_answer, creations, 1, per_endpoint=True)
    forgotten.register(**NO_WAIT)
    assert flaws_of(mlflow_server, epochs=[2]) == []


# ---- outages that last

OUTAGES = {
    "500": (answers(500), "500"),
    "403": (answers(403, b"Permission denied"), "MLFLOW_TRACKING_PASSWORD"),
    "dropped": (drops, "MLFLOW_TRACKING_URI"),
    "no MLflow": (answers(200, b"<html>log in</html>", Content_Type="text/html"), "JSON"),
}


@pytest.mark.parametrize(("action", "problem"), OUTAGES.values(), ids=OUTAGES)
def test_outage_is_one_line_and_moves_nothing(action, problem, challenging, mlflow_server, proxy):
    proxy.on(action)
    for call in (REGISTER_CALL, [versions.load_champion]):
        line = challenging.error(*call)
        assert line.startswith(f"MLflow at http://***@127.0.0.1:{proxy.port}: ")
        assert problem in line
    assert not (challenging.folder / REPORT).exists()
    assert_nothing_moved(mlflow_server)


def test_failed_upload_is_one_line(challenging, mlflow_server, proxy):
    proxy.on(answers(500), "PUT .*/artifacts/")
    assert "500" in challenging.error(*REGISTER_CALL)
    assert_nothing_moved(mlflow_server)


def test_wrong_password_tells_what_to_set(challenging, mlflow_server):
    wrong = ServerProject(challenging.folder, mlflow_server.address((USER[0], "mistaken")))
    done = wrong.run(*REGISTER, check=False, **ONE_RETRY)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "mistaken" not in done.stdout + done.stderr
    assert "not authenticated" in line
    assert line.endswith("; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
    assert_nothing_moved(mlflow_server)


# ---- kills

MOMENTS = [  # the n-th request of a kind, and whether the server had carried it out
    ("POST .*/experiments/create", 1, True),
    ("POST .*/runs/create", 1, True),
    ("POST .*/runs/log-batch", 3, False),
    ("PUT .*/artifacts/plots", 1, True),
    ("POST .*/logged-models$", 1, True),
    ("PUT .*/models/", 9, False),
    ("POST .*/registered-models/create", 1, True),
    ("POST .*/model-versions/create", 1, True),
    ("POST .*/registered-models/alias", 1, True),
]


def test_often_killed_register_ends_as_undisturbed(forgotten, mlflow_server, proxy):
    undisturbed = (forgotten.folder / REPORT).read_bytes()
    (forgotten.folder / REPORT).unlink()
    for moment in MOMENTS:
        forgotten.kill_register(proxy, *moment)
    forgotten.register()
    assert flaws_of(mlflow_server, epochs=[2]) == []
    assert (forgotten.folder / REPORT).read_bytes() == undisturbed


KILLS = int(os.environ.get("KILLS", "0"))


@pytest.mark.skipif(KILLS == 0, reason="set KILLS to a number of kills, half a minute each")
def test_register_killed_at_any_request_ends_as_undisturbed(forgotten, mlflow_server, proxy):
    undisturbed = (forgotten.folder / REPORT).read_bytes()
    forgotten.run(*REGISTER)
    requests = len(proxy.requests)
    for kill in range(KILLS):
        mlflow_server.restore("empty")
        proxy.reset()
        number = 1 + kill * requests // KILLS
        forgotten.kill_register(proxy, "", number, after=kill % 2 == 1)
        forgotten.run(*REGISTER)
        assert flaws_of(mlflow_server, epochs=[2]) == []
        assert (forgotten.folder / REPORT).read_bytes() == undisturbed


# ---- training


def test_training_outlives_its_server(project, mlflow_server, proxy, tmp_path):
    mlflow_server.restore("empty")
    folder = shutil.copytree(project[0], tmp_path / "project", symlinks=True)
    set_params(folder, {"train": {"seed": 4, "epochs": 5, "patience": 5}})
    (folder / "ledger.jsonl").unlink()
    retraining = ServerProject(folder, mlflow_server.address(port=proxy.port))
    proxy.on(calls(mlflow_server.stop), "POST .*/runs/log-batch", 3)  # params, epochs 1 and 2
    stopped = retraining.run("dvc", "repro", check=False, **ONE_RETRY)
    assert "epoch 5: " in stopped.stderr
    assert "Running stage 'register'" in stopped.stdout
    assert stopped.stderr.count("\nerror: MLflow at http://***@127.0.0.1:") == 1
    mlflow_server.start()
    reports = []
    for _ in range(2):  # the second time nothing changes
        done = retraining.run("dvc", "repro")
        assert re.findall(r"Running stage '(\w+)'", done.stdout) == ["collect", "register"]
        reports.append((folder / "reports" / REPORT).read_bytes())
        assert flaws_of(mlflow_server, epochs=[5]) == []
    assert reports[0] == reports[1]
