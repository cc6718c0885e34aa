"""Stands in for the five actions of GitHub's own that the workflows use, in their versions of 2025.

Each takes the machine and what stands in `with:`, and raises a StepError where the real one fails.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.actions.expressions import WorkflowError
from benchmarks.actions.machine import Machine, StepError
from benchmarks.actions.workflow import MAIN, lines

REFUSED = "/403/Permission to owner/name denied to github-actions"  # where a push goes that GitHub refuses

Given = Mapping[str, Any]


def checkout(machine: Machine, given: Given) -> None:
    """A clone at the run's commit, on its branch; without history where `fetch-depth` is not 0."""
    if not machine.may("contents", "read"):  # as at a private repository
        raise StepError("Not Found: the permission 'contents: read' is missing")
    git = partial(_git, machine)
    if list(machine.workspace.iterdir()):
        raise WorkflowError("a checkout into a workspace that is not empty is not modelled")
    git("init", "--quiet")
    git("remote", "add", "origin", machine.hub.origin.resolve().as_uri())
    limits = ["--no-tags", "--depth=1"]
    if given.get("fetch-depth") == 0:
        limits = []
        git("fetch", "--quiet", "origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
    branch = MAIN.removeprefix("refs/heads/")
    remote = f"refs/remotes/origin/{branch}"
    git("fetch", "--quiet", *limits, "origin", f"+{machine.context['sha']}:{remote}")
    git("checkout", "--quiet", "-B", branch, remote)
    if not given.get("persist-credentials", True) or not machine.may("contents", "write"):
        git("config", "remote.origin.pushurl", REFUSED)


def _git(machine: Machine, *arguments: str) -> None:
    if code := machine.execute(["git", *arguments], machine.environment({})):
        raise StepError(f"The process 'git' failed with exit code {code}")


def setup_python(machine: Machine, given: Given) -> None:
    """Changes nothing: the Python is what the machine has. Checks what the real one would."""
    files = lines(given["cache-dependency-path"])
    if not any((machine.workspace / file).is_file() for file in files):
        raise StepError(f"No file matched to [{' or '.join(files)}], make sure you have checked out")


def cache_restore(machine: Machine, given: Given) -> None:
    """Restores what is nearest to the key."""
    keys = (given["key"], *lines(given["restore-keys"]))
    found = next(filter(None, (_nearest(machine.hub.caches, _name(given, key)) for key in keys)), None)
    if found:
        subprocess.run(["tar", "-C", machine.workspace, "-xf", found], check=True)
    machine.say(f"Cache {'restored' if found else 'not found'} for input keys: {', '.join(keys)}")


def cache_save(machine: Machine, given: Given) -> None:
    """Saves what is there, unless the key is taken."""
    archive = machine.hub.caches / f"{_name(given, given['key'])}.tar"
    there = [path for path in lines(given["path"]) if (machine.workspace / path).exists()]
    if there and not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        unfinished = archive.with_suffix(".part")  # a run beside this one looks for caches too
        subprocess.run(["tar", "-C", machine.workspace, "-cf", unfinished, "--", *there], check=True)
        unfinished.rename(archive)


def _name(given: Given, key: str) -> str:
    """Of a cache: other paths are another one."""
    paths = "\n".join(lines(given["path"]))
    return f"{hashlib.sha256(paths.encode()).hexdigest()[:16]}-{quote(key, safe='')}"


def _nearest(caches: Path, name: str) -> Path | None:
    """The cache of that name, or the newest that begins with it."""
    alike = [path for path in caches.glob("*.tar") if path.stem.startswith(name)]
    return max(alike, key=lambda path: (path.stem == name, path.stat().st_mtime_ns), default=None)


def upload_artifact(machine: Machine, given: Given) -> None:
    """Copies the files to where artifacts lie; none that is hidden, or below a hidden folder."""
    paths = [machine.workspace / line for line in lines(given["path"])]
    root = Path(os.path.commonpath(paths))
    root = root if root.is_dir() else root.parent
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    shown = [file for file in files if file.is_file() and not _hidden(file.relative_to(machine.workspace))]
    target = machine.hub.artifact(machine.context["run_id"], given["name"])
    if not shown:
        machine.say("##[warning]No files were found; no artifact is uploaded")
    elif target.exists():
        raise StepError("(409) Conflict: an artifact with this name already exists on the workflow run")
    for file in shown:
        copy = target / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


RUN: dict[str, Callable[[Machine, Given], None]] = {
    "actions/cache/restore": cache_restore,
    "actions/cache/save": cache_save,
    "actions/checkout": checkout,
    "actions/setup-python": setup_python,
    "actions/upload-artifact": upload_artifact,
}
