"""Measures how the data stages and `score` grow: rows in a second, and peak bytes for each row.

It makes a corpus of each size from pieces of the validated messages, and runs the stages and the
champion on it in a temporary project, each as a process of its own. The bytes of a row leave out
what a stage needs for 1,000 rows, which is its start. It prints a Markdown table.
"""

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

from pipeline.core.cli import argument_parser
from pipeline.core.params import read_yaml
from pipeline.core.tables import read_parquet
from pipeline.sources.inbox_copies import InboxPlaces, collect_files
from pipeline.tracking.mlflow_client import tracking_uri
from tests.harness.small_project import ROOT, set_params

EXAMPLE = "python -m benchmarks.scale --rows 10000 100000 --only score"
MESSAGES = Path("data/validated/messages.parquet")
STAGES = ("ingest", "validate", "vectorize", "score")
START_ROWS = 1_000  # of the corpus that shows what the start of a stage needs
SEED = 1
COPY_SHARE, CAMPAIGN_SHARE, BAD_SHARE = 0.07, 0.20, 0.004  # of all rows
LARGEST_CAMPAIGN = 0.01  # share of all rows; the k-th campaign has a k-th of it


def corpus(rows: int, messages: pd.DataFrame, seed: int = SEED) -> Iterator[tuple[str, str]]:
    """Yields text and label of unrelated messages, campaigns, exact copies and bad rows, mixed.

    Args:
        messages: columns `text` and `label`; new messages are made from pieces of them.
    """
    rng = random.Random(seed)
    pieces = {label: _pieces(part["text"]) for label, part in messages.groupby("label")}
    spam_share = (messages["label"] == "spam").mean()
    sizes = campaign_sizes(rows)
    campaign_of_row = [-1] * rows  # -1: none
    places = rng.sample(range(rows), sum(sizes))
    for place, campaign in zip(places, np.repeat(range(len(sizes)), sizes), strict=True):
        campaign_of_row[place] = int(campaign)
    templates = [_message(pieces["spam"], rng) for _ in sizes]
    latest: list[tuple[str, str]] = []  # rows that may be copied
    for campaign in campaign_of_row:
        chance = rng.random()
        in_campaign = campaign >= 0
        is_spam = in_campaign or rng.random() < spam_share - CAMPAIGN_SHARE / 2
        label = "spam" if is_spam else "ham"
        if in_campaign:
            row = _variant(templates[campaign], pieces["spam"], rng), label
        elif chance < BAD_SHARE:
            bad_label = (_message(pieces[label], rng), "?")
            row = rng.choice([("", label), ("caf\ufffd au lait", label), bad_label])
        elif chance < BAD_SHARE + COPY_SHARE and latest:
            row = rng.choice(latest)
        else:
            row = _message(pieces[label], rng), label
            latest = [*latest[-99:], row]
        yield row


def campaign_sizes(rows: int) -> list[int]:
    """The number of rows of each campaign: heavy-tailed; the largest grows with the corpus."""
    sizes: list[int] = []
    remaining = round(CAMPAIGN_SHARE * rows)
    while remaining > 0:
        size = min(remaining, max(2, round(LARGEST_CAMPAIGN * rows / (len(sizes) + 1))))
        sizes.append(size)
        remaining -= size
    return sizes


def _pieces(texts: "pd.Series[str]") -> list[list[str]]:
    """Sequences of two to five words of real messages."""
    rng = random.Random(SEED)
    pieces: list[list[str]] = []
    for text in texts:
        words = text.split()
        while words:
            size = rng.randint(2, 5)
            pieces.append(words[:size])
            words = words[size:]
    return pieces


def _message(pieces: list[list[str]], rng: random.Random) -> str:
    """A message from pieces of several real ones."""
    return " ".join(word for piece in rng.choices(pieces, k=rng.randint(2, 7)) for word in piece)


def _variant(template: str, pieces: list[list[str]], rng: random.Random) -> str:
    """The message of a campaign with another number, and at times one or two other words."""
    words = template.split()
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        words[rng.randrange(len(words))] = rng.choice(rng.choice(pieces))
    return f"{' '.join(words)} {rng.randrange(10**6)}"


def make_project(folder: Path, rows: int, messages: pd.DataFrame) -> None:
    """Makes a folder in which the data stages run on a corpus, with bounds for so many rows."""
    for name in ("params.yaml", "data/reviewed.csv", "data/sources.lock.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    bounds = {"row_count": [1, 10**9], "spam_share": [0.01, 0.9], "median_length": [1, 1000]}
    changes = {"ingest": {"sources": ["files"]}, "validate": bounds}
    set_params(folder, changes | {"evaluate": {"lost_ham_budget": 0.1}})  # few ham are enough
    inbox = folder / "data/inbox/messages.csv"
    inbox.parent.mkdir()
    table = pd.DataFrame(corpus(rows, messages), columns=["text", "label"])
    table.to_csv(inbox, index=False, lineterminator="\r\n")
    places = InboxPlaces()
    collect_files(InboxPlaces(*(folder / path for path in vars(places).values())))
    table[["text"]].to_csv(folder / "new.csv", index=False)


def measure(folder: Path, stage: str) -> tuple[float, float]:
    """Runs a stage; returns its seconds of processor time and its peak bytes."""
    command = ["-m", "pipeline", "score", "new.csv", "labelled.csv"]
    if stage != "score":
        command = read_yaml(ROOT / "dvc.yaml")["stages"][stage]["cmd"].split()[1:]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": tracking_uri()}
    with subprocess.Popen(
        [sys.executable, *command], cwd=folder, env=env, stderr=subprocess.PIPE
    ) as process:
        errors = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{stage}: {errors.decode()}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024.0  # Linux counts kibibytes


Measured = dict[str, tuple[float, float]]  # seconds and peak bytes, by stage


def measure_stages(rows: int, messages: pd.DataFrame, stages: Sequence[str]) -> Measured:
    """Seconds and peak bytes of each stage on a corpus of so many rows."""
    with tempfile.TemporaryDirectory() as folder:
        make_project(Path(folder), rows, messages)
        return {stage: measure(Path(folder), stage) for stage in stages}


def main() -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--messages", type=Path, default=MESSAGES)
    parser.add_argument("--only", nargs="+", choices=STAGES, default=STAGES, metavar="STAGE")
    arguments = parser.parse_args()
    messages = read_parquet(arguments.messages).to_pandas()
    sizes = [START_ROWS, *sorted(arguments.rows)]
    bar = tqdm(sizes, unit="corpus", disable=None)
    results = {rows: measure_stages(rows, messages, arguments.only) for rows in bar}
    print("| rows | stage | seconds | rows in a second | peak, MB | bytes for each row |")
    print("|---|---|---|---|---|---|")
    for rows in sizes[1:]:
        for stage in arguments.only:
            seconds, peak = results[rows][stage]
            bytes_per_row = (peak - results[START_ROWS][stage][1]) / (rows - START_ROWS)
            cells = f"{seconds:.1f} | {rows / seconds:,.0f} | {peak / 1e6:,.0f}"
            print(f"| {rows:,} | {stage} | {cells} | {bytes_per_row:,.0f} |")
    few, many = sizes[-2:]
    print(f"\nExponent of the growth of seconds from {few:,} to {many:,} rows, without the start:")
    for stage in arguments.only:
        start = results[START_ROWS][stage][0]
        ratio = (results[many][stage][0] - start) / (results[few][stage][0] - start)
        print(f"{stage}: {math.log(ratio) / math.log(many / few):.2f}")


if __name__ == "__main__":
    main()
