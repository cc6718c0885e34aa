"""Measures the seconds of each stage: a first run, no change, one changed param in each stage.

It also measures the article's script. Every round works in a fresh clone of the last commit in a
temporary folder. It prints the median of the rounds as a Markdown table.
"""

import itertools
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipeline.core.cli import argument_parser
from pipeline.core.params import read_yaml
from tests.harness.small_project import ROOT, environment, set_params

EXAMPLE = "python -m benchmarks.repro --rounds 3"
PARAMS = read_yaml(ROOT / "params.yaml")
CHANGES = {  # one param of each stage
    "ingest": {"files": PARAMS["ingest"]["files"] | {"encoding": "latin-1"}},
    "validate": {"text_length": [1, PARAMS["validate"]["text_length"][1] + 1]},
    "vectorize": {"vocabulary_size": PARAMS["vectorize"]["vocabulary_size"] + 1},
    "train": {"seed": PARAMS["train"]["seed"] + 1},
    "evaluate": {"resamples": PARAMS["evaluate"]["resamples"] + 1},
    "register": {"criteria": PARAMS["register"]["criteria"] | {"f1": {"min": 0.0}}},
}
REPRO = ("dvc", "repro")
Seconds = dict[str, float]  # by stage, and `all`


def run_timed(folder: Path, command: Sequence[str]) -> Seconds:
    """Runs a command; returns its seconds, and those of each stage that it announces."""
    start = time.perf_counter()
    marks, output = [], []
    streams: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=folder, env=environment(), **streams) as process:
        for line in process.stdout or ():
            output.append(line)
            if stage := re.match(r"Running stage '(\w+)'", line):
                marks.append((stage[1], time.perf_counter()))
    if process.returncode:
        sys.exit("".join(output))
    marks.append(("end", time.perf_counter()))
    seconds = {name: end - begin for (name, begin), (_, end) in itertools.pairwise(marks)}
    return seconds | {"all": marks[-1][1] - start}


def run_round(folder: Path) -> dict[str, Seconds]:
    """Runs everything once in a fresh clone."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    tables = ("data/validated/messages.parquet", "data/vectorized/splits.parquet")
    commands = {
        "first run": REPRO,
        "nothing changed": REPRO,
        "`import tensorflow` alone": ("python", "-c", "import tensorflow"),
        "the article's script": ("python", str(ROOT / "benchmarks" / "article.py"), *tables),
    }
    results = {kind: run_timed(folder, command) for kind, command in commands.items()}
    for stage, change in CHANGES.items():
        set_params(folder, {stage: change})
        results[f"one param of {stage} changed"] = run_timed(folder, REPRO)
    return results


def main() -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = []
    for _ in tqdm(range(parser.parse_args().rounds), unit="round", disable=None):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(run_round(Path(folder) / "clone"))
    columns = (*CHANGES, "all")
    print(f"| seconds, median of {len(rounds)} | {' | '.join(columns)} |")
    print("|---" * (len(columns) + 1) + "|")
    for kind, first in rounds[0].items():
        medians = {name: statistics.median(r[kind][name] for r in rounds) for name in first}
        cells = [f"{medians[name]:.0f}" if name in medians else "" for name in columns]
        print(f"| {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
