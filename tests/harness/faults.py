"""Kills `dvc repro` at many moments, and sees that the next one ends as if nothing had happened.

    python -m benchmarks.faults [--kills 100]   # on the small project, about half a minute a kill
    python -m benchmarks.faults --twice         # two fresh clones, on the real messages: equal bytes
    python -m benchmarks.faults --bad-input     # what a person sees of bad input, and of a bad machine

Each prints a Markdown table of the README, and exits with 1 when something did not hold.
"""

import argparse
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

import mlflow
import psutil
from tqdm import tqdm

from tests.harness import bad_input
from tests.harness.small_project import (
    MADE,
    ROOT,
    made,
    new_project,
    registry_flaws,
    runner,
    set_params,
)

STAGES = ["ingest", "validate", "vectorize", "train", "evaluate", "register"]
WEIGHTS = {
    "ingest": 2,
    "validate": 3,
    "vectorize": 2,
    "train": 7,
    "evaluate": 3,
    "register": 7,
    "between": 1,
}
TRAINING = {"train": {"epochs": 8, "patience": 8}}  # long enough to be hit between epochs
SPAWN = 1.0  # seconds around the end of a stage in which DVC commits it


# ---- whom the signal hits


def everybody(dvc: subprocess.Popen) -> None:
    os.killpg(dvc.pid, signal.SIGKILL)


def only_the_stage(dvc: subprocess.Popen) -> None:
    for child in psutil.Process(dvc.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()


def only_dvc(dvc: subprocess.Popen) -> None:
    os.kill(dvc.pid, signal.SIGKILL)  # its stage lives on


VICTIMS: dict[str, Callable[[subprocess.Popen], None]] = {
    "dvc and its stage": everybody,
    "the stage": only_the_stage,
    "dvc, the stage lives on": only_dvc,
}


@dataclass(frozen=True)
class Kill:
    """When `dvc repro` is killed, and how."""

    stage: str  # that runs then; `between` two of them, while DVC commits
    part: float  # of the stage's seconds, from 0 to 1
    victim: str  # of VICTIMS


def kills(number: int) -> list[Kill]:
    """`number` of them, spread over all stages, all moments and all victims."""
    shares = {stage: number * weight / sum(WEIGHTS.values()) for stage, weight in WEIGHTS.items()}
    counts = {stage: int(share) for stage, share in shares.items()}
    by_rest = sorted(shares, key=lambda stage: counts[stage] - shares[stage])
    counts.update({stage: counts[stage] + 1 for stage in by_rest[: number - sum(counts.values())]})
    spread = [(stage, (i + 0.5) / n) for stage, n in counts.items() for i in range(n)]
    return [Kill(*moment, list(VICTIMS)[i % len(VICTIMS)]) for i, moment in enumerate(spread)]


# ---- the project, before each stage


class Project:
    """The small project, in one folder, as it stood before each stage; and what an undisturbed run leaves."""

    def __init__(self, home: Path) -> None:
        self.folder, self._snapshots = home / "project", home / "snapshots"
        self.folder.mkdir(parents=True)
        self.run = new_project(self.folder)
        set_params(self.folder, TRAINING)
        self.seconds: dict[str, float] = {}
        for stage in STAGES:
            shutil.copytree(self.folder, self._snapshots / stage, symlinks=True)
            start = time.monotonic()
            self.run("dvc", "repro", stage)
            self.seconds[stage] = time.monotonic() - start - SPAWN
        self.expected = made(self.folder)

    def before(self, stage: str) -> None:
        """Brings the folder back to where it was; always the same folder, as MLflow keeps its path."""
        shutil.rmtree(self.folder)
        shutil.copytree(self._snapshots / stage, self.folder, symlinks=True)


# ---- one kill


def interrupted(project: Project, kill: Kill) -> str | None:
    """Starts `dvc repro`, kills it at that moment, and returns its output; None when it had ended before."""
    stage, log = kill.stage, project.folder.parent / "log"
    marker, delay = f"Running stage '{stage}'", kill.part * project.seconds.get(stage, SPAWN)
    if stage == "between":  # from a stage's last line on
        stage, marker = STAGES[int(kill.part * (len(STAGES) - 1))], " s\n"
    project.before(stage)
    with log.open("w") as out:
        dvc = subprocess.Popen(
            ["dvc", "repro"],
            cwd=project.folder,
            env=environment(),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    while marker not in log.read_text() and dvc.poll() is None:
        time.sleep(0.005)
    time.sleep(delay)
    if dvc.poll() is not None:
        return None
    VICTIMS[kill.victim](dvc)
    dvc.wait()
    return log.read_text()


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}


def broken(project: Project, before: str) -> Iterator[str]:
    """Runs `dvc repro` again, after the output `before`, and names what is not as it should be."""
    done = project.run("dvc", "repro", check=False)
    if done.returncode:
        yield f"the next dvc repro failed: {done.stderr.strip()[-300:]}"
        return
    now = made(project.folder)
    if wrong := sorted(
        name for name in now | project.expected if now.get(name) != project.expected.get(name)
    ):
        yield f"other bytes: {', '.join(wrong)}"
    if left := [path.name for path in project.folder.rglob(".*.tmp")]:
        yield f"left behind: {', '.join(left)}"
    epochs = len(re.findall(r"^epoch \d+:", before, re.MULTILINE))
    resumed = re.search(r"resumed after epoch (\d+)", done.stderr)
    if (
        epochs
        and "Running stage 'train'" in done.stdout
        and not (resumed and int(resumed[1]) >= epochs)
    ):
        yield f"{epochs} epochs were done, and not taken up"
    client = mlflow.MlflowClient(f"sqlite:///{project.folder.resolve()}/mlflow.db")
    yield from registry_flaws(client, [TRAINING["train"]["epochs"]])
    if (lines := len((project.folder / "ledger.jsonl").read_text().splitlines())) != 1:
        yield f"the ledger has {lines} lines"


def survives(project: Project, kill: Kill) -> list[str]:
    """What did not hold after this kill; the moment moves forward until it hits a run that still goes."""
    while (output := interrupted(project, kill)) is None:
        kill = Kill(kill.stage, kill.part * 0.8, kill.victim)
    return list(broken(project, output))


# ---- the tables


def campaign(number: int) -> bool:
    """Kills, resumes, compares, and prints the table. Returns whether all of it held."""
    held, tried = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    with tempfile.TemporaryDirectory() as home:
        project = Project(Path(home))
        for kill in tqdm(kills(number), unit="kill", disable=None):
            problems = survives(project, kill)
            tried[kill.stage, kill.victim] += 1
            held[kill.stage, kill.victim] += not problems
            for problem in problems:
                tqdm.write(f"{kill}: {problem}", file=sys.stderr)
    print("| killed in | " + " | ".join(f"SIGKILL to {victim}" for victim in VICTIMS) + " |")
    print("|---" * (len(VICTIMS) + 1) + "|")
    for stage in WEIGHTS:
        cells = (f"{held[stage, victim]} of {tried[stage, victim]} held" for victim in VICTIMS)
        print(f"| {stage} | {' | '.join(cells)} |")
    return held == tried


def twice() -> bool:
    """Runs two fresh clones of the last commit on the real messages, and compares every byte."""
    with tempfile.TemporaryDirectory() as home:
        runs = []
        for name in ("one", "two"):
            folder = Path(home) / name
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
            runner(folder)("dvc", "repro")
            runs.append(made(folder))
    same = {name for name in runs[0] if runs[1].get(name) == runs[0][name]}
    print("| | files | equal in both clones |\n|---|---|---|")
    for place in MADE:
        names = {name for name in runs[0] | runs[1] if name.split("/")[0] == place}
        print(f"| {place} | {len(names)} | {len(names & same)} |")
    return set(runs[0] | runs[1]) == same


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--twice", action="store_true")
    parser.add_argument("--bad-input", action="store_true")
    arguments = parser.parse_args()
    if arguments.twice:
        held = twice()
    else:
        held = bad_input.table() if arguments.bad_input else campaign(arguments.kills)
    sys.exit(not held)


if __name__ == "__main__":
    main()
