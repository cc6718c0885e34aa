"""The contexts of a run that are known before any machine is: github, inputs, vars and secrets.

Source: https://docs.github.com/en/actions/reference/workflows-and-actions/contexts
"""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.actions import triggers
from benchmarks.actions.expressions import WorkflowError, at, to_text
from benchmarks.actions.machine import GitHub
from benchmarks.actions.triggers import Event

SERVER = "https://github.com"
ACTOR = "octocat"


def before_any_machine(
    workflow: Mapping[str, Any], path: Path, event: Event, github: GitHub
) -> dict[str, dict[str, Any]]:
    """The contexts of a new run. Raises: WorkflowError where the event starts none."""
    on = triggers.named(workflow["on"])
    by_files = event.name in ("push", "pull_request")  # and nobody says here which have changed
    if event.name not in on or not (by_files or triggers.started(on, event)):
        raise WorkflowError(f"on: this event '{event.name}' does not start it")
    with at("inputs"):
        inputs = triggers.inputs(on, event)
    payload = dict(event.payload)
    if event.name == "schedule":
        payload.setdefault("schedule", on["schedule"][0]["cron"])
    if event.name == "workflow_dispatch":
        payload["inputs"] = {name: to_text(value) for name, value in inputs.items()}
    name = workflow.get("name", f".github/workflows/{path.name}")
    known = {"event": payload, "workflow": name, **_event(event, github), **_numbers(github, name)}
    known["token"] = f"ghs_{int(known['run_id']):036}"
    secrets = {**github.secrets, "GITHUB_TOKEN": known["token"]}
    return {"github": known, "inputs": inputs, "vars": dict(github.variables), "secrets": secrets}


def _event(event: Event, github: GitHub) -> dict[str, Any]:
    pull = event.payload.get("pull_request", {})
    return {
        "actor": ACTOR,
        "base_ref": pull.get("base", {}).get("ref", ""),
        "event_name": event.name,
        "head_ref": pull.get("head", {}).get("ref", ""),
        "ref": event.ref,
        "ref_name": re.sub("^refs/(heads|tags|pull)/", "", event.ref),
        "ref_type": "tag" if event.ref.startswith("refs/tags/") else "branch",
        "repository": github.repository,
        "repository_owner": github.repository.partition("/")[0],
        "server_url": SERVER,
        "sha": event.sha or _tip(github, event.ref),
    }


def _tip(github: GitHub, ref: str) -> str:
    command = ["git", f"--git-dir={github.origin}", "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise WorkflowError(f"the repository has no '{ref}'")
    return done.stdout.strip()


def _numbers(github: GitHub, workflow: str) -> dict[str, str]:
    """The numbers of a new run, among all and among those of this workflow."""
    github.folder.mkdir(parents=True, exist_ok=True)
    with (github.folder / "runs").open("a+", encoding="utf-8") as file:
        file.seek(0)
        before = file.read().splitlines()
        file.write(f"{workflow}\n")
    number = 1 + before.count(workflow)
    return {"run_id": str(1 + len(before)), "run_number": str(number), "run_attempt": "1"}
