"""Measures what it brings, and costs, that the network in service learns from val and test too.

On each split a network is trained on train, and its thresholds are chosen on val. Then another is
trained on train and val, and answers with the same thresholds: as the stage train does it with all
splits, but test stays unseen. Prints the figures of both on test, by source, as mean ± standard
deviation over the splits, and their difference with its 95 % interval.

Reads what `dvc repro` validated, or the messages of one --source of it. Results are kept for the
same messages, params and code.
"""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
from tokenizers import Tokenizer

from benchmarks.peers import OURS, training_input
from benchmarks.quality import (
    MESSAGES,
    RESULTS,
    SALTS,
    Figures,
    calibrated_on,
    complete,
    markdown,
    mean_and_interval,
    messages_of,
    split_messages,
    spread,
)
from pipeline.core.cli import argument_parser, run_stage
from pipeline.core.hashing import file_sha256
from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.slices import source_name
from pipeline.models import training
from pipeline.models.batches import rows_from_table
from pipeline.models.scoring import network_scorer
from pipeline.preprocessing.tokenizer import shard_tables

EXAMPLE = "python -m benchmarks.refit --source sms --splits 20"
MEASURED = {  # figures by their titles
    "ham_blocked_percent": "ham lost, %",
    "spam_caught_percent": "spam caught, %",
    "average_precision": "average precision",
}
NETWORKS = ("on train", "on train and val")


def measure(name: str, number: int, messages: pd.DataFrame) -> Figures:
    """`SOURCE/NETWORK/FIGURE` of NETWORKS and MEASURED, on test of the split of this number."""
    part = split_messages(messages, f"{SALTS['test']} {number}")
    given = training_input(name, part["train"])
    train, stop = training.split_rows(given.table, given.params)
    trainer = training.Trainer(given.spec, given.params)
    trainer.train(train, stop)
    first = calibrated_on(network_scorer(given.spec, trainer.model), part["val"])
    tokenizer = Tokenizer.from_str(json.dumps(given.spec))
    val = pa.concat_tables(shard_tables(part["val"], tokenizer, len(part["val"]))).to_pandas()
    trainer.train(train + rows_from_table(val), stop)
    second = replace(first, score=network_scorer(given.spec, trainer.model))
    figures = {}
    for network, model in zip(NETWORKS, (first, second), strict=True):
        for source, rows in part["test"].groupby(source_name(part["test"])):
            predictions = model.predictions(rows)
            for figure in MEASURED:
                value = METRICS[figure].function(predictions)
                figures[f"{source}/{network}/{figure}"] = value
    return figures


def table(results: dict[str, Figures], splits: int) -> str:
    """Markdown: a row a source and figure, columns of both networks and their difference."""
    measured = pd.DataFrame([results[f"{OURS} {number}"] for number in range(splits)])
    rows = {}
    for source in dict.fromkeys(name.split("/")[0] for name in measured):
        for figure, title in MEASURED.items():
            both = [measured[f"{source}/{network}/{figure}"] for network in NETWORKS]
            difference = mean_and_interval(both[1] - both[0]) if splits > 1 else ""
            rows[f"{source}: {title}"] = [*map(spread, both), difference]
    return markdown("", pd.DataFrame(rows, index=[*NETWORKS, "difference"]).T)


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--splits", type=int, default=5, help="number of splits (default: 5)")
    parser.add_argument("--source", help="measure one source alone, such as sms")
    options = parser.parse_args(argv)
    messages = messages_of(MESSAGES, options.source)
    tasks = [(OURS, number) for number in range(options.splits)]
    key = {"messages": file_sha256(MESSAGES), "code": file_sha256(Path(__file__))}
    part = f"_{options.source}" if options.source else ""
    path = RESULTS / f"refit{part}.json"
    results = complete(path, tasks, partial(measure, messages=messages), **key)
    print(table(results, options.splits))


if __name__ == "__main__":
    run_stage(main)
