"""Compares our network with other models on many splits, by the same rows and rules for all.

--on val is for choosing: each fifth of val, by campaign, is measured with the calibration and the
threshold of the other four. Rows that are in test by params.yaml are not read. --final measures
test with the decision of val. --out-of-fold scores each message by one of ten models that did not
see it. Note each use of the last two in docs/explanation/what-was-tried.md.

Reads what `dvc repro` validated, or the messages of one --source of it, such as the mails of
`spamassassin`. Results are kept for the same messages, params and code, those of each --source in a
file of its own.
"""

import json
import math
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from benchmarks.peers import MODELS, OURS, PEERS
from pipeline import evaluate, vectorize
from pipeline.core.cli import argument_parser, run_stage
from pipeline.core.files import write_json
from pipeline.core.hashing import file_sha256, unit_hash
from pipeline.core.params import read_params, read_yaml
from pipeline.core.tables import read_parquet
from pipeline.evaluation.attacks import attack_figures
from pipeline.evaluation.metrics import METRICS, Predictions, Scorer, counts_by_threshold, is_spam
from pipeline.evaluation.slices import source_name
from pipeline.models import checkpoints
from pipeline.models.calibration import largest_f1_threshold, read_budgets
from pipeline.models.scoring import CalibratedModel, calibrated_model
from pipeline.preprocessing.splits import SPLIT_RANK, assign_splits, left_out_wordings

EXAMPLE = "python -m benchmarks.quality --on val --splits 10 --models bilstm 'linear SVM'"
MESSAGES = Path("data/validated/messages.parquet")
RESULTS = Path("reports/benchmarks")
FOLD_SCORES = checkpoints.FOLDER / "quality_out_of_fold.json"  # large, so not among the reports
SALTS = {"val": "choosing", "test": "final"}  # split n has the salt "choosing n" or "final n"
VAL_FOLDS = 5
FOLDS = 10  # of all messages, out of fold
RESAMPLES = 1000  # of the bootstrap out of fold
TEST_TO_TRAIN = 0.15 / 0.70  # rows measured for each row trained on
ATTACKS = [("leet", 15), ("homoglyphs", 15), ("zero_width", 15), ("spaced_letters", 15)]
ATTACKS += [("typos", 15), ("good_words", 8), ("link_shuffling", 100)]
TITLES = {
    "f1": "F1 at the threshold with the largest F1",
    "average_precision": "average precision",
    "spam_caught_percent": "spam caught within the ham budget, %",
    "ham_blocked_percent": "ham lost at that threshold, %",
    "strict_recall": "spam caught at 0.2 % of its ham lost, %",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_slope": "calibration slope",
    **{f"{name}.lost": f"recall lost to {name} {strength}, points" for name, strength in ATTACKS},
    "ham_under_attack": "ham lost when ham is edited alike, mean of the attacks, %",
    "adaptive": "spam caught under the adaptive attack, %",
    "seconds": "training, seconds",
}
COMPARED = ("f1", "average_precision", "strict_recall", "log_loss", "brier", "adaptive")
STRICT_BUDGET = 0.002  # share of the measured ham, which that threshold is chosen by
Figures = dict[str, float]  # by the names of TITLES
Results = dict[str, Figures]  # by "MODEL PART"
Task = tuple[str, str | int]  # model and split, fold or setting


# ---- one model on one split


def measure_split(
    name: str,
    number: int,
    messages: pd.DataFrame,
    on: str,
    attacks: bool = True,
) -> Figures:
    """The figures of a model, trained on train of this split and measured on val or test.

    Args:
        attacks: whether to measure them, which takes longest.
    """
    if on == "val":  # what is test by params.yaml must not be used to choose
        committed, _ = assign_splits(messages, read_params(vectorize.Params, "vectorize"))
        messages = messages[(committed["split"] != "test").to_numpy()]
    part = split_messages(messages, f"{SALTS[on]} {number}")
    start = time.perf_counter()
    score = MODELS[name](part["train"])
    seconds = time.perf_counter() - start
    val, test = part["val"], part["test"]
    if on == "test":
        measured = [measure_rows(score, val, test, attacks)]
    else:
        folds = _folds(val, VAL_FOLDS, "fold")
        pairs = [(val[folds != n], val[folds == n]) for n in range(VAL_FOLDS)]
        measured = [measure_rows(score, *pair, attacks) for pair in pairs]
    return combined_figures(measured) | {"seconds": seconds}


def split_messages(messages: pd.DataFrame, salt: str) -> dict[str, pd.DataFrame]:
    """The rows of train, val and test by params.yaml with another salt, without near-copies."""
    params = read_params(vectorize.Params, "vectorize").model_copy(update={"salt": salt})
    rows, _ = assign_splits(messages, params)
    return {split: rows[(rows["split"] == split) & ~rows["left_out"]] for split in SPLIT_RANK}


def _folds(rows: pd.DataFrame, folds: int, salt: str) -> np.ndarray:
    """(n,): the fold of each row; a campaign is in one fold."""
    return np.array([int(folds * unit_hash(salt, key)) for key in rows["campaign_key"]])


def calibrated_on(
    score: Scorer, val: pd.DataFrame, out_of_fold: pd.DataFrame | None = None
) -> CalibratedModel:
    """The model by the budgets of params.yaml, or by the smallest that so little ham can keep.

    Args:
        out_of_fold: rows with a column `score`, that are used as those of val.
    """
    budgets = read_budgets()
    ham = sum(np.count_nonzero(~is_spam(rows)) for rows in (val, out_of_fold) if rows is not None)
    least = max(budgets.lost_ham_budget, math.ceil(1e6 / (1 + ham)) / 1e6)
    budgets = budgets.model_copy(update={"lost_ham_budget": least})
    return calibrated_model(score, val, val.iloc[:0], budgets, out_of_fold)


def with_largest_f1(model: CalibratedModel, val: pd.DataFrame) -> CalibratedModel:
    """The model with the threshold that has the largest F1 on val, for all sources."""
    threshold = largest_f1_threshold(is_spam(val), model.probabilities(val["text"].tolist()))
    return replace(model, decisions=replace(model.decisions, threshold=threshold, sources={}))


def measure_rows(
    score: Scorer, val: pd.DataFrame, rows: pd.DataFrame, attacks: bool = True
) -> dict:
    """Predictions of the rows, by the threshold of the budget and by that of the largest F1.

    Calibration and thresholds are those of val.
    """
    model = calibrated_on(score, val)
    by_f1 = with_largest_f1(model, val)
    predictions = {"budget": model.predictions(rows), "f1": by_f1.predictions(rows)}
    if not attacks:
        return predictions
    threshold = by_f1.decisions.threshold
    attacked = attack_figures(by_f1.probabilities, threshold, rows, seed=1, strengths=ATTACKS)
    return predictions | {"attacked": attacked}


def combined_figures(measured: Sequence[dict]) -> Figures:
    """The figures of all parts' rows together."""

    def joined(rule: str) -> Predictions:
        parts = [vars(part[rule]) for part in measured]
        names = ("y_true", "y_score", "y_pred")
        return Predictions(**{n: np.concatenate([part[n] for part in parts]) for n in names})

    by_f1, by_budget = joined("f1"), joined("budget")
    names = ("f1", "average_precision", "log_loss", "brier")
    figures = {name: METRICS[name].function(by_f1) for name in names}
    for name in ("spam_caught_percent", "ham_blocked_percent"):
        figures[name] = METRICS[name].function(by_budget)
    clipped = np.clip([by_f1.y_score, 1 - by_f1.y_score], 1e-12, 1)
    logit = np.log(clipped[0] / clipped[1])
    slope = LogisticRegression(C=np.inf, max_iter=1000).fit(logit[:, None], by_f1.y_true)
    figures["calibration_slope"] = float(slope.coef_[0, 0])
    figures["strict_recall"] = recall_within(by_f1.y_true, by_f1.y_score, STRICT_BUDGET)
    if "attacked" in measured[0]:
        figures |= _attacked_figures(measured, METRICS["spam_caught_percent"].function(by_f1))
    return figures


def _attacked_figures(measured: Sequence[dict], caught: float) -> Figures:
    """The figures under attack of all parts' rows together. Args: caught: of the spam, per cent."""

    def attack_mean(name: str) -> float:
        parts = [part["attacked"][name] for part in measured]
        return sum(f.value * f.n for f in parts) / sum(f.n for f in parts)

    figures = {}
    for name, strength in ATTACKS:
        figures[f"{name}.lost"] = caught - attack_mean(f"{name}_{strength}.spam_caught_percent")
    ham = [attack_mean(f"{name}_{strength}.ham_blocked_percent") for name, strength in ATTACKS]
    figures["ham_under_attack"] = statistics.mean(ham)
    figures["adaptive"] = attack_mean("adaptive.spam_caught_percent")
    return figures


# ---- out of fold


def score_fold(name: str, number: int, messages: pd.DataFrame) -> Figures:
    """The score of each message of a fold, by id, from a model that saw none of its near-copies."""
    rows, near_copies = assign_splits(messages, read_params(vectorize.Params, "vectorize"))
    in_fold = _folds(rows, FOLDS, "out of fold") == number
    first_row = np.unique(rows["wording"], return_index=True)[1]
    near = left_out_wordings(in_fold.astype(np.int64)[first_row], near_copies)[rows["wording"]]
    score = MODELS[name](rows[~in_fold & ~near])
    scores = score(rows["text"][in_fold].tolist())
    return dict(zip(rows["message_id"][in_fold], map(float, scores), strict=True))


def recall_within(y_true: np.ndarray, y_score: np.ndarray, budget: float) -> float:
    """Per cent of the spam above the lowest threshold that loses at most this share of the ham."""
    _, spam, ham = counts_by_threshold(y_true, y_score)
    within = spam[ham <= budget * np.count_nonzero(~y_true)]
    return 100 * float(max(within, default=0)) / np.count_nonzero(y_true)


def fold_summary(scores: Results, names: Sequence[str], messages: pd.DataFrame) -> dict:
    """Recall within the budget on all folds together, and ours minus it, with 95 % intervals.

    Models without a score for every message are left out.
    """
    budget = read_params(evaluate.Params, "evaluate").lost_ham_budget
    y_true = is_spam(messages)
    random = np.random.default_rng(1)
    classes = [np.flatnonzero(y_true), np.flatnonzero(~y_true)]
    draws = [np.arange(len(y_true))]
    for _ in range(RESAMPLES):
        draws.append(np.concatenate([random.choice(rows, len(rows)) for rows in classes]))
    recall = {}
    for name in names:
        by_id = {k: v for fold in range(FOLDS) for k, v in scores.get(f"{name} {fold}", {}).items()}
        if len(by_id) == len(messages):
            y_score = messages["message_id"].map(by_id).to_numpy()
            recall[name] = np.array([recall_within(y_true[i], y_score[i], budget) for i in draws])
    summary = {name: {"spam_caught_percent": _interval_of(v)} for name, v in recall.items()}
    for name in summary if OURS in summary else ():
        summary[name]["ours_minus_it"] = _interval_of(recall[OURS] - recall[name])
    return summary


def _interval_of(values: np.ndarray) -> Figures:
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return {"value": float(values[0]), "low": float(low), "high": float(high)}


# ---- tables


def corrected_interval(differences: pd.Series) -> tuple[float, float]:
    """The 95 % interval of a mean difference over n splits that share rows; nan if n < 2.

    Source: Nadeau and Bengio 2003: the variance is multiplied by 1/n + test rows / train rows.
    """
    n = len(differences)
    deviation = differences.std() * math.sqrt(1 / n + TEST_TO_TRAIN)
    reach = student.ppf(0.975, n - 1) * deviation
    return differences.mean() - reach, differences.mean() + reach


def split_tables(results: Results, names: Sequence[str], splits: int) -> str:
    """Markdown: mean and deviation of every figure of every model, and ours minus each other."""
    tables = {}
    for name in names:
        measured = {n: results[f"{name} {n}"] for n in range(splits) if f"{name} {n}" in results}
        if measured:
            tables[name] = pd.DataFrame(measured).T  # a row for each split
            tables[name] = tables[name][[figure for figure in TITLES if figure in tables[name]]]
    spreads = {f"{name} ({len(table)})": table.apply(spread) for name, table in tables.items()}
    parts = [markdown("mean ± standard deviation", pd.DataFrame(spreads).rename(index=TITLES))]
    if OURS in tables:
        less = {}
        for name in tables.keys() - {OURS}:
            pairs = (tables[OURS] - tables[name]).dropna()  # of the splits that both have
            compared = [figure for figure in COMPARED if figure in pairs]
            less[name] = pairs[compared].apply(mean_and_interval)
        rows = pd.DataFrame(less, columns=[name for name in tables if name != OURS]).T
        parts.append(markdown("ours minus", rows.rename(columns=TITLES)))
        slopes = mean_and_interval(tables[OURS]["calibration_slope"])
        parts.append(f"Calibration slope of ours: {slopes}")
    return "\n\n".join(parts)


def fold_table(summary: dict) -> str:
    """Markdown: the summary of `fold_summary`."""
    figures = pd.DataFrame.from_dict(summary, orient="index")
    cells = figures.map(lambda f: f"{f['value']:.1f} [{f['low']:.1f}, {f['high']:.1f}]")
    return markdown("out of fold", cells.rename(columns=TITLES))


def markdown(corner: str, table: pd.DataFrame) -> str:
    """A table of strings in Markdown."""
    lines = [[corner, *table.columns], ["---"] * (1 + len(table.columns))]
    lines += [list(row) for row in table.itertuples()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(values: pd.Series) -> str:
    """Mean and standard deviation."""
    exact = values.round(9)  # the difference of equal shares is 0
    deviation = f" ± {exact.std():.2g}" if len(exact) > 1 else ""
    return f"{exact.mean():.3g}{deviation}"


def mean_and_interval(values: pd.Series) -> str:
    """Mean and its interval of `corrected_interval`."""
    low, high = corrected_interval(values)
    return f"{values.mean():+.2g} [{low:+.2g}, {high:+.2g}]"


# ---- the command


def complete(path: Path, tasks: Sequence[Task], measure: Callable, **key: Any) -> Results:
    """The results in `path`, after measuring what is missing; each is saved at once.

    Args:
        tasks: (model, part), by "MODEL PART" in the results.
        measure: the figures of a model and a part.
        key: on what the results depend, beside params and code.
    """
    training_key = checkpoints.training_key(read_yaml() | key)
    saved = json.loads(path.read_text()) if path.exists() else {}
    results = saved["figures"] if saved.get("key") == training_key else {}
    missing = [(name, part) for name, part in tasks if f"{name} {part}" not in results]
    for name, part in tqdm(missing, "models and parts", unit="fit", disable=None):
        results[f"{name} {part}"] = measure(name, part)
        write_json(path, {"key": training_key, "figures": results})
    return results


def messages_of(path: Path, source: str | None) -> pd.DataFrame:
    """The validated messages, of one source or, with None, of all."""
    messages = read_parquet(path).to_pandas()
    if source:
        messages = messages[source_name(messages) == source].reset_index(drop=True)
    return messages


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--on", choices=["val"], help="measure val, to choose")
    which.add_argument("--final", action="store_true", help="measure test")
    which.add_argument("--out-of-fold", action="store_true", help="measure all messages")
    parser.add_argument("--source", help="measure one source alone, such as sms")
    parser.add_argument("--splits", type=int, default=20, help="number of splits (default: 20)")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=PEERS)
    parser.add_argument("--without-attacks", action="store_true", help="save the time they take")
    options = parser.parse_args(argv)
    messages = messages_of(MESSAGES, options.source)
    key = {"messages": file_sha256(MESSAGES), "source": options.source}
    names = list(options.models)
    if "bogofilter" in names and not shutil.which("bogofilter"):
        print("bogofilter is left out: `apt-get install bogofilter` installs it")
        names.remove("bogofilter")
    if options.out_of_fold:
        tasks = [(name, number) for number in range(FOLDS) for name in names]
        scores = complete(FOLD_SCORES, tasks, partial(score_fold, messages=messages), **key)
        summary = fold_summary(scores, names, messages)
        write_json(RESULTS / "quality_out_of_fold.json", summary)
        print(fold_table(summary))
    else:
        on = "test" if options.final else "val"
        attacks = not options.without_attacks
        measure = partial(measure_split, messages=messages, on=on, attacks=attacks)
        tasks = [(name, number) for number in range(options.splits) for name in names]
        path = RESULTS / f"quality_{'_'.join(filter(None, [on, options.source]))}.json"
        results = complete(path, tasks, measure, attacks=attacks, **key)
        print(split_tables(results, names, options.splits))


if __name__ == "__main__":
    run_stage(main)
