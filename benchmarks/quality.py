"""Ours and what people would use instead: the same rows, splits and rules, paired over many splits.

`python -m benchmarks.quality --on val` is for choosing: each fifth of val, by campaign, is judged with the
threshold and calibration of the other four; no row is read that is test of this split or of params.yaml's.
`python -m benchmarks.quality --final` judges test with what val decides, and `--out-of-fold` each message by
one of ten models that did not see it; each use of these two is a line in benchmarks/NOTES.md. All read what
`dvc repro` validated; everything but the salt is as the pipeline does it, through the same functions. What
reports/benchmarks/ holds for these rows, params and code is not measured again.
"""

import argparse
import json
import math
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.stats import t as student
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from tqdm import tqdm

from pipeline import evaluate, train, vectorize
from pipeline.core.cli import run_stage
from pipeline.core.files import write_json
from pipeline.core.hashing import unit_hash
from pipeline.core.params import read_params, read_yaml
from pipeline.core.tables import read_parquet
from pipeline.evaluation.attacks import Score
from pipeline.evaluation.metrics import METRICS, Scored, ladder
from pipeline.models import (
    architectures,
    augmentation,
    baseline,
    calibration,
    checkpoints,
    keras_files,
    training,
)
from pipeline.preprocessing import normalize
from pipeline.preprocessing.params import Params
from pipeline.preprocessing.splits import RANK, assign_splits, left_out_mask
from pipeline.preprocessing.tokenizer import fit_tokenizer, shards

MESSAGES = Path("data/validated/messages.parquet")
RESULTS = Path("reports/benchmarks")
SALTS = {
    "val": "choosing",
    "test": "final",
}  # split n is that of the salt "choosing n" or "final n"
ATTACKED = [
    ("leet", 15),
    ("homoglyphs", 15),
    ("zero_width", 15),
    ("spaced_letters", 15),
    ("typos", 15),
]
ATTACKED += [("good_words", 8), ("link_shuffling", 100)]
ARTICLE = {
    "embedding_dim": 64,
    "units": 64,
    "learning_rate": 0.001,
    "batch_size": 32,
    "corruptions": [],
}
ARTICLE |= {"epochs": 10, "patience": 4}
ARTICLE_VOCABULARY = 2000
OURS = "bilstm"
FOLDS = 5  # of val, where it stands in for test
TENTHS = 10  # of all messages, out of fold
RESAMPLES = 1000  # of the bootstrap behind the intervals out of fold
TEST_SHARE = 0.15 / 0.70  # rows judged for each row trained on
SHOWN = {  # figures of the table, and how they are called
    "f1": "F1, threshold of largest F1",
    "average_precision": "average precision",
    "spam_caught_percent": "spam caught within the budget of ham, %",
    "ham_blocked_percent": "ham lost with it, %",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_slope": "calibration slope",
    **{f"{name}.lost": f"recall lost to {name} {strength}, points" for name, strength in ATTACKED},
    "ham_under_attack": "ham lost on ham so edited, mean of the attacks, %",
    "adaptive": "spam caught under the adaptive attack, %",
    "seconds": "training, seconds",
}
COMPARED = (
    "f1",
    "average_precision",
    "log_loss",
    "brier",
    "adaptive",
)  # of these, paired differences

# ---- ours, and the other networks


def network(name: str, rows: pd.DataFrame, **changes: object) -> Score:
    """Tokenizer and network of the stages vectorize and train, by the names of MODELS."""
    of_vectorize, of_train = (
        read_params(m.Params, n) for m, n in ((vectorize, "vectorize"), (train, "train"))
    )
    if name != OURS:
        of_vectorize, changes = (
            replace(of_vectorize, vocabulary_size=ARTICLE_VOCABULARY),
            ARTICLE | changes,
        )
    params = replace(of_train, model=name, **changes)
    tokenizer = fit_tokenizer(rows["text"], of_vectorize)
    shard = pa.concat_tables(shards(rows, tokenizer, len(rows))).to_pandas()
    spec = json.loads(tokenizer.to_str())
    model, _ = training.fit(*training.split_rows(shard, params), spec, params, len)
    with tempfile.TemporaryDirectory() as folder:
        file, saved = Path(folder) / "tokenizer.json", Path(folder) / "model.keras"
        tokenizer.save(str(file))
        keras_files.save(model, saved)
        return evaluate.network_scorer(file, saved)


# ---- what people would use instead


def linear_svm(rows: pd.DataFrame) -> Score:
    """The baseline of the pipeline."""
    return baseline.baseline_scorer(rows["text"].tolist(), _spam(rows))


def logistic_regression(rows: pd.DataFrame) -> Score:
    """On the features of the SVM."""
    model = baseline.baseline()
    model.steps[-1] = ("logistic", LogisticRegression(C=50, max_iter=1000))
    return _probability(model, rows["text"].tolist(), _spam(rows))


def corrupted_logistic_regression(rows: pd.DataFrame) -> Score:
    """On characters, canonicalised, and trained with the corruptions that ours trains with."""
    of_train, spam = read_params(training.Params, "train"), _spam(rows)
    texts, random = rows["text"].tolist(), Random(of_train.seed)
    ham = (
        word
        for message, is_spam in zip(texts, spam, strict=True)
        if not is_spam
        for word in message.split()
    )
    words = [word for word in ham if augmentation.may_train(word)]
    names = of_train.corruptions
    copies = of_train.copies if names else 0
    edited = [augmentation.corrupted(m, names, random, words) for _ in range(copies) for m in texts]
    reader = TfidfVectorizer(
        ngram_range=(2, 5),
        sublinear_tf=True,
        analyzer="char",
        preprocessor=lambda m: normalize.canonicalise(m).lower(),
    )
    model = make_pipeline(reader, LogisticRegression(C=50, max_iter=1000))
    return _probability(model, texts + edited, np.tile(spam, 1 + copies))


def naive_bayes(rows: pd.DataFrame) -> Score:
    """Multinomial, on words."""
    return _probability(
        make_pipeline(CountVectorizer(), MultinomialNB(alpha=0.1)),
        rows["text"].tolist(),
        _spam(rows),
    )


def fasttext(rows: pd.DataFrame) -> Score:
    """Facebook's, supervised, with word pairs and its character n-grams."""
    import fasttext as library

    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        for message, label in zip(rows["text"], rows["label"], strict=True):
            file.write(f"__label__{label} {normalize.fold(message)}\n")
        file.flush()
        model = library.train_supervised(
            file.name,
            epoch=25,
            lr=0.5,
            wordNgrams=2,
            minn=2,
            maxn=5,
            dim=50,
            thread=1,
            seed=1,
            verbose=0,
        )

    def score(texts: Sequence[str]) -> np.ndarray:
        found = model.predict([normalize.fold(message) for message in texts], k=2)
        return np.array(
            [dict(zip(*one, strict=True))["__label__spam"] for one in zip(*found, strict=True)]
        )

    return score


def bogofilter(rows: pd.DataFrame) -> Score:
    """The mail filter, where it is installed."""
    folder = tempfile.TemporaryDirectory()

    def run(*options: str, mbox: str) -> str:
        command = ["bogofilter", "--bogofilter-dir", folder.name, "-M", *options]
        done = subprocess.run(command, input=mbox, capture_output=True, text=True, check=False)
        return done.stdout

    for label, option in (("spam", "-s"), ("ham", "-n")):
        run(option, mbox=_mbox(rows["text"][rows["label"] == label]))
    return lambda texts, _keep=folder: np.array(
        [float(line.split()[1]) for line in run("-T", mbox=_mbox(texts)).splitlines()]
    )


def _mbox(texts: Sequence[str]) -> str:
    return "".join(
        f"From a@b Thu Jan  1 00:00:00 1970\nSubject: \n\n {' '.join(m.split())}\n\n" for m in texts
    )


def _probability(model: object, texts: Sequence[str], spam: np.ndarray) -> Score:
    model.fit(list(texts), spam)
    return lambda those: model.predict_proba(list(those))[:, 1]


def _spam(rows: pd.DataFrame) -> np.ndarray:
    return (rows["label"] == "spam").to_numpy()


PEERS: dict[str, Callable[[pd.DataFrame], Score]] = {
    **{
        name: partial(network, name) for name in [OURS, *sorted(set(architectures.MODELS) - {OURS})]
    },
    "linear SVM": linear_svm,
    "logistic regression": logistic_regression,
    "logistic regression, corrupted": corrupted_logistic_regression,
    "naive Bayes": naive_bayes,
    "fastText": fasttext,
    "bogofilter": bogofilter,
}
ABLATIONS: dict[str, Callable[[pd.DataFrame], Score]] = {  # ours without one part
    "wide path alone": partial(network, OURS, wide_share=1.0),
    "deep path alone": partial(network, OURS, wide_share=0.0),
    "no corruption": partial(network, OURS, corruptions=[]),
    "no token dropout": partial(network, OURS, token_dropout=0.0),
    "no corrupted copies": partial(network, OURS, copies=0),
    **{
        f"without {name}": partial(
            network, OURS, corruptions=[n for n in augmentation.CORRUPTIONS if n != name]
        )
        for name in augmentation.CORRUPTIONS
    },
}
MODELS = PEERS | ABLATIONS

# ---- the same rules for all


def judged(
    score: Score, decides: pd.DataFrame, rows: pd.DataFrame, budget: float
) -> dict[str, tuple]:
    """Calibrated and cut on some rows, scored on others: by the budget of ham, and by the largest F1."""
    truth = _spam(decides), _spam(rows)
    scores = score(decides["text"].tolist()), score(rows["text"].tolist())
    by_budget = evaluate.judge(truth, scores, budget)
    calibrated = calibration.calibrate(scores[0], by_budget.decision)
    cut = replace(
        by_budget.decision, threshold=calibration.largest_f1_threshold(truth[0], calibrated)
    )
    y_score = by_budget.test.y_score
    by_f1 = Scored(truth[1], y_score, calibration.label(y_score, cut))
    attacked = evaluate.under_attack(score, cut, rows, seed=1, tried=ATTACKED)
    return {"budget": by_budget.test, "f1": by_f1, "attacked": attacked}


def figures_of(sides: Sequence[dict]) -> dict[str, float]:
    """The figures of SHOWN, of all sides' rows together."""
    budget, by_f1 = (
        Scored(
            *(
                np.concatenate([getattr(side[which], name) for side in sides])
                for name in ("y_true", "y_score", "y_pred")
            )
        )
        for which in ("budget", "f1")
    )
    found = {
        name: METRICS[name](by_f1) for name in ("f1", "average_precision", "log_loss", "brier")
    }
    found |= {
        name: METRICS[name](budget) for name in ("spam_caught_percent", "ham_blocked_percent")
    }
    logit = np.log(np.clip(by_f1.y_score, 1e-12, 1) / np.clip(1 - by_f1.y_score, 1e-12, 1))
    slope = LogisticRegression(C=np.inf, max_iter=1000).fit(logit[:, None], by_f1.y_true)
    found["calibration_slope"] = float(slope.coef_[0, 0])

    def mean(name: str) -> float:
        figures = [side["attacked"][name] for side in sides]
        return sum(figure.value * figure.n for figure in figures) / sum(
            figure.n for figure in figures
        )

    clean = METRICS["spam_caught_percent"](by_f1)
    for name, strength in ATTACKED:
        found[f"{name}.lost"] = clean - mean(f"{name}_{strength}.spam_caught_percent")
    ham = [mean(f"{name}_{strength}.ham_blocked_percent") for name, strength in ATTACKED]
    found["ham_under_attack"] = statistics.mean(ham)
    found["adaptive"] = mean("adaptive.spam_caught_percent")
    return found


def measured(name: str, messages: pd.DataFrame, on: str, number: int) -> dict[str, float]:
    """One model on one split."""
    params = replace(read_params(Params, "vectorize"), salt=f"{SALTS[on]} {number}")
    budget = read_params(evaluate.Params, "evaluate").lost_ham_budget
    if on == "val":  # what the committed run is judged on must not be chosen on
        committed, _ = assign_splits(messages, read_params(Params, "vectorize"))
        messages = messages[(committed["split"] != "test").to_numpy()]
    rows, _ = assign_splits(messages, params)
    part = {split: rows[(rows["split"] == split) & ~rows["left_out"]] for split in RANK}
    start = time.perf_counter()
    score = MODELS[name](part["train"])
    seconds = time.perf_counter() - start
    if on == "test":
        sides = [judged(score, part["val"], part["test"], budget)]
    else:
        val = part["val"]
        fold = np.array([int(FOLDS * unit_hash("fold", key)) for key in val["campaign_key"]])
        parts = [(val[fold != n], val[fold == n]) for n in range(FOLDS)]
        sides = [judged(score, decides, rows, borne(decides, budget)) for decides, rows in parts]
    return figures_of(sides) | {"seconds": seconds}


def borne(decides: pd.DataFrame, budget: float) -> float:
    """The budget, or the least that so little ham can keep."""
    return max(budget, math.ceil(1e6 / (1 + np.count_nonzero(~_spam(decides)))) / 1e6)


def folded(name: str, messages: pd.DataFrame, number: int) -> dict[str, float]:
    """Scores of one tenth of the messages, by a model that saw neither them nor a near-copy of theirs."""
    rows, near = assign_splits(messages, read_params(Params, "vectorize"))
    held = np.array(
        [int(TENTHS * unit_hash("out of fold", key)) == number for key in rows["campaign_key"]]
    )
    rank_of_wording = held.astype(np.int64)[np.unique(rows["wording"], return_index=True)[1]]
    near_held = left_out_mask(rank_of_wording, near)[rows["wording"]]
    score = MODELS[name](rows[~held & ~near_held])
    return dict(
        zip(rows["message_id"][held], map(float, score(rows["text"][held].tolist())), strict=True)
    )


def recall_within(y_true: np.ndarray, y_score: np.ndarray, budget: float) -> float:
    """Per cent of the spam above the lowest score that costs no more than this share of the ham."""
    _, spam, ham = ladder(y_true, y_score)
    within = spam[ham <= budget * np.count_nonzero(~y_true)]
    return 100 * float(max(within, default=0)) / np.count_nonzero(y_true)


# ---- the tables


def corrected_interval(differences: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean difference over splits that share rows.

    Source: Nadeau and Bengio 2003: the variance of n splits is that of 1 / n + rows judged / rows trained on.
    """
    n = len(differences)
    if n < 2:
        return math.nan, math.nan
    spread = math.sqrt((1 / n + TEST_SHARE) * statistics.variance(differences))
    reach = student.ppf(0.975, n - 1) * spread
    return statistics.mean(differences) - reach, statistics.mean(differences) + reach


def tables(done: dict[str, dict[str, float]], names: Sequence[str], splits: int) -> str:
    """Means and deviations of every model, and ours less each other one, as Markdown."""
    by_model = {
        name: {n: done[f"{name} {n}"] for n in range(splits) if f"{name} {n}" in done}
        for name in names
    }
    by_model = {name: found for name, found in by_model.items() if found}
    lines = [
        f"| mean ± deviation | {' | '.join(f'{name} ({len(found)})' for name, found in by_model.items())} |"
    ]
    lines.append("|---" * (len(by_model) + 1) + "|")
    for figure, title in SHOWN.items():
        values = [[one[figure] for one in found.values()] for found in by_model.values()]
        lines.append(f"| {title} | {' | '.join(map(_spread, values))} |")
    if OURS in by_model:
        lines += ["", f"| ours less | {' | '.join(SHOWN[f] for f in COMPARED)} |"]
        lines.append("|---" * (len(COMPARED) + 1) + "|")
        for name, found in by_model.items():
            both = [n for n in found if n in by_model[OURS]]
            if name != OURS and both:
                less = [[by_model[OURS][n][f] - found[n][f] for n in both] for f in COMPARED]
                lines.append(f"| {name} | {' | '.join(map(_interval, less))} |")
        slopes = [one["calibration_slope"] for one in by_model[OURS].values()]
        lines += ["", f"Calibration slope of ours, with its interval: {_interval(slopes)}"]
    return "\n".join(lines)


def pooled(done: dict[str, dict[str, float]], names: Sequence[str], messages: pd.DataFrame) -> str:
    """Recall within the budget of ham on the scores of all tenths together, as Markdown, with bootstraps."""
    budget = read_params(evaluate.Params, "evaluate").lost_ham_budget
    y_true, random = _spam(messages), np.random.default_rng(1)
    classes = np.flatnonzero(y_true), np.flatnonzero(~y_true)
    draws = [
        np.concatenate([random.choice(rows, len(rows)) for rows in classes])
        for _ in range(RESAMPLES)
    ]
    lines = [
        "| out of fold, all tenths together | spam caught within the budget, % | ours less it |",
        "|---|---|---|",
    ]
    found = {}
    for name in names:
        of_message = {k: v for n in range(TENTHS) for k, v in done.get(f"{name} {n}", {}).items()}
        if len(of_message) == len(messages):
            scores = messages["message_id"].map(of_message).to_numpy()
            values = [
                recall_within(y_true[i], scores[i], budget)
                for i in [np.arange(len(y_true)), *draws]
            ]
            found[name] = np.array(values)
    for name, values in found.items():
        less = found[OURS] - values if OURS in found else np.full_like(values, math.nan)
        lines.append(f"| {name} | {_bootstrapped(values)} | {_bootstrapped(less)} |")
    return "\n".join(lines)


def _bootstrapped(values: np.ndarray) -> str:
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return f"{values[0]:.1f} [{low:.1f}, {high:.1f}]"


def _spread(values: Sequence[float]) -> str:
    exact = [round(value, 9) for value in values]  # the difference of two equal shares is 0
    deviation = f" ± {statistics.stdev(exact):.2g}" if len(exact) > 1 else ""
    return f"{statistics.mean(exact):.3g}{deviation}"


def _interval(values: Sequence[float]) -> str:
    low, high = corrected_interval(values)
    return f"{statistics.mean(values):+.2g} [{low:+.2g}, {high:+.2g}]"


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.quality", description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--on", choices=["val"], help="judge val, for choosing")
    which.add_argument(
        "--final", action="store_true", help="judge test; add a line to benchmarks/NOTES.md"
    )
    which.add_argument(
        "--out-of-fold",
        action="store_true",
        help="judge all messages; add a line to benchmarks/NOTES.md",
    )
    parser.add_argument("--splits", type=int, default=20, help="how many (default: 20)")
    parser.add_argument(
        "--models",
        nargs="+",
        choices=list(MODELS),
        default=list(PEERS),
        metavar="NAME",
        help=", ".join(MODELS),
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=math.inf,
        metavar="MINUTES",
        help="start nothing new after that",
    )
    chosen = parser.parse_args()
    messages = read_parquet(MESSAGES).to_pandas()
    on, splits, measure = "out_of_fold", TENTHS, folded
    if not chosen.out_of_fold:
        on, splits = "test" if chosen.final else "val", chosen.splits
        measure = partial(measured, on=on)
    path = RESULTS / f"quality_{on}.json"
    key = checkpoints.key_of(read_yaml(), MESSAGES, *sorted(Path("pipeline").glob("*.py")))
    saved = json.loads(path.read_text()) if path.exists() else {}
    done = saved["figures"] if saved.get("key") == key else {}
    names = [name for name in chosen.models if name != "bogofilter" or shutil.which("bogofilter")]
    left = [(name, n) for n in range(splits) for name in names if f"{name} {n}" not in done]
    end = time.monotonic() + 60 * chosen.budget
    for name, n in tqdm(left, "models and splits", unit="fit", disable=None):
        if time.monotonic() > end:
            break
        done[f"{name} {n}"] = measure(name, messages, number=n)
        write_json(path, {"key": key, "figures": done})
    print(pooled(done, names, messages) if chosen.out_of_fold else tables(done, names, splits))


if __name__ == "__main__":
    run_stage(main)
