"""Trains the article's networks, from the neuron to the computer with a memory, on equal splits.

All have the sizes and the tokenizer of the article's network, no corruption, and batches of 128,
which the slow ones need. Prints F1 (threshold: the largest F1 on val), average precision, log loss,
weights, and the time of training and of scoring, as mean ± standard deviation over the splits, and
the difference to the article's network with its 95 % interval.

Reads what `dvc repro` validated, or the messages of one --source of it. Results are kept for the
same messages, params and code.
"""

import time
from functools import partial
from pathlib import Path

import pandas as pd

from benchmarks.peers import training_input
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
    with_largest_f1,
)
from pipeline.core.cli import argument_parser, run_stage
from pipeline.core.hashing import file_sha256
from pipeline.evaluation.metrics import METRICS
from pipeline.models import architectures, training
from pipeline.models.scoring import network_scorer

EXAMPLE = "python -m benchmarks.article_ladder --source sms --splits 3 --networks neuron dense"
ARTICLE = "bilstm_article"
LADDER = ("neuron", "dense", "rnn", "lstm", ARTICLE, "dnc")
TRAINING = {"batch_size": 128, "learning_rate": 0.003}  # otherwise the article's
QUALITY = {"f1": "F1", "average_precision": "average precision", "log_loss": "log loss"}
COSTS = {
    "weights": "weights",
    "training_seconds": "training, seconds",
    "milliseconds": "scoring, milliseconds a message",
}


def measure(name: str, number: int, messages: pd.DataFrame) -> Figures:
    """The figures of a network of MODELS on a split of this number, by QUALITY and COSTS."""
    part = split_messages(messages, f"{SALTS['test']} {number}")
    given = training_input(name, part["train"], **TRAINING)
    train, stop = training.split_rows(given.table, given.params)
    start = time.perf_counter()
    trainer = training.Trainer(given.spec, given.params)
    trainer.train(train, stop)
    training_seconds = time.perf_counter() - start
    score = network_scorer(given.spec, trainer.model)
    model = with_largest_f1(calibrated_on(score, part["val"]), part["val"])
    predictions = model.predictions(part["test"])
    start = time.perf_counter()  # the second time, so that everything is compiled
    score(part["test"]["text"].tolist())
    milliseconds = 1000 * (time.perf_counter() - start) / len(part["test"])
    figures = {metric: METRICS[metric].function(predictions) for metric in QUALITY}
    costs = {"training_seconds": training_seconds, "milliseconds": milliseconds}
    return figures | costs | {"weights": trainer.model.count_params()}


def tables(results: dict[str, Figures], names: list[str], splits: int) -> str:
    """Markdown: each network's figures, and its difference to the article's network."""
    measured = {
        name: pd.DataFrame([results[f"{name} {number}"] for number in range(splits)])
        for name in names
    }
    titles = QUALITY | COSTS
    spreads = {name: table[list(titles)].apply(spread) for name, table in measured.items()}
    title = f"mean ± standard deviation of {splits} splits"
    parts = [markdown(title, pd.DataFrame(spreads).rename(index=titles).T)]
    if ARTICLE in measured and splits > 1:
        less = {
            name: (table - measured[ARTICLE])[list(QUALITY)].apply(mean_and_interval)
            for name, table in measured.items()
            if name != ARTICLE
        }
        rows = pd.DataFrame(less, index=list(QUALITY)).rename(index=QUALITY).T
        parts.append(markdown(f"minus {ARTICLE}", rows))
    return "\n\n".join(parts)


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--splits", type=int, default=20, help="number of splits (default: 20)")
    parser.add_argument("--source", help="measure one source alone, such as sms")
    choices = architectures.MODELS
    parser.add_argument("--networks", nargs="+", choices=choices, default=[*LADDER])
    options = parser.parse_args(argv)
    messages = messages_of(MESSAGES, options.source)
    tasks = [(name, number) for number in range(options.splits) for name in options.networks]
    key = {"messages": file_sha256(MESSAGES), "code": file_sha256(Path(__file__))}
    part = f"_{options.source}" if options.source else ""
    path = RESULTS / f"article_ladder{part}.json"
    results = complete(path, tasks, partial(measure, messages=messages), **key)
    print(tables(results, options.networks, options.splits))


if __name__ == "__main__":
    run_stage(main)
