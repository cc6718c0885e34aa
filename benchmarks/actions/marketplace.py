"""Stands in for the four actions of GitHub's own that a workflow may use, in their versions of 2025.

Each takes the machine and what stands in `with:`, and fills the outputs. It raises a StepError where the real
one fails, and a WorkflowError at what the real one might take and this one does not model.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from benchmarks.actions.catalogue import lines
from benchmarks.actions.expressions import WorkflowError
from benchmarks.actions.machine import Machine, StepError

REFUSED = "/403/Permission to {} denied to github-actions"  # where a push goes that GitHub refuses

Given = Mapping[str, str]
Outputs = dict[str, str]


# ---- actions/checkout


def checkout(machine: Machine, given: Given, outputs: Outputs) -> None:
    """A clone at the event's commit, or at `ref`; without history where `fetch-depth` is not 0."""
    if not machine.may("contents", "read"):  # as at a private repository
        raise StepError(f"repository '{machine.hub.repository}' not found: permissions: contents is missing")
    git = partial(_git, machine)
    if (machine.workspace / ".git").is_dir():
        git("clean", "-ffdx")
        git("reset", "--hard", "--quiet")
    else:
        _empty(machine.workspace)
        git("init", "--quiet")
        git("remote", "add", "origin", machine.hub.origin.resolve().as_uri())
    ref, commit = _commit(machine, given.get("ref", ""))
    depth = given.get("fetch-depth", "1")
    limits = [] if depth == "0" else ["--no-tags", f"--depth={depth}"]
    if depth == "0":
        git("fetch", "--quiet", "origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
    _switch(machine, ref, commit, limits)
    if given.get("persist-credentials") == "false" or not machine.may("contents", "write"):
        git("config", "remote.origin.pushurl", REFUSED.format(machine.hub.repository))
    outputs.update(ref=given.get("ref") or machine.context["ref"], commit=commit)


def _switch(machine: Machine, ref: str, commit: str, limits: list[str]) -> None:
    """Fetches the commit, and checks it out as what `ref` is: a branch, or detached."""
    kind, _, name = ref.removeprefix("refs/").partition("/")
    tracking = {"heads": f"refs/remotes/origin/{name}", "pull": f"refs/remotes/pull/{name}", "tags": ref}
    local = tracking.get(kind)
    _git(machine, "fetch", "--quiet", *limits, "origin", f"+{commit}:{local}" if local else commit)
    how = ["-B", name] if kind == "heads" else ["--detach"]
    _git(machine, "checkout", "--quiet", "--force", *how, local or commit)


def _commit(machine: Machine, asked: str) -> tuple[str, str]:
    """The full name of what was asked for, empty where it is a commit; and its commit now."""
    if not asked:
        return machine.context["ref"], machine.context["sha"]
    candidates = [asked] if asked.startswith("refs/") else [f"refs/heads/{asked}", f"refs/tags/{asked}"]
    for ref in [*candidates, *([asked] if re.fullmatch("[0-9a-f]{40}", asked) else [])]:
        command = ["git", f"--git-dir={machine.hub.origin}", "rev-parse", "--verify", "--quiet"]
        done = subprocess.run([*command, f"{ref}^{{commit}}"], capture_output=True, text=True)
        if done.returncode == 0:
            return ref if ref in candidates else "", done.stdout.strip()
    raise StepError(f"A branch or tag with the name '{asked}' could not be found")


def _git(machine: Machine, *arguments: str) -> None:
    if code := machine.execute(["git", *arguments], machine.environment({})):
        raise StepError(f"The process 'git' failed with exit code {code}")


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


# ---- actions/setup-python


def setup_python(machine: Machine, given: Given, outputs: Outputs) -> None:
    """Changes nothing: the Python is what the machine has. Checks what the real one would."""
    if "cache" in given:
        default = "**/requirements.txt\n**/pyproject.toml"
        patterns = lines(given.get("cache-dependency-path", default))
        if not machine.hash_files(*patterns):
            problem = f"No file in {machine.workspace} matched to [{' or '.join(patterns)}]"
            raise StepError(f"{problem}, make sure you have checked out the target repository")
    outputs["python-version"] = given["python-version"]


# ---- actions/cache


def cache(machine: Machine, given: Given, outputs: Outputs) -> None:
    """Restores what is nearest to the key; saves at the end of a job that succeeds, but for an exact hit."""
    key, restore = given["key"], lines(given.get("restore-keys", ""))
    if any(len(name) > 512 or "," in name for name in (key, *restore)):
        raise StepError("Key Validation Error: a key has a comma, or more than 512 characters")
    located = [_located(machine, line) for line in lines(given["path"])]
    paths = [os.path.relpath(path, machine.workspace) for path in located]  # as on another machine
    version = "\n".join(paths)  # other paths are another cache
    found = _nearest(machine, version, (key, *restore))
    if found is None:
        machine.say(f"Cache not found for input keys: {', '.join((key, *restore))}")
    else:
        entry, hit = found
        subprocess.run(["tar", "-C", machine.workspace, "-Pxf", entry.with_suffix(".tar")], check=True)
        machine.say(f"Cache restored from key: {hit}")
        outputs["cache-hit"] = str(hit == key).lower()
    if outputs.get("cache-hit") != "true":
        machine.later.append((f"cache {key}", lambda: _save(machine, key, version, paths)))


def _entries(machine: Machine) -> list[Path]:
    """The caches, the newest first."""
    return sorted(machine.hub.caches.glob("*.json"), key=lambda path: int(path.stem), reverse=True)


def _nearest(machine: Machine, version: str, keys: tuple[str, ...]) -> tuple[Path, str] | None:
    """The cache of a key, or the newest that begins with it; of this branch, of its base, of the default."""
    entries = [(path, json.loads(path.read_text(encoding="utf-8"))) for path in _entries(machine)]
    head = f"--git-dir={machine.hub.origin}", "symbolic-ref", "HEAD"
    default = subprocess.run(["git", *head], check=True, capture_output=True, text=True).stdout.strip()
    for ref in (machine.context["ref"], f"refs/heads/{machine.context['base_ref']}", default):
        for key in keys:
            for fits in (str.__eq__, str.startswith):
                for path, entry in entries:
                    if entry["ref"] == ref and entry["version"] == version and fits(entry["key"], key):
                        return path, entry["key"]
    return None


def _save(machine: Machine, key: str, version: str, paths: list[str]) -> None:
    there = [path for path in paths if (machine.workspace / path).exists()]
    entry = {"key": key, "version": version, "ref": machine.context["ref"]}
    if not there:
        machine.say("##[warning]Path Validation Error: no path exists, hence no cache is being saved")
    elif entry in [json.loads(path.read_text(encoding="utf-8")) for path in _entries(machine)]:
        machine.say(f"Failed to save: another job has made the cache {key}")
    else:
        machine.hub.caches.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(path.stem) for path in _entries(machine)), default=0)
        archive = machine.hub.caches / f"{number}.tar"
        subprocess.run(["tar", "-C", machine.workspace, "-Pcf", archive, "--", *there], check=True)
        archive.with_suffix(".json").write_text(json.dumps(entry), encoding="utf-8")
        machine.say(f"Cache saved with key: {key}")


def _located(machine: Machine, path: str) -> Path:
    """Where a path of an input lies: on the machine, and not elsewhere on the one that stands in for it."""
    whole = Path(os.path.normpath(machine.workspace / re.sub("^~(?=/|$)", str(machine.home), path)))
    if not whole.is_relative_to(machine.folder):
        raise WorkflowError(f"path: '{path}' is neither in the workspace, in ~ nor in runner.temp")
    return whole


# ---- actions/upload-artifact


def upload_artifact(machine: Machine, given: Given, outputs: Outputs) -> None:
    """Copies the files to where artifacts lie; none that is hidden, or below a hidden folder."""
    name = given["name"]
    absent = given.get("if-no-files-found", "warn")
    if re.search(r'["<>|*?:\r\n\\/]', name):
        raise StepError(f"The artifact name is not valid: {name}")
    paths = [_located(machine, line) for line in lines(given["path"])]
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    root = Path(os.path.commonpath(paths))
    root = root if root.is_dir() else root.parent
    shown = [file for file in files if file.is_file() and not _hidden(machine, file)]
    if not shown:
        if absent == "error":
            raise StepError(f"No files were found with the provided path: {given['path']}")
        machine.say(f"{'##[warning]' * (absent == 'warn')}No files were found; no artifact is uploaded")
        return
    target = machine.hub.artifact(machine.context["run_id"], name)
    if target.exists():
        raise StepError("(409) Conflict: an artifact with this name already exists on the workflow run")
    for file in shown:
        copy = target / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)
    run = f"{machine.hub.repository}/actions/runs/{machine.context['run_id']}"
    number = len(list(target.parent.iterdir()))
    outputs["artifact-url"] = f"{machine.context['server_url']}/{run}/artifacts/{number}"


def _hidden(machine: Machine, file: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(machine.folder).parts)


RUN: dict[str, Callable[[Machine, Given, Outputs], None]] = {
    "actions/cache": cache,
    "actions/checkout": checkout,
    "actions/setup-python": setup_python,
    "actions/upload-artifact": upload_artifact,
}
