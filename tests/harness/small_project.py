"""A small project on hand-written messages; the whole pipeline runs on it in seconds."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ruamel.yaml

from tests.harness.preloaded import programs

ROOT = Path(__file__).parents[2]
DVC_FILE = ruamel.yaml.YAML(typ="safe").load(ROOT / "dvc.yaml")
STAGES = {name: stage["cmd"] for name, stage in DVC_FILE["stages"].items()}
MODEL = "spam-detector"  # its experiment and its name in the registry
MESSAGES = ROOT / "tests" / "messages.csv"  # 60 ham (0) and 30 spam (1)
WINS = {  # the duel of a project in which every challenger wins
    "criterion": "f1",
    "margin": -2.0,
    "confidence": 0.95,
    "newest_rows": 1,
    "resamples": 20,
    "seed": 1,
}
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
    "train": {
        "model": "dense",  # the tutorial's test and `make repro` train our own network
        "units": 8,
        "embedding_dim": 8,
        "epochs": 2,
        "fewest_steps": 0,
        "stop_share": 0.3,
        "out_of_fold_rows": 0,
        "refit": False,
    },
    "evaluate": {"lost_ham_budget": 0.3, "source_budgets": {"chat": 0.1}, "resamples": 20},
    "register": {
        "criteria": {"roc_auc": {"min": 0.0}},
        "fewest_rows": 1,
        "duel": WINS,
        "parity": [],
    },
}

OUTPUT_PATHS = ["data", "models", "reports", "dvc.lock"]  # of a run, besides the registry

Run = Callable[..., subprocess.CompletedProcess[str]]


def environment() -> dict[str, str]:
    """The environment of a command, with this interpreter's programs first on PATH.

    A make in it does not know that it may be started by the make that runs the tests.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    outer_make = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    inherited = {name: value for name, value in os.environ.items() if name not in outer_make}
    return {**inherited, "PATH": path, "PYTHONUNBUFFERED": "1"}


def preloaded_environment() -> dict[str, str]:
    """The same, with programs first on PATH that have imported their libraries already."""
    real = environment()
    return real | {"PATH": f"{programs()}{os.pathsep}{real['PATH']}"}


def runner(folder: Path, is_preloaded: bool = True) -> Run:
    """What runs a command in a folder, in one of these environments."""

    def run(*command: str, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        is_quick = command[0] == "git" or not is_preloaded
        variables = (environment() if is_quick else preloaded_environment()) | more
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done

    return run


def stage_arguments(stage: str, *paths: object) -> list[str]:
    """The command line of a stage with other paths, in the order of `dvc.yaml`."""
    options = [word for word in STAGES[stage].split() if word.startswith("--")]
    pairs = zip(options, map(str, paths), strict=True)
    return [word for pair in pairs for word in pair]


def set_params(folder: Path, changes: dict) -> None:
    """Changes some values of a project's params.yaml, section by section."""
    yaml = ruamel.yaml.YAML()
    params = yaml.load(folder / "params.yaml")
    for section, values in changes.items():
        params[section].update(values)
    yaml.dump(params, folder / "params.yaml")


def commit_all(run: Run, message: str, *paragraphs: str) -> str:
    """Commits everything in a runner's folder, even if nothing changed; returns the commit."""
    texts = [word for text in (message, *paragraphs) for word in ("--message", text)]
    run("git", "add", "--all")
    run("git", "commit", "--quiet", "--allow-empty", *texts)
    return run("git", "rev-parse", "HEAD").stdout.strip()


def init_repository(folder: Path) -> Run:
    """Makes a folder a Git repository with everything in one commit; returns its runner."""
    run = runner(folder)
    run("git", "init", "--quiet", "--initial-branch=main")
    run("git", "config", "user.name", "Ada")
    run("git", "config", "user.email", "ada@example.com")
    commit_all(run, "First commit")
    return run


def copy_tree(folder: Path) -> None:
    """Copies this tree as it is now into a folder, without what Git ignores."""
    listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    for name in runner(ROOT)(*listed).stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def new_project(folder: Path) -> Run:
    """Copies this tree into a Git repository of its own, with small params and 90 messages."""
    copy_tree(folder)
    outputs = [folder / "dvc.lock", folder / "ledger.jsonl", *(folder / "reports").rglob("*.*")]
    outputs.append(folder / "data" / "inbox.lock.json")
    for path in outputs:
        path.unlink(missing_ok=True)
    shutil.copyfile(MESSAGES, folder / "data" / "inbox" / "messages.csv")
    set_params(folder, SMALL)
    return init_repository(folder)


def output_bytes(folder: Path) -> dict[str, bytes]:
    """Every file that a run wrote: its bytes by its path."""
    files = [
        path
        for name in OUTPUT_PATHS
        for path in [folder / name, *(folder / name).rglob("*")]
        if path.is_file()
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def registry_client(database: Path) -> Any:
    """An MLflow client of a copy of an sqlite database.

    MLflow keeps connections to a file by its path, and would read one that was replaced.
    """
    from mlflow import MlflowClient  # seconds, which most users of this module need not spend

    copy = Path(tempfile.mkdtemp(dir=database.resolve().parents[1])) / "mlflow.db"
    shutil.copyfile(database, copy)
    return MlflowClient(f"sqlite:///{copy}")


def registry_flaws(client: Any, epochs: Sequence[int]) -> Iterator[str]:
    """Yields what is wrong in MLflow after models were registered one after another.

    Each model must have one finished run with the curves of its epochs, one logged model and one
    version. The last version must be `champion`, the one before it `previous`.

    Args:
        epochs: the number of epochs of each model, in the order of registration.
    """
    experiment = client.get_experiment_by_name(MODEL).experiment_id
    runs = client.search_runs([experiment], order_by=["attributes.start_time ASC"])
    curves = [client.get_metric_history(run.info.run_id, "train/loss") for run in runs]
    versions = client.search_model_versions(f"name = '{MODEL}'", order_by=["version_number ASC"])
    models = client.search_logged_models([experiment])
    aliases = client.get_registered_model(MODEL).aliases
    count = len(epochs)
    wanted = {"champion": count, "previous": count - 1}
    for name, found, expected in (
        ("states of runs", [run.info.status for run in runs], ["FINISHED"] * count),
        ("evaluated models", len({run.data.tags.get("run_key") for run in runs}), count),
        ("epochs", [[p.step for p in c] for c in curves], [[*range(1, n + 1)] for n in epochs]),
        ("versions", [v.run_id for v in versions], [run.info.run_id for run in runs]),
        ("models", len({version.tags["model_hash"] for version in versions}), count),
        ("logged models", len(models), count),
        (
            "aliases",
            {n: int(v) for n, v in aliases.items()},
            {n: v for n, v in wanted.items() if v},
        ),
    ):
        if found != expected:
            yield f"{name}: {found}, not {expected}"
