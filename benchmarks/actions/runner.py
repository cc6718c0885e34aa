"""Runs a workflow of GitHub Actions on this machine: jobs one after another, step by step.

Source: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax
"""

import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.actions import expressions, gh, marketplace
from benchmarks.actions.catalogue import ACTIONS
from benchmarks.actions.contexts import before_any_machine
from benchmarks.actions.expressions import Value, WorkflowError, at, condition, template, to_text, truth
from benchmarks.actions.machine import GitHub, Machine, OutOfTimeError, StepError
from benchmarks.actions.triggers import Event
from benchmarks.actions.values import scalar
from benchmarks.actions.workflow import VARIABLES, action, check, combinations, label, needs, order

JOB_MINUTES = 360  # where a job does not say
CANCELLED_MINUTES = 5  # for the steps that run nevertheless
SUMMARY_BYTES = 1 << 20  # of one step; GitHub shows none that is larger
RESTRICTED = {"contents": "read", "packages": "read"}  # permissions where a workflow names none
FILES = ("env", "path", "output", "step_summary")  # GITHUB_ENV and so on

Watch = Callable[[str, str, str | None], None]  # job, step, line; None as the step starts


@dataclass(frozen=True)
class Step:
    """How a step ended; `conclusion` is the outcome but for continue-on-error."""

    name: str
    outcome: str  # success, failure, cancelled or skipped
    conclusion: str
    outputs: Mapping[str, str] = field(default_factory=dict)
    log: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Job:
    """How a job ended."""

    result: str  # success, failure, cancelled or skipped
    outputs: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    summary: str = ""

    def step(self, name: str) -> Step:
        """The step of that name; one without a name is called `Run` and its first line."""
        return next(step for step in self.steps if step.name == name)


@dataclass(frozen=True)
class Result:
    """How a run ended; a job of a matrix is called as in `test (3.11)`."""

    run_id: str
    jobs: Mapping[str, Job]

    @property
    def success(self) -> bool:
        return all(job.result in ("success", "skipped") for job in self.jobs.values())

    @property
    def summary(self) -> str:
        return "".join(job.summary for job in self.jobs.values())


@dataclass(frozen=True)
class _Run:
    workflow: Mapping[str, Any]
    github: GitHub
    contexts: Mapping[str, Any]
    folder: Path
    watch: Watch
    minute: float


def run(
    workflow: Path,
    event: Event,
    github: GitHub,
    folder: Path,
    watch: Watch = lambda job, step, line: None,
    minute: float = 60.0,
) -> Result:
    """Runs all jobs, one after another, each in a new folder below `folder`, which is kept.

    watch: told of each step and of each line that it shows. What it raises ends the run at once, as the loss
    of the machine would: every process is killed, and nothing that would follow is done.
    minute: seconds of a minute of `timeout-minutes`.

    Raises: WorkflowError.
    """
    loaded = check(workflow)
    with at(workflow.name):
        contexts = before_any_machine(loaded, workflow, event, github)
        new = _Run(loaded, github, contexts, folder, watch, minute)
        jobs: dict[str, Job] = {}
        ended: dict[str, Job] = {}  # a job of a matrix as one
        for name in order(loaded["jobs"]):
            with at("jobs"), at(f"'{name}'"):
                runs = _runs(new, name, ended)
                jobs |= runs
                ended[name] = _as_one(runs.values())
    return Result(contexts["github"]["run_id"], jobs)


# ---- jobs


def _runs(new: _Run, name: str, ended: Mapping[str, Job]) -> dict[str, Job]:
    """The jobs of one name: one, or as many as its matrix has combinations."""
    job = new.workflow["jobs"][name]
    before = [ended[other].result for other in _ancestors(name, new.workflow["jobs"])]
    contexts = {**new.contexts, "needs": {other: vars(ended[other]) for other in needs(job)}}
    wanted = condition(scalar(job.get("if", "success()")))
    if not truth(expressions.evaluate(wanted, contexts, _status(before))):
        return {name: Job("skipped")}
    jobs: dict[str, Job] = {}
    fast = job.get("strategy", {}).get("fail-fast", True)
    for matrix in combinations(job):
        called = f"{name} ({', '.join(map(scalar, matrix.values()))})" if matrix else name
        failed = any(other.result != "success" for other in jobs.values())
        cancelled = Job("cancelled") if fast and failed else None
        jobs[called] = cancelled or _job(new, name, called, {**contexts, "matrix": matrix})
    return jobs


def _as_one(jobs: Iterable[Job]) -> Job:
    """What `needs` sees of the jobs of a matrix: the worst result, and of each output the last."""
    results = [job.result for job in jobs]
    worst = next(result for result in ("failure", "cancelled", "success", "skipped") if result in results)
    return Job(worst, {name: value for job in jobs for name, value in job.outputs.items()})


def _ancestors(name: str, jobs: Mapping[str, Any]) -> set[str]:
    direct = set(needs(jobs[name]))
    return direct.union(*(_ancestors(other, jobs) for other in direct))


def _status(results: list[str]) -> dict[str, Callable[..., Value]]:
    """The status functions, after what has ended so."""
    return {
        "always": lambda: True,
        "cancelled": lambda: "cancelled" in results,
        "failure": lambda: "failure" in results,
        "success": lambda: set(results) <= {"success"},
    }


@dataclass
class _Running:
    """A job at work: what its steps see, and what they have left."""

    new: _Run
    called: str
    machine: Machine
    contexts: dict[str, Any]
    status: str = "success"
    steps: list[Step] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)

    def value(self, written: Any) -> Value:
        """What a value of the file comes to now."""
        if not isinstance(written, str):
            return float(written) if type(written) is int else written
        functions = {**_status([self.status]), "hashFiles": self.machine.hash_files}
        return expressions.fill(template(written), self.contexts, functions)

    def holds(self, written: Any) -> bool:
        """Whether an `if:` lets a step run now."""
        functions = {**_status([self.status]), "hashFiles": self.machine.hash_files}
        return truth(expressions.evaluate(condition(scalar(written)), self.contexts, functions))

    def texts(self, env: Any) -> dict[str, str]:
        """What an `env:` comes to now."""
        return {name: to_text(self.value(written)) for name, written in (env or {}).items()}

    def show(self, step: str) -> None:
        """What is said from now on is said of that step."""
        self.machine.log = []
        self.machine.watch = partial(self.new.watch, self.called, step)
        self.new.watch(self.called, step, None)


def _job(new: _Run, name: str, called: str, contexts: Mapping[str, Any]) -> Job:
    """Runs a job on a machine of its own, which is gone at the end."""
    job = new.workflow["jobs"][name]
    running = _prepared(new, name, called, contexts)
    machine = running.machine
    env = running.texts(new.workflow.get("env")) | running.texts(job.get("env"))
    try:
        for number, step in enumerate(job["steps"], start=1):
            with at("steps"), at(f"step {number} ({label(step)})"):
                _step(running, number, step, env | machine.exported)
        for what, save in reversed(machine.later if running.status == "success" else []):
            running.show(f"Post {what}")
            save()
            running.steps.append(Step(f"Post {what}", "success", "success", log="\n".join(machine.log)))
        running.contexts["env"] = env | machine.exported
        outputs = running.texts(job.get("outputs"))
    finally:
        machine.close()
    passed = {key: text for key, text in outputs.items() if text == machine.masked(text)}  # no secret leaves
    return Job(running.status, passed, tuple(running.steps), "".join(running.summary))


def _prepared(new: _Run, name: str, called: str, contexts: Mapping[str, Any]) -> _Running:
    job = new.workflow["jobs"][name]
    folder = (new.folder / re.sub(r"[^\w.-]+", "_", called)).resolve()
    permissions = job.get("permissions", new.workflow.get("permissions", RESTRICTED)) or {}
    github = {**contexts["github"], "job": name, "workspace": str(folder / "workspace")}
    runner = {"os": "Linux", "temp": str(folder / "temp")}
    seen = {**contexts, "github": github, "runner": runner, "steps": {}, "env": {}}
    masks = list(contexts["secrets"].values())
    machine = Machine(folder, new.github, github, permissions, masks, math.inf, new.minute)
    (machine.temp / "event.json").write_text(json.dumps(github["event"]), encoding="utf-8")
    running = _Running(new, called, machine, seen)
    machine.deadline = time.monotonic() + _minutes(running, job, JOB_MINUTES) * new.minute
    return running


def _minutes(running: _Running, holder: Mapping[str, Any], default: float) -> float:
    minutes = running.value(holder.get("timeout-minutes", default))
    if not isinstance(minutes, float) or not minutes > 0:
        raise WorkflowError(f"timeout-minutes: a number is needed, not '{to_text(minutes)}'")
    return minutes


# ---- steps


def _step(running: _Running, number: int, step: Mapping[str, Any], outer: Mapping[str, str]) -> None:
    running.contexts["env"] = outer
    env = {**outer, **running.texts(step.get("env"))}
    running.contexts["env"] = env
    name = to_text(running.value(step["name"])) if "name" in step else label(step)
    if running.holds(step.get("if", "success()")):
        ended = _carried_out(running, number, step, name)
    else:
        ended = Step(name, "skipped", "skipped")
    if "id" in step:
        conclusion = {"outcome": ended.outcome, "conclusion": ended.conclusion}
        running.contexts["steps"][step["id"]] = {**conclusion, "outputs": ended.outputs}
    if ended.conclusion in ("failure", "cancelled") and running.status != "cancelled":
        running.status = ended.conclusion
    shown = {key: running.machine.masked(value) for key, value in ended.outputs.items()}
    running.steps.append(replace(ended, outputs=shown))


def _carried_out(running: _Running, number: int, step: Mapping[str, Any], name: str) -> Step:
    machine = running.machine
    running.show(name)
    start = time.monotonic()
    machine.until = start + _minutes(running, step, math.inf) * machine.minute
    outputs: dict[str, str] = {}
    outcome = "success"
    try:
        if "run" in step:
            _script(running, number, step, outputs)
        else:
            _use(running, step, outputs)
    except StepError as error:
        outcome = "failure"
        machine.say(f"##[error]{error}")
    except OutOfTimeError:
        outcome = "failure"
        if time.monotonic() >= machine.deadline:
            outcome = "cancelled"
            machine.deadline = time.monotonic() + CANCELLED_MINUTES * machine.minute
        machine.say("##[error]The step has timed out, or its job has")
    if unmodelled := gh.unmodelled(machine.hub.record):
        raise WorkflowError(unmodelled)
    conclusion = "success" if outcome == "failure" and _forgiven(running, step) else outcome
    seconds = time.monotonic() - start
    return Step(name, outcome, conclusion, outputs, "\n".join(machine.log), seconds)


def _forgiven(running: _Running, step: Mapping[str, Any]) -> bool:
    forgiven = running.value(step.get("continue-on-error", False))
    if not isinstance(forgiven, bool):
        raise WorkflowError(f"continue-on-error: true or false is needed, not '{to_text(forgiven)}'")
    return forgiven


def _use(running: _Running, step: Mapping[str, Any], outputs: dict[str, str]) -> None:
    given = running.texts(step.get("with"))
    for name, value in given.items():
        with at("with"), at(name):
            ACTIONS[action(step)].inputs[name](value)
    marketplace.RUN[action(step)](running.machine, given, outputs)


def _script(running: _Running, number: int, step: Mapping[str, Any], outputs: dict[str, str]) -> None:
    machine = running.machine
    files = {name: machine.temp / f"{name}_{number}" for name in FILES}
    for path in files.values():
        path.touch()
    script = machine.temp / f"{number}.sh"
    script.write_text(to_text(running.value(step["run"])), encoding="utf-8")
    shell = step.get("shell", running.new.workflow.get("defaults", {}).get("run", {}).get("shell"))
    options = ("--noprofile", "--norc", "-eo", "pipefail") if shell == "bash" else ("-e",)
    env = machine.environment(running.contexts["env"])
    env |= {f"GITHUB_{name.upper()}": str(path) for name, path in files.items()}
    code, late = 0, False
    try:
        code = machine.execute(["bash", *options, script], env)
    except OutOfTimeError:
        late = True
    _take(running, files, outputs)
    if late:
        raise OutOfTimeError
    if code:
        raise StepError(f"Process completed with exit code {code}.")


def _take(running: _Running, files: Mapping[str, Path], outputs: dict[str, str]) -> None:
    """Honours what a step has written into the files of GITHUB_OUTPUT and so on."""
    machine = running.machine
    exported = _assignments("env", files["env"])
    if own := exported.keys() & {*VARIABLES, "NODE_OPTIONS"}:
        raise WorkflowError(f"GITHUB_ENV: GitHub does not let a step set '{min(own)}'")
    machine.exported |= exported
    for line in files["path"].read_text(encoding="utf-8").splitlines():
        machine.path[:0] = [line] if line else []
    outputs |= _assignments("output", files["output"])
    summary = files["step_summary"].read_bytes()
    if len(summary) > SUMMARY_BYTES:
        machine.say(f"##[error]GITHUB_STEP_SUMMARY has {len(summary)} bytes, and may have {SUMMARY_BYTES}")
    else:
        running.summary.append(machine.masked(summary.decode(errors="replace")))


def _assignments(what: str, path: Path) -> dict[str, str]:
    """What a file says, in lines of `name=value` and in blocks from `name<<END` to a line `END`.

    Raises: StepError.
    """
    found = {}
    lines = iter(path.read_text(encoding="utf-8").split("\n"))
    for line in filter(None, lines):
        match = re.fullmatch(r"(.+?)(?:=(.*)|<<(.+))", line)
        if not match:
            raise StepError(f"Unable to process file command '{what}' successfully. Invalid format '{line}'")
        found[match[1]] = match[2] if match[3] is None else "\n".join(_block(what, match[3], lines))
    return found


def _block(what: str, end: str, lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line == end:
            return
        yield line
    problem = f"Matching delimiter not found '{end}'"
    raise StepError(f"Unable to process file command '{what}' successfully. {problem}")
