"""Runs a workflow of GitHub Actions on this machine: jobs one after another, step by step.

`timeout-minutes` and `concurrency` are checked and not kept: how fast this machine is says nothing about
GitHub's, and whoever calls decides what runs beside what.
"""

import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.actions import gh, marketplace
from benchmarks.actions.expressions import WorkflowError, at, evaluate, fill, parse
from benchmarks.actions.machine import GitHub, Machine, StepError
from benchmarks.actions.workflow import MAIN, Event, action, check, chosen, label, started

FILES = ("env", "path", "output", "step_summary")  # GITHUB_ENV and so on

Watch = Callable[[str, str, str | None], None]  # job, step, line; None as the step starts


@dataclass(frozen=True)
class Step:
    """How a step ended."""

    name: str
    outcome: str  # success, failure or skipped
    outputs: Mapping[str, str] = field(default_factory=dict)
    log: str = ""
    summary: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Job:
    """How a job ended; one that its `if` skipped has no steps."""

    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    run_id: str
    jobs: Mapping[str, Job]

    @property
    def success(self) -> bool:
        return all(step.outcome != "failure" for job in self.jobs.values() for step in job.steps)


def run(
    workflow: Path, event: Event, github: GitHub, folder: Path, watch: Watch = lambda job, step, line: None
) -> Result:
    """Runs all jobs, one after another, each in a new folder below `folder`, which is kept.

    watch: told of each step and of each line that it shows. What it raises ends the run at once, as the loss
    of the machine would: every process is killed, and nothing that would follow is done.

    Raises: WorkflowError.
    """
    loaded = check(workflow)
    with at(workflow.name):
        contexts = _contexts(loaded, event, github)
        jobs = {}
        for name, job in loaded["jobs"].items():
            with at("jobs"), at(name):
                jobs[name] = Job()
                if _holds(job, contexts):
                    permissions = job.get("permissions", loaded["permissions"])
                    masks = contexts["secrets"].values()
                    place = (folder / name).resolve()
                    machine = Machine(place, github, contexts["github"], permissions, masks)
                    env = _filled(loaded.get("env"), contexts)
                    jobs[name] = _job(machine, job["steps"], env, contexts, partial(watch, name))
    return Result(contexts["github"]["run_id"], jobs)


def _contexts(workflow: Mapping[str, Any], event: Event, github: GitHub) -> dict[str, dict[str, Any]]:
    """What every job sees. Raises: WorkflowError where the event starts no run that is modelled."""
    if not started(workflow["on"], event):
        raise WorkflowError(f"on: this event '{event.name}' does not start it")
    if event.name == "pull_request" or event.ref != MAIN:
        raise WorkflowError("on: a run of a pull request, or of another branch than main, is not modelled")
    for name, job in workflow["jobs"].items():
        if "strategy" in job:
            raise WorkflowError(f"jobs: {name}: strategy: it is checked, and running it is not modelled")
    inputs = chosen(workflow["on"], event)
    command = ["git", f"--git-dir={github.origin}", "rev-parse", "--verify", MAIN]
    known = {
        "actor": "octocat",
        "event": {"repository": {"private": github.private}, **event.payload},
        "event_name": event.name,
        "ref": MAIN,
        "ref_name": MAIN.removeprefix("refs/heads/"),
        "repository": "owner/name",
        "run_attempt": "1",
        "run_id": str(time.time_ns()),
        "server_url": "https://github.com",
        "sha": subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(),
        "token": f"ghs_{uuid.uuid4().hex}",
    }
    secrets = {**github.secrets, "GITHUB_TOKEN": known["token"]}
    return {"github": known, "inputs": inputs, "secrets": secrets}


def _holds(holder: Mapping[str, Any], contexts: Mapping[str, Any]) -> bool:
    """Whether the `if:` of a job or of a step lets it run."""
    return "if" not in holder or bool(evaluate(parse(holder["if"]), contexts))


def _filled(values: Mapping[str, Any] | None, contexts: Mapping[str, Any]) -> dict[str, Any]:
    """What the texts of an `env:` or a `with:` come to now."""
    items = (values or {}).items()
    return {key: fill(value, contexts) if isinstance(value, str) else value for key, value in items}


def _job(
    machine: Machine,
    steps: list[Mapping[str, Any]],
    env: Mapping[str, str],
    contexts: Mapping[str, Any],
    watch: Callable[[str, str | None], None],
) -> Job:
    """Runs the steps; those after one that fails are skipped, as none can say otherwise."""
    ended: list[Step] = []
    seen: dict[str, Any] = {**contexts, "steps": {}}
    failed = False
    try:
        for number, step in enumerate(steps, start=1):
            with at("steps"), at(number), at(label(step)):
                seen["env"] = {**env, **machine.exported}
                seen["env"] |= _filled(step.get("env"), seen)
                if failed or not _holds(step, seen):
                    ended.append(Step(label(step), "skipped"))
                    continue
                machine.log, machine.watch = [], partial(watch, label(step))
                watch(label(step), None)
                ended.append(_step(machine, number, step, seen))
                failed = ended[-1].outcome == "failure"
    finally:
        machine.close()
    return Job(tuple(ended))


def _step(machine: Machine, number: int, step: Mapping[str, Any], seen: Mapping[str, Any]) -> Step:
    start, outcome = time.monotonic(), "success"
    files = {kind: machine.temp / f"{kind}_{number}" for kind in FILES}
    for path in files.values():
        path.touch()
    try:
        if "run" in step:
            _script(machine, step["run"], seen["env"], files)
        else:
            marketplace.RUN[action(step)](machine, _filled(step.get("with"), seen))
    except StepError as error:
        outcome = "failure"
        machine.say(f"##[error]{error}")
    if (refused := machine.tools / gh.UNMODELLED).exists():
        raise WorkflowError(refused.read_text(encoding="utf-8"))
    written = {kind: path.read_text(encoding="utf-8") for kind, path in files.items()}
    machine.exported |= _assignments(written["env"])
    machine.path[:0] = reversed(written["path"].splitlines())
    outputs = _assignments(written["output"])
    if "id" in step:
        seen["steps"][step["id"]] = {"outputs": outputs}
    shown = {key: machine.masked(value) for key, value in outputs.items()}
    summary, log = machine.masked(written["step_summary"]), "\n".join(machine.log)
    return Step(label(step), outcome, shown, log, summary, time.monotonic() - start)


def _script(machine: Machine, line: str, env: Mapping[str, str], files: Mapping[str, Path]) -> None:
    script = machine.temp / "script.sh"
    script.write_text(line, encoding="utf-8")
    own = {f"GITHUB_{kind.upper()}": str(path) for kind, path in files.items()}
    if code := machine.execute(["bash", "-e", script], machine.environment(env) | own):
        raise StepError(f"Process completed with exit code {code}.")


def _assignments(written: str) -> dict[str, str]:
    """What GITHUB_ENV or GITHUB_OUTPUT says, in lines of `name=value`."""
    found = {}
    for line in filter(None, written.split("\n")):
        name, equals, found[name] = line.partition("=")
        if not equals or "<<" in name:
            raise WorkflowError(f"{line!r}, for GITHUB_ENV or GITHUB_OUTPUT, is not modelled")
    return found
