"""How fast ours trains beside the article's script, and scores raw text beside the linear SVM.

`python -m benchmarks.speed [--rounds 5]` reads what `dvc repro` left. The two trainings are processes of
their own, from their imports until messages can be scored, on the rows of train; the two models score all
messages in this process. All four are interleaved, and the medians are printed as a Markdown table.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from benchmarks import quality
from pipeline import evaluate
from pipeline.core.cli import run_stage
from pipeline.core.errors import PipelineError
from pipeline.core.tables import read_parquet
from pipeline.models import baseline

SPLITS = Path("data/vectorized/splits.parquet")
TOKENIZER, NETWORK = Path("models/tokenizer.json"), Path("models/model.keras")
ARTICLE = Path(__file__).with_name("article.py")


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def process(*arguments: str) -> Callable[[], object]:
    """Runs Python with these arguments, in silence."""
    return lambda: subprocess.run(
        [sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL
    )


def train_ours() -> None:
    """Tokenizer and network, from the texts of train."""
    messages = read_parquet(quality.MESSAGES).to_pandas()
    rows = messages.merge(read_parquet(SPLITS).to_pandas(), on="message_id")
    quality.network(quality.OURS, rows[(rows["split"] == "train") & ~rows["left_out"]])


def table(taken: dict[str, list[float]], messages: int) -> str:
    """Medians of the seconds, and ours against the peer's."""
    median = {name: statistics.median(values) for name, values in taken.items()}
    seconds = median["ours trains"], median["article trains"]
    rates = messages / median["ours scores"], messages / median["svm scores"]
    rows = {
        "training, seconds; the peer is the article's script": seconds,
        "raw messages scored a second; the peer is the linear SVM": rates,
    }
    lines = [
        f"| {name} | {ours:,.0f} | {peer:,.0f} | {ours / peer:.1f} |"
        for name, (ours, peer) in rows.items()
    ]
    return "\n".join(
        ["| on this machine | ours | peer | times the peer's |", "|---|---|---|---|", *lines]
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.speed", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=5, help="of all four, interleaved (default: 5)"
    )
    rounds = parser.parse_args().rounds
    if rounds < 1:
        raise PipelineError(f"--rounds: {rounds} is not at least 1")
    messages = read_parquet(quality.MESSAGES).to_pandas()
    texts, spam = messages["text"].tolist(), (messages["label"] == "spam").to_numpy()
    ours, svm = evaluate.network_scorer(TOKENIZER, NETWORK), baseline.baseline_scorer(texts, spam)
    ours(texts)  # compiles
    calls = {
        "ours trains": process("-c", "from benchmarks import speed; speed.train_ours()"),
        "article trains": process(str(ARTICLE), str(quality.MESSAGES), str(SPLITS)),
        "ours scores": lambda: ours(texts),
        "svm scores": lambda: svm(texts),
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in tqdm(range(rounds), "rounds", disable=None):
        for name, call in calls.items():
            taken[name].append(seconds(call))
    print(table(taken, len(texts)))


if __name__ == "__main__":
    run_stage(main)
