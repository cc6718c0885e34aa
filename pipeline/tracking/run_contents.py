"""What MLflow shall show of an evaluated model: all of it from files."""

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.files import read_json
from pipeline.core.hashing import combined_sha256
from pipeline.core.params import read_yaml
from pipeline.core.tables import read_csv, read_parquet
from pipeline.tracking import plots, runs


@dataclass(frozen=True)
class ModelFiles:
    """The files of one evaluated model, as `dvc.yaml` names them."""

    definitions: Path  # dvc.yaml itself, for its plots
    messages: Path
    splits: Path
    tokenizer: Path
    network: Path
    decision: Path
    curves: Path
    evaluation: Path
    docs: Path  # Data Docs


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


def join_splits(messages: Path, splits: Path) -> pd.DataFrame:
    """The messages with their split, campaign_key and left_out."""
    table = read_parquet(messages).to_pandas()
    return table.merge(read_parquet(splits).to_pandas(), on="message_id")


def split_tables(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """message_id and label of every split, without a text: what MLflow takes the datasets' digests of."""
    kept = rows[~rows["left_out"]].groupby("split")[["message_id", "label"]]
    return {str(name): table.reset_index(drop=True) for name, table in kept}


def collect_run_contents(inputs: ModelFiles, verdict: str) -> runs.RunContents:
    """What MLflow shall show of this model, its params and its evaluation."""
    params = runs.flatten_params(read_yaml())
    evaluation = read_json(inputs.evaluation)
    model_hash = combined_sha256(inputs.network, inputs.tokenizer, inputs.decision)
    experiment = os.environ.get("DVC_EXP_NAME")
    key = json.dumps(
        [model_hash, params, evaluation, experiment]
    )  # applied, it is a run of its own
    figures = {name: figure["value"] for name, figure in evaluation["figures"].items()}
    curves = read_csv(inputs.curves)
    epochs = [
        {name: float(cell or "nan") for name, cell in zip(curves, row, strict=True)}
        for row in zip(*curves.values(), strict=True)
    ]
    return runs.RunContents(
        run_key=hashlib.sha256(key.encode()).hexdigest(),
        network_hash=combined_sha256(inputs.network),
        name=experiment or f"{params['train.model']} f1 {figures['f1']:.3f} {model_hash[:8]}",
        description=run_description(verdict, evaluation),
        params=params,
        metrics={metric_name(name): value for name, value in figures.items() if value is not None},
        curves=epochs,
        tags={
            "model_hash": model_hash,
            "data_hash": combined_sha256(inputs.messages),
            "git_commit": git_commit(),
            "verdict": verdict,
            **({"dvc_experiment": experiment} if experiment else {}),
        },
        datasets=split_tables(join_splits(inputs.messages, inputs.splits)),
        plots=plots.render_plots(read_yaml(inputs.definitions)["plots"]),
        folders={"data_docs": inputs.docs, "reports": inputs.evaluation.parent},
    )
