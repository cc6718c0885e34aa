"""A world for scheduled retraining: an origin, a DVC remote, an MLflow and a person."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from pipeline.core.params import read_yaml
from pipeline.tracking.mlflow_client import MODEL_NAME
from tests.harness.small_project import (
    commit_all,
    new_project,
    registry_client,
    runner,
    set_params,
)

START = datetime(2026, 1, 5, 6, tzinfo=UTC)
Done = subprocess.CompletedProcess[str]


class World:
    """`origin.git`, the DVC remote `remote`, `mlflow.db`, and a person's clone `desk` in a folder.

    `now` is the time of whatever happens next. Only `gh` is replaced, see gh.py.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.now = START
        self.clones = 0
        self.origin = folder / "origin.git"
        self.remote = folder / "remote"
        self.database = folder / "mlflow.db"
        self.record = self.origin / "github.json"
        self.desk = folder / "desk"
        self.person = new_project(self.desk)
        set_params(self.desk, settings)
        self.person("git", "clone", "--quiet", "--bare", ".", str(self.origin))
        self.person("git", "remote", "add", "origin", str(self.origin))
        self.person("dvc", "remote", "add", "--quiet", "--default", "storage", str(self.remote))
        self.push("Params and a DVC remote")
        self.make_registry()
        (folder / "venv").mkdir()
        (folder / "bin").mkdir()
        gh = Path(__file__).with_name("gh.py")
        program = f'#!/bin/sh\nexec "{sys.executable}" "{gh}" "{self.record}" "$@"\n'
        (folder / "bin/gh").write_text(program)
        (folder / "bin/gh").chmod(0o755)

    def make_registry(self) -> None:
        """Makes an empty MLflow registry; its artifacts lie outside the clones."""
        fresh = Path(tempfile.mkdtemp(dir=self.folder)) / "mlflow.db"
        artifacts = str(self.folder / "artifacts")
        MlflowClient(f"sqlite:///{fresh}").create_experiment(MODEL_NAME, artifacts)
        fresh.replace(self.database)

    # ---- what happens

    def clone(self) -> Path:
        """A fresh clone of origin, whose virtual environment is up to date."""
        self.clones += 1
        folder = self.folder / f"clone{self.clones}"
        self.person("git", "clone", "--quiet", str(self.origin), str(folder))
        (self.folder / "venv/.up-to-date").touch()
        return folder

    def make(self, clone: Path, *targets: str, **environment: str) -> Done:
        """Runs make in a clone as GitHub does, in a process group of its own."""
        programs = (self.folder / "bin", Path(sys.executable).parent, os.environ["PATH"])
        settings = {
            "PATH": os.pathsep.join(map(str, programs)),
            "SOURCE_DATE_EPOCH": str(int(self.now.timestamp())),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.database}",
            "GH_TOKEN": "token",
            "GITHUB_OUTPUT": str(clone / ".git/output"),
        }
        for person in ("AUTHOR", "COMMITTER"):
            settings[f"GIT_{person}_NAME"] = "robot"
            settings[f"GIT_{person}_EMAIL"] = "robot@example.com"
            settings[f"GIT_{person}_DATE"] = self.now.isoformat()
        inherited = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
        return subprocess.run(
            ["make", *targets, f"VENV={self.folder / 'venv'}"],
            cwd=clone,
            env=inherited | settings | environment,
            capture_output=True,
            text=True,
            start_new_session=True,
        )

    def push(self, message: str) -> None:
        """The person commits everything and pushes it to main."""
        commit_all(self.person, message)
        self.person("git", "pull", "--quiet", "--rebase", "origin", "main")
        self.person("git", "push", "--quiet", "origin", "HEAD:main")

    def merge(self, request: dict[str, Any]) -> None:
        """The person merges a pull request."""
        self.person("git", "pull", "--quiet", "--rebase", "origin", "main")
        self.person("git", "fetch", "--quiet", "origin", request["headRefName"])
        self.person("git", "merge", "--quiet", "--no-ff", "FETCH_HEAD", "-m", request["title"])
        self.person("git", "push", "--quiet", "origin", "HEAD:main")
        record = json.loads(self.record.read_text())
        record["pr"][request["number"] - 1]["state"] = "MERGED"
        self.record.write_text(json.dumps(record))

    # ---- how things stand

    def git(self, *command: str) -> str:
        """The output of a Git command in origin; empty if it fails."""
        return runner(self.origin)("git", *command, check=False).stdout

    def branches(self) -> list[str]:
        """The proposals."""
        return self.git("branch", "--list", "retrain/*", "--format=%(refname:short)").split()

    def open(self, kind: str) -> list[dict[str, Any]]:
        """Open pull requests (`pr`) or issues (`issue`)."""
        record = json.loads(self.record.read_text()) if self.record.exists() else {}
        return [entry for entry in record.get(kind, []) if entry["state"] == "OPEN"]

    def ledger(self, ref: str = "main") -> list[dict[str, Any]]:
        """The lines of the ledger at origin."""
        return [json.loads(line) for line in self.git("show", f"{ref}:ledger.jsonl").splitlines()]

    def champion(self) -> str | None:
        """The version that the registry's alias names."""
        models = registry_client(self.database).search_registered_models(f"name = '{MODEL_NAME}'")
        number = models[0].aliases.get("champion") if models else None
        return str(number) if number else None

    def flaws(self) -> Iterator[str]:
        """Yields where origin, the registry and the DVC remote disagree."""
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
        copy = self.folder / "dvc.lock"
        copy.write_text(self.git("show", f"{ref}:dvc.lock") or "stages: {}")
        outs = [out for stage in read_yaml(copy)["stages"].values() for out in stage["outs"]]
        return [out["md5"] for out in outs if not out["path"].startswith("reports/")]
