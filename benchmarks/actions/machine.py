"""The machine on which one job of a workflow runs: its folders, its processes, and what it must not show."""

import contextlib
import hashlib
import math
import os
import re
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from benchmarks.actions import gh
from benchmarks.actions.expressions import WorkflowError
from benchmarks.actions.values import file_glob
from benchmarks.actions.workflow import GITHUB

PAUSE = 0.05  # seconds between two looks at a process
GRACE = ((signal.SIGINT, 7.5 / 60), (signal.SIGTERM, 2.5 / 60))  # minutes for a process whose time is up
COMMAND = re.compile(r"\s*::([\w-]+)(?: [^:]*)?::(.*)")  # in a step's output
SHOWN = ("debug", "endgroup", "error", "group", "notice", "warning")


class StepError(Exception):
    """A step fails, with what GitHub shows of it."""


class OutOfTimeError(Exception):
    """A step's time is up, or its job's."""


@dataclass(frozen=True)
class GitHub:
    """Stands in for GitHub: all that outlives a job."""

    origin: Path  # a bare repository
    folder: Path  # caches, artifacts, pull requests and issues lie in it
    secrets: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    repository: str = "owner/name"
    environment: Mapping[str, str] = field(default_factory=dict)  # of every machine, as PATH; HOME is its own
    may_open_pull_requests: bool = True  # the repository's setting; a new one's is False

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
    masks: list[str]  # never shown
    deadline: float  # of the job, by time.monotonic
    minute: float  # seconds
    until: float = math.inf  # as the deadline, of the step that runs
    watch: Callable[[str], None] = print  # told of each line; what it raises kills the process that wrote it
    log: list[str] = field(default_factory=list)  # of the step that runs
    exported: dict[str, str] = field(default_factory=dict)  # through GITHUB_ENV
    path: list[str] = field(default_factory=list)  # through GITHUB_PATH, what came last first
    later: list[tuple[str, Callable[[], None]]] = field(default_factory=list)  # when the job succeeds
    tracking: str = field(default_factory=lambda: f"github_{uuid.uuid4()}")

    def __post_init__(self) -> None:
        for folder in (self.workspace, self.home, self.temp):
            folder.mkdir(parents=True)
        config = "[user]\n\tuseConfigOnly = true\n"  # there, a commit without a name fails
        (self.home / ".gitconfig").write_text(config, encoding="utf-8")
        tokens: dict[str, Mapping[str, str] | None] = {gh.hashed(secret): None for secret in self.masks}
        tokens[gh.hashed(self.context["token"])] = self.permissions
        paths = str(self.hub.record.resolve()), str(self.hub.origin.resolve())
        settings = gh.Settings(*paths, self.hub.repository, tokens, self.hub.may_open_pull_requests)
        gh.install(self.tools, settings)

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def temp(self) -> Path:
        return self.folder / "temp"

    @property
    def tools(self) -> Path:
        return self.folder / "tools"

    def may(self, scope: str, level: str) -> bool:
        """Whether the job's token has a permission."""
        return self.permissions.get(scope, "none") in (level, "write")

    # ---- what is shown

    def masked(self, text: str) -> str:
        """The text without the values of secrets."""
        hidden = {line for mask in self.masks for line in (mask, *mask.splitlines()) if line.strip()}
        for line in sorted(hidden, key=len, reverse=True):
            text = text.replace(line, "***")
        return text

    def say(self, line: str) -> None:
        """Shows a line of the step that runs."""
        self.log.append(self.masked(line))
        self.watch(self.log[-1])

    def _said(self, line: str) -> None:
        """A line that a process wrote, which may be a command to the runner."""
        command = COMMAND.fullmatch(line)
        if command and command[1] == "add-mask":
            self.masks.append(command[2])
        elif command and command[1] not in SHOWN:
            raise WorkflowError(f"the workflow command '::{command[1]}::' is not modelled")
        else:
            self.say(line)

    # ---- processes

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """What a process finds, for a step with that `env`."""
        own = {f"GITHUB_{name.upper()}": self.context[name] for name in (*GITHUB, "job", "workspace")}
        own |= {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": str(self.temp / "event.json")}
        own |= {"RUNNER_OS": "Linux", "RUNNER_TEMP": str(self.temp), "RUNNER_TRACKING_ID": self.tracking}
        base = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "CI": "true"}
        found = {**base, **self.hub.environment, "HOME": str(self.home), **env, **own}
        return found | {"PATH": os.pathsep.join([str(self.tools), *self.path, found["PATH"]])}

    def execute(self, command: Sequence[str | Path], env: Mapping[str, str]) -> int:
        """The exit code of a command in the workspace. Raises: OutOfTimeError."""
        until = min(self.deadline, self.until)
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                command,
                cwd=self.workspace,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                shown = 0
                while process.poll() is None and time.monotonic() < until:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(PAUSE)
                    shown = self._show(output, shown)
                in_time = process.poll() is not None
                if not in_time:
                    self._stop(process)
                self._show(output, shown, to_the_end=True)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        if not in_time:
            raise OutOfTimeError
        return process.returncode

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        """Asks a process to end, as GitHub does: only the first of them hears it."""
        for number, minutes in GRACE:
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(minutes * self.minute)
                return

    def _show(self, output: BinaryIO, start: int, to_the_end: bool = False) -> int:
        """Shows the whole lines from a place on; returns where they end."""
        content = b"".join(iter(_reader(output, start), b""))
        whole = len(content) if to_the_end else content.rfind(b"\n") + 1
        if whole:
            for line in content[:whole].decode(errors="replace").removesuffix("\n").split("\n"):
                self._said(line.removesuffix("\r"))
        return start + whole

    def close(self) -> None:
        """Kills whatever the job has left running, in whichever session."""
        while left := [process for process in psutil.process_iter() if self._is_of_this(process)]:
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=PAUSE)

    def _is_of_this(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("RUNNER_TRACKING_ID") == self.tracking
        except (psutil.Error, OSError):
            return False

    # ---- files

    def matching(self, pattern: str) -> Iterator[Path]:
        """The files of the workspace that `hashFiles` would take for a pattern, sorted."""
        wanted = file_glob(pattern)
        for folder, folders, names in os.walk(self.workspace):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name).relative_to(self.workspace)
                if any(wanted.fullmatch(str(part)) for part in (path, *path.parents[:-1])):
                    yield self.workspace / path

    def hash_files(self, *patterns: Any) -> str:
        """One sha256 of the files; nothing where there is none."""
        files = dict.fromkeys(file for pattern in patterns for file in self.matching(pattern))
        digests = b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)
        return hashlib.sha256(digests).hexdigest() if files else ""


def _reader(output: BinaryIO, start: int) -> Callable[[], bytes]:
    """Reads on at each call; the process that writes shares the file's position, which stays as it is."""
    place = start

    def read() -> bytes:
        nonlocal place
        content = os.pread(output.fileno(), 1 << 20, place)
        place += len(content)
        return content

    return read
