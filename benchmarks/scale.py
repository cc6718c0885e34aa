"""How the data stages and score grow: rows a second and peak bytes a row.

`python -m benchmarks.scale [--rows 10000 100000 1000000] [--only score]` makes a corpus of each size by
recombining what `dvc repro` validated, runs the stages on it in a temporary project and scores it with the
champion, each as a process of its own, and prints a Markdown table. A row's bytes leave out what a stage of
1,000 rows needs: its start.
"""

import argparse
import csv
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.core.params import read_yaml
from pipeline.core.tables import read_parquet
from pipeline.tracking import mlflow_client
from tests.harness.small_project import ROOT, set_params

MESSAGES = Path("data/validated/messages.parquet")
STAGES = (
    "ingest",
    "validate",
    "vectorize",
    "score",
)  # in this order, though score needs none of them
SCORE = ["-m", "pipeline", "score", "new.csv", "labelled.csv"]
START = 1_000  # rows of the run that tells what starting costs
COPIES, CAMPAIGNS, NOISE = 0.07, 0.20, 0.004  # shares of rows; the rest are strangers
LARGEST = 0.01  # of the rows, the first campaign; the k-th has a k-th of that
SEED = 1


# ---- the corpus


def corpus(rows: int, messages: pd.DataFrame, seed: int = SEED) -> Iterator[tuple[str, str]]:
    """Text and label of as many rows: strangers, campaigns, exact copies and bad rows, in no order."""
    rng = random.Random(seed)
    pieces = {label: _pieces(part["text"]) for label, part in messages.groupby("label")}
    spam_share = (messages["label"] == "spam").mean()
    sizes = campaign_sizes(rows)
    kinds = [-1] * rows  # -1: a stranger; else the number of its campaign
    for place, campaign in zip(
        rng.sample(range(rows), sum(sizes)), np.repeat(range(len(sizes)), sizes), strict=True
    ):
        kinds[place] = int(campaign)
    templates = [_stranger(pieces["spam"], rng) for _ in sizes]
    said = list[tuple[str, str]]()  # the latest rows, to be copied
    for kind in kinds:
        chance = rng.random()
        label = "spam" if kind >= 0 or rng.random() < spam_share - CAMPAIGNS / 2 else "ham"
        if kind >= 0:
            row = _variant(templates[kind], pieces["spam"], rng), label
        elif chance < NOISE:
            row = rng.choice(
                [("", label), ("caf\ufffd au lait", label), (_stranger(pieces[label], rng), "?")]
            )
        elif chance < NOISE + COPIES and said:
            row = rng.choice(said)
        else:
            row = _stranger(pieces[label], rng), label
            said = [*said[-99:], row]
        yield row


def campaign_sizes(rows: int) -> list[int]:
    """How many rows each campaign has: heavy-tailed, and the largest grows with the corpus."""
    sizes, left = list[int](), round(CAMPAIGNS * rows)
    while left > 0:
        size = min(left, max(2, round(LARGEST * rows / (len(sizes) + 1))))
        sizes.append(size)
        left -= size
    return sizes


def _pieces(texts: "pd.Series[str]") -> list[list[str]]:
    """Runs of two to five words of real messages, of which others are made."""
    rng, pieces = random.Random(SEED), list[list[str]]()
    for text in texts:
        words = text.split()
        while words:
            size = rng.randint(2, 5)
            pieces.append(words[:size])
            words = words[size:]
    return pieces


def _stranger(pieces: list[list[str]], rng: random.Random) -> str:
    """A message of pieces of several real ones."""
    return " ".join(word for piece in rng.choices(pieces, k=rng.randint(2, 7)) for word in piece)


def _variant(template: str, pieces: list[list[str]], rng: random.Random) -> str:
    """The campaign's message with other numbers, and at times another word or two."""
    words = template.split()
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        words[rng.randrange(len(words))] = rng.choice(rng.choice(pieces))
    return f"{' '.join(words)} {rng.randrange(10**6)}"


# ---- the stages


def new_project(folder: Path, rows: int, messages: pd.DataFrame) -> None:
    """A folder in which the three stages run on a corpus as CSV, with bounds for so many rows."""
    for path in [
        ROOT / "params.yaml",
        ROOT / "data" / "reviewed.csv",
        ROOT / "data" / "sources.lock.json",
    ]:
        (folder / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / path.relative_to(ROOT))
    bounds = {"row_count": [1, 10**9], "spam_share": [0.01, 0.9], "median_length": [1, 1000]}
    set_params(folder, {"ingest": {"sources": ["files"]}, "validate": bounds})
    (folder / "data" / "inbox").mkdir(parents=True)
    with (folder / "data" / "inbox" / "messages.csv").open(
        "w", encoding="utf-8", newline=""
    ) as file:
        out = csv.writer(file)
        out.writerow(("text", "label"))
        out.writerows(corpus(rows, messages))
    pd.read_csv(folder / "data" / "inbox" / "messages.csv")[["text"]].to_csv(
        folder / "new.csv", index=False
    )


def measured(folder: Path, name: str) -> tuple[float, float]:
    """A stage's seconds of processor time, which other work does not stretch, and its peak bytes."""
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    command = SCORE if name == "score" else stages[name]["cmd"].split()[1:]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": mlflow_client.tracking_uri()}
    with subprocess.Popen(
        [sys.executable, *command], cwd=folder, env=env, stderr=subprocess.PIPE
    ) as process:
        said = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{name}: {said.decode()}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024.0  # Linux counts kibibytes


def measured_stages(
    rows: int, messages: pd.DataFrame, stages: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Seconds and peak bytes of each stage on a corpus of so many rows."""
    with tempfile.TemporaryDirectory() as home:
        new_project(Path(home), rows, messages)
        return {name: measured(Path(home), name) for name in stages}


# ---- the table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--messages", type=Path, default=MESSAGES)
    parser.add_argument("--only", nargs="+", choices=STAGES, default=STAGES, metavar="STAGE")
    arguments = parser.parse_args()
    messages = read_parquet(arguments.messages).to_pandas()
    sizes = [START, *sorted(arguments.rows)]
    bar = tqdm(sizes, unit="corpus", disable=None)
    found = {rows: measured_stages(rows, messages, arguments.only) for rows in bar}

    print(
        "| rows | stage | seconds | rows a second | peak, MB | bytes a row |\n|---|---|---|---|---|---|"
    )
    for rows in sizes[1:]:
        for name in arguments.only:
            (seconds, peak), (_, base) = found[rows][name], found[START][name]
            a_row = (peak - base) / (rows - START)
            cells = f"{seconds:.1f} | {rows / seconds:,.0f} | {peak / 1e6:,.0f} | {a_row:,.0f}"
            print(f"| {rows:,} | {name} | {cells} |")
    few, many = sizes[-2:]
    print(
        f"\nFrom {few:,} to {many:,} rows, starting left out, seconds grow with rows to the power of",
        end="",
    )
    for name in arguments.only:
        shorter, longer = (found[rows][name][0] - found[START][name][0] for rows in (few, many))
        print(f" {math.log(longer / shorter) / math.log(many / few):.2f} ({name})", end="")
    print()


if __name__ == "__main__":
    main()
