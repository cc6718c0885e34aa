"""A world for scheduled retraining: an origin, a DVC remote, an MLflow and a person."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ruamel.yaml
from mlflow import MlflowClient

from pipeline.tracking.mlflow_client import MODEL_NAME
from tests.harness.gh import GitHub
from tests.harness.hostile_inbox import plant_hostile_files
from tests.harness.small_project import (
    commit_all,
    new_project,
    preloaded_environment,
    registry_client,
    runner,
    set_params,
)

MANIFEST = "data/inbox.lock.json"


class World:
    """`origin.git`, the DVC remote `remote`, `mlflow.db`, and a person's clone `desk` in a folder.

    `now` is the time of whatever happens next. Only `gh` is replaced, see gh.py.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.now = datetime(2026, 1, 5, 6, tzinfo=UTC)
        self.origin = folder / "origin.git"
        self.remote = folder / "remote"
        self.database = folder / "mlflow.db"
        self.marker = folder / "PWNED"
        self.github = GitHub(folder)
        self.desk = folder / "desk"
        self.person = new_project(self.desk)
        set_params(self.desk, settings)
        self.person("git", "clone", "--quiet", "--bare", ".", str(self.origin))
        self.person("git", "remote", "add", "origin", str(self.origin))
        self.person("dvc", "remote", "add", "--quiet", "--default", "storage", str(self.remote))
        self.push("Params and a DVC remote")
        self.make_registry()

    def make_registry(self) -> None:
        """Makes an empty MLflow registry; its artifacts lie outside the clones."""
        fresh = Path(tempfile.mkdtemp(dir=self.folder)) / "mlflow.db"
        artifacts = str(self.folder / "artifacts")
        MlflowClient(f"sqlite:///{fresh}").create_experiment(MODEL_NAME, artifacts)
        fresh.replace(self.database)

    # ---- what happens

    def clone(self) -> Path:
        """A fresh clone of origin, in whose inbox a stranger has left files."""
        folder = Path(tempfile.mkdtemp(prefix="clone", dir=self.folder))
        name, email = ("--config=user.name=robot", "--config=user.email=robot@example.com")
        self.person("git", "clone", "--quiet", name, email, str(self.origin), str(folder))
        plant_hostile_files(folder / "data" / "inbox", self.marker)
        return folder

    def make(self, clone: Path, *targets: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs make in a clone as GitHub does, in a process group of its own."""
        preloaded = preloaded_environment()
        settings = {
            "PATH": f"{self.github.programs}{os.pathsep}{preloaded['PATH']}",
            "SOURCE_DATE_EPOCH": str(int(self.now.timestamp())),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.database}",
            "GH_TOKEN": "token",
            "GITHUB_OUTPUT": str(clone / ".git/output"),
            "GIT_COMMITTER_DATE": self.now.isoformat(),
        }
        return subprocess.run(
            ["make", "--old-file=.venv/.up-to-date", *targets],
            cwd=clone,
            env=preloaded | settings | more,
            capture_output=True,
            text=True,
            start_new_session=True,
        )

    def push(self, message: str) -> None:
        """The person commits everything, messages too, and pushes it to main."""
        self.person("git", "add", "--force", "data/inbox")
        commit_all(self.person, message)
        self.person("git", "push", "--quiet", "origin", "HEAD:main")

    def merge(self, request: dict[str, Any]) -> None:
        """The person merges a pull request."""
        pull = ("git", "pull", "--quiet", "--no-rebase", "--no-ff", "--no-edit", "origin")
        self.person(*pull, request["headRefName"])
        self.person("git", "push", "--quiet", "origin", "HEAD:main")
        self.github.set_state(request["number"], "MERGED")

    # ---- how things stand

    def git(self, *command: str) -> str:
        """The output of a Git command in origin; empty if it fails."""
        return runner(self.origin)("git", *command, check=False).stdout

    def branches(self) -> list[str]:
        """The proposals."""
        return self.git("branch", "--list", "retrain/*", "--format=%(refname:short)").split()

    def ledger(self, ref: str = "main") -> list[dict[str, Any]]:
        """The lines of the ledger at origin."""
        return [json.loads(line) for line in self.git("show", f"{ref}:ledger.jsonl").splitlines()]

    def champion(self) -> str:
        """The version that the registry's alias names; empty if there is none."""
        models = registry_client(self.database).search_registered_models(f"name = '{MODEL_NAME}'")
        return str(models[0].aliases.get("champion", "")) if models else ""

    def flaws(self) -> Iterator[str]:
        """Yields where origin, the registry and the DVC remote disagree, and what strangers did."""
        if self.marker.exists():
            yield "a command of a stranger has run"
        lines = self.ledger()
        if lines and self.champion() != lines[-1]["version"]:
            yield f"the champion is {self.champion()}, but main says {lines[-1]['version']}"
        versions = registry_client(self.database).search_model_versions(f"name = '{MODEL_NAME}'")
        hashes = {str(version.version): version.tags.get("model_hash") for version in versions}
        for ref in ("main", *self.branches()):
            for line in self.ledger(ref):
                if hashes.get(line["version"]) != line["model_hash"]:
                    yield f"{ref}: version {line['version']} is another one in the registry"
            for md5 in self.locked_md5s(ref):
                if not (self.remote / "files/md5" / md5[:2] / md5[2:]).exists():
                    yield f"{ref}: the DVC remote lacks {md5}"

    def locked_md5s(self, ref: str) -> list[str]:
        """The MD5s in dvc.lock that the DVC remote must have; reports are in Git."""
        lock = ruamel.yaml.YAML(typ="safe").load(self.git("show", f"{ref}:dvc.lock")) or {}
        outs = [out for stage in lock.get("stages", {}).values() for out in stage["outs"]]
        return [out["md5"] for out in outs if not out["path"].startswith(("reports/", MANIFEST))]
