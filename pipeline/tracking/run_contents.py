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
    network_hash: str  # sha256 of model.keras
    data_hash: str  # sha256 of the validated messages


DESCRIPTION_LENGTH = 5_000  # characters that a version's description may have in PostgreSQL


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
    return f"{prefix}/{rest}" if rest else f"test/{figure}"


def run_description(verdict: str, evaluation: Mapping[str, Any]) -> str:
    """The run's page, in Markdown: the verdict, and the figures beside those of the baseline.

    The attacks come last, and what is beyond DESCRIPTION_LENGTH is left out.
    """
    figures = evaluation["figures"]
    lines = [
        f"**{verdict}**",
        "",
        evaluation["verdict"],
        "",
        "| test | ours | 95 % | linear baseline |",
        "|---|---|---|---|",
    ]
    for name in sorted(figures, key=lambda name: name.startswith("attacks.")):
        ours, baseline = figures[name], figures.get(f"baseline.{name}")
        if baseline and ours["value"] is not None:
            interval = f"{ours['low']:.4f} to {ours['high']:.4f}" if "low" in ours else ""
            lines.append(f"| {name} | {ours['value']} | {interval} | {baseline['value']} |")
    if len("\n".join(lines)) > DESCRIPTION_LENGTH:
        last = ["", "All figures are in `reports/evaluate.json`."]
        while len("\n".join(lines + last)) > DESCRIPTION_LENGTH and len(lines) > 1:
            lines.pop()
        lines += last
    return "\n".join(lines)[:DESCRIPTION_LENGTH]


def split_tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Columns message_id and label of each split, without texts and without rows left out.

    MLflow logs the digests of these tables.
    """
    used = rows[~rows["left_out"]].groupby("split")[["message_id", "label"]]
    return {str(name): table.reset_index(drop=True) for name, table in used}
