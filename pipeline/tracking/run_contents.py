"""Collects what MLflow shows of an evaluated model; all of it comes from files."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.git import try_git
from pipeline.tracking.runs import flatten_params


@dataclass(frozen=True)
class RunInputs:
    """What register has read and hashed of one evaluated model."""

    params: Mapping[str, Any]  # params.yaml
    evaluation: Mapping[str, Any]  # reports/evaluate.json
    curves: Mapping[str, Sequence[float]]  # columns of TRAINING_CURVES
    rows: pd.DataFrame  # VALIDATED and SPLITS, joined by message_id
    plots: Mapping[str, bytes]  # PNG, by name
    folders: Mapping[str, Path]  # attached as they are, by name
    model_hash: str  # sha256 of network, tokenizer and decision
    network_hash: str  # sha256 of model.keras, the network that serves
    data_hash: str  # sha256 of the validated messages


DESCRIPTION_LENGTH = 5_000  # characters that a version's description may have in PostgreSQL
DESCRIBED_FIGURES = (  # the most important first
    *("f1", "precision", "recall", "ham_blocked_percent", "average_precision", "calibration_error"),
    *("newest.f1", "newest.ham_blocked_percent"),
    *("behaviours.business_ham.holds_percent", "behaviours.current_scams.holds_percent"),
    *("attacks.leet_15.spam_caught_percent", "attacks.padding_before_300.spam_caught_percent"),
)
METRIC_GROUPS = {  # by a figure's first part; MLflow draws the groups in alphabetical order
    "one_minus_roc_auc_percent": "test_trec",
    "lam_percent": "test_trec",
    "behaviours": "test_behaviours",
    "confident": "test_confident",
    "newest": "test_newest",
    "served": "test_served_network",
    "served_gain": "test_served_minus_evaluated",
    "threshold": "thresholds",
    "val_ham_lost": "thresholds",
    "val_spam_caught": "thresholds",
    "sources": "thresholds",
    "attacks": "under_attack",  # this and the following stand below train/, the curves
    "baseline": "values_of_baseline",
    "difference": "versus_baseline",
    "slices": "within_slices",
}


@dataclass(frozen=True)
class RunContents:
    """What MLflow shows of one evaluated model."""

    run_key: str  # sha256 of the model, its params and its evaluation
    network_hash: str  # sha256 of model.keras, by which the training's live run is found
    name: str
    description: str  # Markdown
    params: Mapping[str, Any]  # by dotted key, such as `train.units`
    metrics: Mapping[str, float]  # by name in MLflow, such as `test/f1`
    curves: list[dict[str, float]]  # rows of TRAINING_CURVES
    tags: Mapping[str, str]
    datasets: Mapping[str, pd.DataFrame]  # by split: columns message_id and label
    plots: Mapping[str, bytes]  # PNG, by name
    folders: Mapping[str, Path] = field(default_factory=dict)  # attached as they are, by name


def collect_run_contents(inputs: RunInputs, verdict: str) -> RunContents:
    """What MLflow shows of this model.

    Args:
        verdict: register's, one sentence.
    """
    params = flatten_params(inputs.params)
    figures = {name: figure["value"] for name, figure in inputs.evaluation["figures"].items()}
    experiment = os.environ.get("DVC_EXP_NAME")  # set by `dvc exp run`
    name = f"{params['train.model']} f1 {figures['f1']:.3f} {inputs.model_hash[:8]}"
    tags = {
        "model_hash": inputs.model_hash,
        "data_hash": inputs.data_hash,
        "git_commit": git_commit(),
        "verdict": verdict,
    }
    return RunContents(
        run_key=run_key(inputs),
        network_hash=inputs.network_hash,
        name=experiment or name,
        description=run_description(verdict, inputs.evaluation),
        params=params,
        metrics={metric_name(name): value for name, value in figures.items() if value is not None},
        curves=_epochs(inputs.curves),
        tags=tags | ({"dvc_experiment": experiment} if experiment else {}),
        datasets=split_tables(inputs.rows),
        plots=inputs.plots,
        folders=inputs.folders,
    )


def run_key(inputs: RunInputs) -> str:
    """The sha256 of the model, its params and its evaluation; each experiment has its own run."""
    experiment = os.environ.get("DVC_EXP_NAME")
    params = flatten_params(inputs.params)
    key = json.dumps([inputs.model_hash, params, inputs.evaluation, experiment])
    return hashlib.sha256(key.encode()).hexdigest()


def _epochs(curves: Mapping[str, Sequence[float]]) -> list[dict[str, float]]:
    """The table's rows."""
    return [dict(zip(curves, row, strict=True)) for row in zip(*curves.values(), strict=True)]


def git_commit() -> str:
    """The commit that is checked out; empty outside a repository."""
    return (try_git("rev-parse", "HEAD") or "").strip()


def metric_name(figure: str) -> str:
    """A figure's name in MLflow, whose UI groups metrics by the part before the slash."""
    prefix, _, rest = figure.partition(".")
    group = METRIC_GROUPS.get(prefix, prefix if rest else "test")
    return f"{group}/{rest or prefix}"


def run_description(verdict: str, evaluation: Mapping[str, Any]) -> str:
    """The run's page, in Markdown: the verdict, and the figures beside those of the baseline."""
    figures = evaluation["figures"]
    lines = [
        verdict,
        "",
        evaluation["verdict"],
        "",
        _markdown_row("test", "ours", "95 % interval", "linear baseline"),
        "|---|---|---|---|",
    ]
    for name in DESCRIBED_FIGURES:
        ours, baseline = figures.get(name, {}), figures.get(f"baseline.{name}", {})
        if ours.get("value") is not None:
            interval = f"{ours['low']:.3g} to {ours['high']:.3g}" if "low" in ours else ""
            other = "" if baseline.get("value") is None else f"{baseline['value']:.3g}"
            lines.append(_markdown_row(name, f"{ours['value']:.3g}", interval, other))
    lines += ["", "The artifact `reports/evaluate.json` has all figures."]
    return "\n".join(lines)[:DESCRIPTION_LENGTH]


def _markdown_row(*cells: str) -> str:
    """A row in Markdown, with gaps, as MLflow's tables have none."""
    return f"| {' | '.join(f'{cell}&emsp;' for cell in cells)} |"


def split_tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Columns message_id and label of each split, without texts and without rows left out.

    MLflow logs the digests of these tables.
    """
    used = rows[~rows["left_out"]].groupby("split")[["message_id", "label"]]
    return {str(name): table.reset_index(drop=True) for name, table in used}
