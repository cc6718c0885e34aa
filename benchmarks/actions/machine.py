"""The machine on which one job of a workflow runs: its folders, its processes, and what it must not show."""

import contextlib
import os
import re
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.actions import gh
from benchmarks.actions.expressions import WorkflowError
from benchmarks.actions.workflow import GITHUB

PAUSE = 0.05  # seconds for a process to be gone


class StepError(Exception):
    """A step fails, with what GitHub shows of it."""


@dataclass(frozen=True)
class GitHub:
    """Stands in for GitHub: all that outlives a job."""

    origin: Path  # a bare repository
    folder: Path  # caches, artifacts, pull requests and issues lie in it
    secrets: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)  # of every machine, as PATH; HOME is its own
    private: bool = True  # the repository, which not everybody may read

    @property
    def caches(self) -> Path:
        """Whoever empties it evicts all caches."""
        return self.folder / "caches"

    @property
    def record(self) -> Path:
        """Where pull requests, issues and labels lie: `gh.read` reads it."""
        return self.folder / "github.json"

    def artifact(self, run_id: str, name: str) -> Path:
        """The folder that an artifact is."""
        return self.folder / "artifacts" / run_id / name


@dataclass
class Machine:
    """A machine of one job, with nothing on it but what `GitHub.environment` names."""

    folder: Path  # new, of this machine alone
    hub: GitHub
    context: Mapping[str, Any]  # `github`
    permissions: Mapping[str, str]  # of the job's token
    masks: Iterable[str]  # never shown
    watch: Callable[[str], None] = print  # told of each line; what it raises kills the process that wrote it
    log: list[str] = field(default_factory=list)  # of the step that runs
    exported: dict[str, str] = field(default_factory=dict)  # through GITHUB_ENV
    path: list[str] = field(default_factory=list)  # through GITHUB_PATH, what came last first

    def __post_init__(self) -> None:
        names = ("workspace", "home", "temp", "tools")
        self.workspace, self.home, self.temp, self.tools = (self.folder / name for name in names)
        for folder in (self.workspace, self.home, self.temp):
            folder.mkdir(parents=True)
        self.hub.folder.mkdir(parents=True, exist_ok=True)
        config = "[user]\n\tuseConfigOnly = true\n"  # there, a commit without a name fails
        (self.home / ".gitconfig").write_text(config, encoding="utf-8")
        gh.install(self.tools, self.hub.record, self.hub.origin, self.context["token"], self.permissions)
        self.tracking = f"github_{uuid.uuid4()}"

    def may(self, scope: str, level: str) -> bool:
        """Whether the job's token has a permission."""
        return self.permissions.get(scope) in (level, "write")

    # ---- what is shown

    def masked(self, text: str) -> str:
        """The text without the values of secrets."""
        hidden = {line for mask in self.masks for line in mask.splitlines() if line.strip()}
        for line in sorted(hidden, key=len, reverse=True):
            text = text.replace(line, "***")
        return text

    def say(self, line: str) -> None:
        """Shows a line of the step that runs. Raises: WorkflowError where it is a command to the runner."""
        if command := re.match(r"\s*::[\w-]+[^:]*::", line):
            raise WorkflowError(f"the workflow command '{command[0].strip()}' is not modelled")
        self.log.append(self.masked(line))
        self.watch(self.log[-1])

    # ---- processes

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """What a process finds, for a step with that `env`."""
        own = {f"GITHUB_{name.upper()}": self.context[name] for name in GITHUB}
        own |= {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(self.workspace)}
        own |= {"RUNNER_TRACKING_ID": self.tracking}
        base = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "CI": "true"}
        found = {**base, **self.hub.environment, "HOME": str(self.home), **env, **own}
        return found | {"PATH": os.pathsep.join([str(self.tools), *self.path, found["PATH"]])}

    def execute(self, command: Sequence[str | Path], env: Mapping[str, str]) -> int:
        """The exit code of a command in the workspace, once all that it started has closed its output."""
        with subprocess.Popen(
            command,
            cwd=self.workspace,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                for line in process.stdout or ():
                    self.say(line.decode(errors="replace").rstrip("\r\n"))
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return process.returncode

    def close(self) -> None:
        """Kills whatever the job has left running, in whichever session."""
        found = True
        while found:
            found = False
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error, OSError):
                    if process.environ().get("RUNNER_TRACKING_ID") == self.tracking:
                        found = True
                        process.kill()
                        process.wait(PAUSE)
