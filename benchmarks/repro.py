"""Seconds a stage: a first run, nothing changed, one param changed in each stage; and the article's way.

`python -m benchmarks.repro [--rounds 3]` works in a clone of the last commit, in a temporary folder. The
kinds of run are interleaved, and the median of the rounds is printed as a Markdown table.
"""

import argparse
import itertools
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import ruamel.yaml
from tqdm import tqdm

ROOT = Path(__file__).parent.parent
STAGES = ["ingest", "validate", "vectorize", "train", "evaluate", "register"]
CHANGES: dict[str, Callable[[dict], None]] = {  # one param of each stage
    "ingest": lambda p: p["ingest"]["files"].update(encoding="latin-1"),
    "validate": lambda p: p["validate"]["text_length"].__setitem__(
        1, p["validate"]["text_length"][1] + 1
    ),
    "vectorize": lambda p: p["vectorize"].update(
        vocabulary_size=p["vectorize"]["vocabulary_size"] + 1
    ),
    "train": lambda p: p["train"].update(seed=p["train"]["seed"] + 1),
    "evaluate": lambda p: p["evaluate"].update(resamples=p["evaluate"]["resamples"] + 1),
    "register": lambda p: p["register"]["criteria"].update(f1={"min": 0.0}),
}
Seconds = dict[str, float]  # by stage, and `all`


def timed(folder: Path, *command: str) -> Seconds:
    """Seconds between the lines that announce the stages, and of the whole command."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        marks, output = [("start", start)], []
        for line in process.stdout or ():
            output.append(line)
            if found := re.match(r"Running stage '(\w+)'", line):
                marks.append((found[1], time.perf_counter()))
    if process.returncode:
        sys.exit("".join(output))
    marks.append(("end", time.perf_counter()))
    spans = {name: after - at for (name, at), (_, after) in itertools.pairwise(marks)}
    spans.pop("start")
    return spans | {"all": marks[-1][1] - start}


def change(folder: Path, stage: str) -> None:
    """Changes one param of a stage, for good."""
    yaml = ruamel.yaml.YAML()
    params = yaml.load(folder / "params.yaml")
    CHANGES[stage](params)
    yaml.dump(params, folder / "params.yaml")


def one_round(results: dict[str, list[Seconds]], folder: Path, bar: tqdm) -> None:
    """Every kind of run once, in a fresh clone."""

    def measure(kind: str, *command: str) -> None:
        results[kind].append(timed(folder, *command))
        bar.update()

    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    measure("first run", "dvc", "repro")
    measure("nothing changed", "dvc", "repro")
    measure("`import tensorflow` alone", "python", "-c", "import tensorflow")
    tables = "data/validated/messages.parquet", "data/vectorized/splits.parquet"
    measure("the article's way", "python", str(ROOT / "benchmarks" / "article.py"), *tables)
    for stage in STAGES:
        change(folder, stage)
        measure(f"one param of {stage} changed", "dvc", "repro")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    results: dict[str, list[Seconds]] = defaultdict(list)
    with tqdm(total=rounds * (4 + len(STAGES)), unit="run", disable=None) as bar:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                one_round(results, Path(folder) / "clone", bar)
    print(f"| seconds, median of {rounds} | {' | '.join(STAGES)} | all |")
    print("|---" * (len(STAGES) + 2) + "|")
    for kind, runs in results.items():
        cells = [
            f"{statistics.median(run[name] for run in runs):.0f}" if name in runs[0] else ""
            for name in [*STAGES, "all"]
        ]
        print(f"| {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
