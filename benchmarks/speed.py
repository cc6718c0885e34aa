"""Measures how fast our network trains and scores.

Training is compared with the article's script, each in a process of its own, from the imports to
a model that can score. Scoring raw text is compared with the linear SVM, both in this process.
Prints medians over all rounds. Reads what `dvc repro` left.
"""

import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from tqdm import tqdm

from benchmarks import peers
from pipeline.core.cli import argument_parser, run_stage
from pipeline.core.files import read_json
from pipeline.core.tables import read_parquet
from pipeline.models import keras_files
from pipeline.models.scoring import network_scorer

EXAMPLE = "python -m benchmarks.speed --rounds 5"
MESSAGES = Path("data/validated/messages.parquet")
SPLITS = Path("data/vectorized/splits.parquet")
MODELS = Path("models")
ARTICLE = Path(__file__).with_name("article.py")


def train_ours() -> None:
    """Trains tokenizer and network on the texts of train."""
    messages = read_parquet(MESSAGES).to_pandas()
    rows = messages.merge(read_parquet(SPLITS).to_pandas(), on="message_id")
    peers.network(peers.OURS, rows[(rows["split"] == "train") & ~rows["left_out"]])


def speed_table(seconds: dict[str, list[float]], messages: int) -> str:
    """Markdown: the median of each measurement, and the ratio of ours to the other."""
    median = {name: statistics.median(values) for name, values in seconds.items()}
    rates = {name: messages / value for name, value in median.items()}
    lines = ["| on this machine | ours | peer | ours / peer |", "|---|---|---|---|"]
    for title, ours, peer in (
        ("training, seconds; peer: the article", median["ours trains"], median["article trains"]),
        ("messages scored a second; peer: SVM", rates["ours scores"], rates["svm scores"]),
    ):
        lines.append(f"| {title} | {ours:,.0f} | {peer:,.0f} | {ours / peer:.1f} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default: 5)")
    rounds = parser.parse_args(argv).rounds
    messages = read_parquet(MESSAGES).to_pandas()
    texts = messages["text"].tolist()
    network = keras_files.load(MODELS / "model.keras")
    ours = network_scorer(read_json(MODELS / "tokenizer.json"), network)
    svm = peers.linear_svm(messages)
    ours(texts)  # compiles
    run_python = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
    ours_command = [sys.executable, "-c", "from benchmarks import speed; speed.train_ours()"]
    calls = {
        "ours trains": lambda: run_python(ours_command),
        "article trains": lambda: run_python([sys.executable, ARTICLE, MESSAGES, SPLITS]),
        "ours scores": lambda: ours(texts),
        "svm scores": lambda: svm(texts),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in tqdm(range(rounds), "rounds", disable=None):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    print(speed_table(seconds, len(texts)))


if __name__ == "__main__":
    run_stage(main)
