"""Chooses the decision on val, and judges the model on test and the newest span beside a linear baseline."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.core.cli import parse_paths, run_stage
from pipeline.core.files import read_json, write_json
from pipeline.core.params import read_params
from pipeline.core.reports import Figure, write_report
from pipeline.core.schemas import MESSAGES, MISTAKES
from pipeline.core.tables import read_parquet, write_parquet
from pipeline.evaluation import attacks, behavioural_tests, bootstrap, metrics
from pipeline.evaluation.curves import write_plots
from pipeline.evaluation.metrics import Scored
from pipeline.evaluation.slices import slices
from pipeline.models import calibration, keras_files
from pipeline.models.baseline import baseline_scorer
from pipeline.models.served_model import SpamDetector
from pipeline.preprocessing import time_windows

log = logging.getLogger(__name__)

# Of each slice, in the report.
SLICE_METRICS = "spam_caught_percent", "ham_blocked_percent", "average_precision"
# Of the newest span.
NEWEST_METRICS = "f1", "average_precision", "spam_caught_percent", "ham_blocked_percent"
WORST = 50  # mistakes kept for a person to read


@dataclass(frozen=True)
class Params:
    lost_ham_budget: float  # share of ham, which the expected loss keeps to
    resamples: int  # of the bootstrap
    seed: int  # of the bootstrap

    def __post_init__(self) -> None:
        if not 1 <= self.resamples <= 1_000_000 or self.seed < 0:
            raise ValueError("resamples must be 1 to 1,000,000 and seed at least 0")


@dataclass(frozen=True)
class Judged:
    """A model's decision from val, and what it says of test."""

    decision: calibration.Decision
    test: Scored


def judge(
    truth: tuple[metrics.Labels, metrics.Labels],
    scores: Sequence[calibration.Scores],
    budget: float,
) -> Judged:
    """The same rule for every model, from (val, test): calibrated and cut on val, labelled on test."""
    chosen = calibration.fit(truth[0], scores[0], budget)
    probability = calibration.calibrate(scores[1], chosen)
    return Judged(chosen, Scored(truth[1], probability, calibration.label(probability, chosen)))


def network_scorer(tokenizer: Path, network: Path) -> attacks.Score:
    """Scores texts through the served path: the same code and SavedModel that MLflow serves."""
    with tempfile.TemporaryDirectory() as folder:
        keras_files.export(keras_files.load(network), Path(folder))
        detector = SpamDetector().load(tokenizer, Path(folder))
    return lambda texts: detector.scores(list(texts))


def calibrated(score: attacks.Score, chosen: calibration.Decision) -> behavioural_tests.Probability:
    """The probability of spam, of texts."""
    return lambda texts: calibration.calibrate(score(texts), chosen)


def scored(score: attacks.Score, chosen: calibration.Decision, rows: pd.DataFrame) -> Scored:
    """What a model says of other rows than those of test, by the decision that val made."""
    probability = calibrated(score, chosen)(rows["text"].tolist())
    return Scored(
        (rows["label"] == "spam").to_numpy(), probability, calibration.label(probability, chosen)
    )


def under_attack(
    score: attacks.Score,
    chosen: calibration.Decision,
    test: pd.DataFrame,
    seed: int,
    tried: Sequence[tuple[str, int]] = attacks.EVERY,
) -> dict[str, Figure]:
    """How much spam is still caught, and how much ham lost, when each message of test is edited."""
    spam = (test["label"] == "spam").to_numpy()
    messages = test["text"].tolist()
    figures, probability = {}, calibrated(score, chosen)

    def caught(texts: Sequence[str], among: NDArray[np.bool_]) -> Figure:
        labelled = calibration.label(probability(texts), chosen)
        return Figure(
            100 * float(labelled[among].mean()) if among.any() else None, n=int(among.sum())
        )

    for name, strength in tried:
        edited = attacks.attacked(messages, attacks.ATTACKS[name], strength, seed)
        figures[f"{name}_{strength}.spam_caught_percent"] = caught(edited, spam)
        figures[f"{name}_{strength}.ham_blocked_percent"] = caught(edited, ~spam)
    spams = [message for message, is_spam in zip(messages, spam, strict=True) if is_spam]
    edited = attacks.adaptive(spams, probability, chosen.threshold, seed)
    figures["adaptive.spam_caught_percent"] = caught(edited, np.ones(len(edited), np.bool_))
    return figures


def figures_of(
    ours: Judged, baseline: Judged, test: pd.DataFrame, params: Params
) -> dict[str, Figure]:
    """Every metric with its interval: ours, the baseline's, the paired difference, and ours by slice."""
    how = {"resamples": params.resamples, "seed": params.seed}
    figures = bootstrap.measure(ours.test, **how)
    figures |= prefixed("baseline", bootstrap.measure(baseline.test, **how))
    figures |= prefixed("difference", bootstrap.compare(ours.test, baseline.test, **how))
    for name, mask in slices(test):
        measured = bootstrap.measure(ours.test.take(mask), **how)
        figures |= prefixed(
            f"slices.{name}", {metric: measured[metric] for metric in SLICE_METRICS}
        )
    val = ours.decision
    figures["threshold"] = Figure(val.threshold)
    lost = val.ham_lost / val.ham
    figures["val_ham_lost"] = Figure(lost, high=val.lost_ham_upper, n=val.ham)
    return figures


def newest_figures(ours: Scored, baseline: Scored, params: Params) -> dict[str, Figure]:
    """On the newest span: ours, the baseline's, and the paired difference.

    What the rows do not define is null; without spam that is F1 too, which would be 0 whatever the model.
    """
    how = {"resamples": params.resamples, "seed": params.seed}
    measured = {
        "newest": bootstrap.measure(ours, **how),
        "baseline.newest": bootstrap.measure(baseline, **how),
        "difference.newest": bootstrap.compare(ours, baseline, **how),
    }
    undefined = {} if ours.spam else {"f1": Figure(None, n=len(ours.y_true))}
    return {
        f"{prefix}.{name}": (figures | undefined)[name]
        for prefix, figures in measured.items()
        for name in NEWEST_METRICS
    }


def prefixed(prefix: str, figures: dict[str, Figure]) -> dict[str, Figure]:
    return {f"{prefix}.{name}": figure for name, figure in figures.items()}


def worst_mistakes(test: pd.DataFrame, scored: Scored) -> pd.DataFrame:
    """The rows on which the model was most sure of the wrong label, worst first."""
    of_truth = np.where(scored.y_true, scored.y_score, 1 - scored.y_score)
    table = test.assign(
        probability=scored.y_score, wrong=scored.y_pred != scored.y_true, of_truth=of_truth
    )
    return table.sort_values(["of_truth", "message_id"]).head(WORST)[MISTAKES.names]


def sentence(figures: dict[str, Figure]) -> str:
    """The figures that a person asks for first."""

    def told(prefix: str) -> str:
        f1, caught, lost = (
            figures[f"{prefix}{name}"].value
            for name in ("f1", "spam_caught_percent", "ham_blocked_percent")
        )
        if None in (f1, caught, lost):
            return ""
        return f"f1 {f1:.3f}, spam caught {caught:.1f} %, ham lost {lost:.2f} %"

    newest = told("newest.") and f"newest {figures['newest.f1'].n:,} messages: {told('newest.')}; "
    return f"{told('')}; {newest}linear baseline: {told('baseline.')}"


def main(argv: list[str] | None = None) -> None:
    names = (
        "messages",
        "splits",
        "tokenizer",
        "network",
        "decision",
        "mistakes",
        "report",
        "metrics",
        "plots",
    )
    messages, splits, tokenizer, network, chosen, mistakes, report, flat, plots = vars(
        parse_paths(argv, __doc__, *names)
    ).values()
    params = read_params(Params, "evaluate")

    rows = read_parquet(messages, MESSAGES.names).to_pandas()
    of_split = read_parquet(splits, ["message_id", "split", "left_out"]).to_pandas()
    rows = rows.merge(of_split, on="message_id")
    read_json(tokenizer)  # refuses in one line what the tokenizer's own reader raises as it likes
    parts = {
        name: part.reset_index(drop=True) for name, part in rows[~rows["left_out"]].groupby("split")
    }
    texts = {name: part["text"].tolist() for name, part in parts.items()}
    spam = {name: (part["label"] == "spam").to_numpy() for name, part in parts.items()}
    truth = spam["val"], spam["test"]

    scorers = network_scorer(tokenizer, network), baseline_scorer(texts["train"], spam["train"])
    ours, baseline = (
        judge(truth, [score(texts["val"]), score(texts["test"])], params.lost_ham_budget)
        for score in scorers
    )
    figures = figures_of(ours, baseline, parts["test"], params)
    newest = rows[time_windows.newest(rows) & ~rows["left_out"]]
    said = [scored(s, of.decision, newest) for s, of in zip(scorers, (ours, baseline), strict=True)]
    figures |= newest_figures(said[0], said[1], params)
    for prefix, score, judged in zip(("", "baseline."), scorers, (ours, baseline), strict=True):
        chosen_of, test = judged.decision, parts["test"]
        figures |= prefixed(f"{prefix}attacks", under_attack(score, chosen_of, test, params.seed))
        held = behavioural_tests.measure(
            calibrated(score, chosen_of), chosen_of.threshold, texts["test"]
        )
        figures |= prefixed(f"{prefix}behaviours", held)

    write_json(chosen, asdict(ours.decision))
    worst = pa.Table.from_pandas(
        worst_mistakes(parts["test"], ours.test), MISTAKES, preserve_index=False
    )
    write_parquet(mistakes, worst.to_batches(), MISTAKES)
    write_plots(plots, ours.test, baseline.test)
    verdict = sentence(figures)
    write_report(report, len(parts["test"]), figures, verdict)
    written = read_json(report)["figures"]
    write_json(flat, {name: written[name]["value"] for name in metrics.METRICS})
    log.info("evaluate: %s", verdict)


if __name__ == "__main__":
    run_stage(main)
