"""Kills `dvc repro` at many moments, and checks that `make repro` ends as an undisturbed one.

Every stage is killed in each of three ways, at moments spread over its duration. It prints a
Markdown table, and exits with 1 if anything differed. A kill takes about half a minute.
"""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.core.cli import argument_parser
from tests.harness import small_project as small

EXAMPLE = "python -m tests.harness.faults --rounds 5"
STAGES = list(small.STAGES)
EPOCHS = 8  # long enough to be killed between two of them
COMMIT_SECONDS = 1.0  # in which DVC commits the outputs of a stage

Repro = subprocess.Popen[bytes]


def kill_stage(dvc: Repro) -> None:
    for child in psutil.Process(dvc.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()


VICTIMS: dict[str, Callable[[Repro], None]] = {
    "dvc and its stage": lambda dvc: os.killpg(dvc.pid, signal.SIGKILL),
    "the stage": kill_stage,
    "dvc alone": lambda dvc: dvc.kill(),  # its stage lives on
}


@dataclass(frozen=True)
class Kill:
    """When `dvc repro` is killed, and how."""

    stage: str  # the running one, or `between`: while DVC commits one
    part: float  # of the stage's seconds, in (0, 1)
    victim: str  # a key of VICTIMS


class Project:
    """The small project, as it was before each stage, and the outputs of an undisturbed run."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "project"
        self.snapshots = home / "snapshots"
        self.folder.mkdir(parents=True)
        self.run = small.new_project(self.folder)
        small.set_params(self.folder, {"train": {"epochs": EPOCHS, "patience": EPOCHS}})
        self.seconds: dict[str, float] = {}
        for stage in STAGES:
            shutil.copytree(self.folder, self.snapshots / stage, symlinks=True)
            start = time.monotonic()
            self.run("dvc", "repro", stage)
            self.seconds[stage] = time.monotonic() - start - COMMIT_SECONDS
        self.expected = small.output_bytes(self.folder)

    def restore(self, stage: str) -> None:
        """Restores the folder as it was before a stage, in place, as MLflow stores its path."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.snapshots / stage, self.folder, symlinks=True)


def interrupt(project: Project, kill: Kill) -> str | None:
    """Kills `dvc repro` at that moment; returns its output, or None if it had ended before."""
    stage, marker = kill.stage, f"Running stage '{kill.stage}'"
    if stage == "between":  # from the last line of a stage on
        stage, marker = STAGES[int(kill.part * (len(STAGES) - 1))], " s\n"
    project.restore(stage)
    log = project.folder.parent / "log"
    with log.open("w") as out:
        streams = {"stdout": out, "stderr": out, "start_new_session": True}
        dvc = subprocess.Popen(
            ["dvc", "repro"], cwd=project.folder, env=small.environment(), **streams
        )
    while marker not in log.read_text():
        if ends_within(dvc, 0.005):
            return None
    if ends_within(dvc, kill.part * project.seconds.get(kill.stage, COMMIT_SECONDS)):
        return None
    VICTIMS[kill.victim](dvc)
    dvc.wait()
    return log.read_text()


def ends_within(process: Repro, seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def problems_after(project: Project, output: str) -> Iterator[str]:
    """Runs what `make repro` does, after the killed run's output; yields what is wrong then."""
    project.run("python", "-m", "pipeline.core.dvc_cache", "before")
    done = project.run("dvc", "repro", check=False)
    if done.returncode:
        yield f"the next dvc repro failed: {done.stderr.strip()[-300:]}"
        return
    now, expected = small.output_bytes(project.folder), project.expected
    if wrong := [name for name in now | expected if now.get(name) != expected.get(name)]:
        yield f"other bytes: {', '.join(sorted(wrong))}"
    if left := [path.name for path in project.folder.rglob(".*.tmp")]:
        yield f"temporary files: {', '.join(left)}"
    epochs = len(re.findall(r"^epoch \d+:", output, re.MULTILINE))
    resumed = re.search(r"resumed after epoch (\d+)", done.stderr)
    trained = epochs and "Running stage 'train'" in done.stdout
    if trained and not (resumed and int(resumed[1]) >= epochs):
        yield f"{epochs} epochs were done, and not resumed"
    client = small.registry_client(project.folder / "mlflow.db")
    yield from small.registry_flaws(client, [EPOCHS])
    if (lines := len((project.folder / "ledger.jsonl").read_text().splitlines())) != 1:
        yield f"the ledger has {lines} lines"


def survive(project: Project, kill: Kill) -> list[str]:
    """What is wrong after this kill; it is moved forward until it hits a run that still goes."""
    while (output := interrupt(project, kill)) is None:
        kill = Kill(kill.stage, kill.part * 0.8, kill.victim)
    return list(problems_after(project, output))


def kill_everywhere(rounds: int) -> Iterator[str]:
    """Kills each stage in each way at so many moments; prints a table, yields what is wrong."""
    parts = [(number + 0.5) / rounds for number in range(rounds)]
    print(f"| SIGKILL to | {' | '.join(VICTIMS)} |")
    print("|---" * (len(VICTIMS) + 1) + "|")
    with tempfile.TemporaryDirectory() as home:
        project = Project(Path(home))
        for stage in [*STAGES, "between"]:
            survived = Counter[str]()
            for part, victim in itertools.product(parts, VICTIMS):
                problems = survive(project, Kill(stage, part, victim))
                survived[victim] += not problems
                yield from (f"{stage} at {part}, {victim}: {problem}" for problem in problems)
            cells = (f"{survived[victim]} of {rounds} survived" for victim in VICTIMS)
            print(f"| {stage} | {' | '.join(cells)} |")


def main() -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--rounds", type=int, default=5, help="moments in each stage, for each way")
    sys.exit("\n".join(kill_everywhere(parser.parse_args().rounds)) or None)


if __name__ == "__main__":
    main()
