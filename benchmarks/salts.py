"""Ours, the article's network and the linear baseline on five splits: mean and standard deviation on test.

`python -m benchmarks.salts` reads what `dvc repro` made and the default params; everything but the salt is
as the pipeline does it, through the same functions. Results also go to reports/benchmarks/salts.json, and
a model that is there already for these rows, params and code is not trained again.
"""

import dataclasses
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa

from pipeline import baseline, checkpoint, evaluate, models, stage, train, vectorize
from pipeline.decision import largest_f1_threshold
from pipeline.metrics import METRICS, Scored

SALTS = ["one", "two", "three", "four", "five"]
NETWORKS = ["bilstm", "bilstm_article"]
LINEAR = "linear"
COLUMNS: dict[str, Callable[[dict[str, list[float]]], list[float]]] = {  # of the table, a value a salt
    "ours": lambda by: by["bilstm"],
    "the article's": lambda by: by["bilstm_article"],
    "linear SVM": lambda by: by[LINEAR],
    "ours - the article's": lambda by: paired(by["bilstm"], by["bilstm_article"]),
    "ours - SVM": lambda by: paired(by["bilstm"], by[LINEAR]),
}
SHOWN = {  # figures of the table, and how they are called
    "f1 at largest f1 of val": "F1, threshold of largest F1 on val",
    "average_precision": "average precision",
    "f1": "F1, threshold by ham lost",
    "spam_caught_percent": "spam caught, %",
    "ham_blocked_percent": "ham lost, %",
    "log_loss": "log loss",
}
MESSAGES = Path("data/validated/messages.parquet")
RESULTS = Path("reports/benchmarks/salts.json")


def paired(ours: list[float], theirs: list[float]) -> list[float]:
    """The difference on each split."""
    return [a - b for a, b in zip(ours, theirs, strict=True)]


def train_network(shard: pd.DataFrame, params: train.Params, vocabulary_size: int, path: Path) -> None:
    """Trains a network as the stage does, and saves it."""
    aside = train.hold_out(shard, params.stop_share, params.seed)
    rows, stop = train.read_rows(shard[~aside]), train.read_rows(shard[aside])
    size = models.Size(vocabulary_size, params.embedding_dim, params.units, params.dropout)
    train.be_repeatable(params.seed)
    model = models.MODELS[params.model](size)
    train.train(rows, stop, model, params, report=lambda _: None)
    models.save(model, path)


def figures(truth: list, scores: list, budget: float) -> dict[str, float]:
    """Every metric on test by the pipeline's rule, and F1 by the peers' rule."""
    judged = evaluate.judge(truth, scores, budget)
    threshold = largest_f1_threshold(truth[0], scores[0])
    peers = Scored(truth[1], scores[1], scores[1] >= threshold)
    return {name: metric(judged.test) for name, metric in METRICS.items()} | {
        "f1 at largest f1 of val": METRICS["f1"](peers)
    }


def one_salt(messages: pd.DataFrame, salt: str, done: dict[str, dict[str, float]]) -> None:
    """Every model on one split; `done` gains what was missing."""
    params = dataclasses.replace(stage.read_params(vectorize.Params, "vectorize"), salt=salt)
    budget = stage.read_params(evaluate.Params, "evaluate").lost_ham_budget
    rows, _ = vectorize.divide(messages, params)
    part = {name: rows[(rows["split"] == name) & ~rows["left_out"]] for name in vectorize.RANK}
    texts = {name: table["text"].tolist() for name, table in part.items()}
    spam = {name: (table["label"] == "spam").to_numpy() for name, table in part.items()}
    truth = [spam["val"], spam["test"]]

    if f"{LINEAR} {salt}" not in done:
        scores = baseline.baseline_scores(texts["train"], spam["train"], texts["val"], texts["test"])
        done[f"{LINEAR} {salt}"] = figures(truth, scores, budget)
    tokenizer = vectorize.fit_tokenizer(texts["train"], params)
    shard = pa.concat_tables(vectorize.shards(part["train"], tokenizer, len(rows))).to_pandas()
    for name in NETWORKS:
        if f"{name} {salt}" in done:
            continue
        chosen = dataclasses.replace(stage.read_params(train.Params, "train"), model=name)
        with tempfile.TemporaryDirectory() as folder:
            network, file = Path(folder) / "model.keras", Path(folder) / "tokenizer.json"
            tokenizer.save(str(file))
            train_network(shard, chosen, tokenizer.get_vocab_size(), network)
            scores = evaluate.network_scores(file, network, texts["val"], texts["test"])
        done[f"{name} {salt}"] = figures(truth, scores, budget)


def main() -> None:
    key = checkpoint.key_of(stage.read_yaml(), MESSAGES)
    saved = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    done = saved["figures"] if saved.get("key") == key else {}
    messages = stage.read_parquet(MESSAGES).to_pandas()
    for salt in SALTS:
        one_salt(messages, salt, done)
        stage.write_json(RESULTS, {"key": key, "figures": done})
        print(f"salt {salt}: done", flush=True)
    print(f"| {' | '.join([f'test, {len(SALTS)} splits: mean ± deviation', *COLUMNS])} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for name, title in SHOWN.items():
        by_model = {model: [done[f"{model} {salt}"][name] for salt in SALTS] for model in [*NETWORKS, LINEAR]}
        values = [column(by_model) for column in COLUMNS.values()]
        cells = [f"{statistics.mean(v):.3f} ± {statistics.stdev(v):.3f}" for v in values]
        print(f"| {title} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
