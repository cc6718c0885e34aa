"""What MLflow shall show of an evaluated model: all of it from files."""

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.tracking import runs


@dataclass(frozen=True)
class RunInputs:
    """An evaluated model, as register has read it: what its MLflow run shows."""

    params: Mapping[str, Any]  # all of params.yaml
    evaluation: Mapping[str, Any]  # reports/evaluate.json
    curves: Mapping[str, Sequence[str]]  # reports/curves.csv, by column
    rows: pd.DataFrame  # the messages with split and left_out
    plots: Mapping[str, bytes]  # PNG by name
    folders: Mapping[str, Path]  # attached as they are, by name
    model_hash: str
    network_hash: str
    data_hash: str  # of data/validated/messages.parquet


def git_commit() -> str:
    """The Git commit that the run started from; empty outside a repository."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip()


def metric_name(figure: str) -> str:
    """A figure's name in MLflow, whose UI groups by what stands before the slash."""
    prefix, _, rest = figure.partition(".")
    return f"{prefix}/{rest}" if rest else f"test/{figure}"


def run_description(verdict: str, evaluation: Mapping[str, Any]) -> str:
    """The run's page: the verdict, and a table of the figures beside the baseline's."""
    figures = evaluation["figures"]
    head = [
        f"**{verdict}**",
        "",
        evaluation["verdict"],
        "",
        "| test | ours | 95 % | linear baseline |",
    ]
    lines = [*head, "|---|---|---|---|"]
    for name, ours in figures.items():
        baseline = figures.get(f"baseline.{name}")
        if baseline and ours["value"] is not None:
            interval = f"{ours['low']:.4f} to {ours['high']:.4f}" if "low" in ours else ""
            lines.append(f"| {name} | {ours['value']} | {interval} | {baseline['value']} |")
    return "\n".join(lines)


def split_tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """message_id and label of every split, without a text: what MLflow takes the datasets' digests of."""
    kept = rows[~rows["left_out"]].groupby("split")[["message_id", "label"]]
    return {str(name): table.reset_index(drop=True) for name, table in kept}


def collect_run_contents(inputs: RunInputs, verdict: str) -> runs.RunContents:
    """What MLflow shall show of this model, its params and its evaluation."""
    params = runs.flatten_params(inputs.params)
    evaluation = inputs.evaluation
    experiment = os.environ.get("DVC_EXP_NAME")
    key = json.dumps(
        [inputs.model_hash, params, evaluation, experiment]
    )  # applied, it is a run of its own
    figures = {name: figure["value"] for name, figure in evaluation["figures"].items()}
    curves = inputs.curves
    epochs = [
        {name: float(cell or "nan") for name, cell in zip(curves, row, strict=True)}
        for row in zip(*curves.values(), strict=True)
    ]
    return runs.RunContents(
        run_key=hashlib.sha256(key.encode()).hexdigest(),
        network_hash=inputs.network_hash,
        name=experiment or f"{params['train.model']} f1 {figures['f1']:.3f} {inputs.model_hash[:8]}",
        description=run_description(verdict, evaluation),
        params=params,
        metrics={metric_name(name): value for name, value in figures.items() if value is not None},
        curves=epochs,
        tags={
            "model_hash": inputs.model_hash,
            "data_hash": inputs.data_hash,
            "git_commit": git_commit(),
            "verdict": verdict,
            **({"dvc_experiment": experiment} if experiment else {}),
        },
        datasets=split_tables(inputs.rows),
        plots=inputs.plots,
        folders=inputs.folders,
    )
