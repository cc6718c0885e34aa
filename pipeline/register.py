"""Records run and version in MLflow, and gives the alias to a model that meets the criteria."""

import hashlib
import json
import logging
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import checkpoint, plots, registry, stage, tracking
from pipeline.stage import Figure

log = logging.getLogger(__name__)

REQUIREMENTS = ("mlflow", "tensorflow", "tokenizers", "pandas", "numpy")  # all that served_model.py imports
EXAMPLES = ["WIN a prize now! Text CLAIM to 87121", "are we still on for lunch?"]


@dataclass(frozen=True)
class Bound:
    """A criterion: the figure must not lie beyond."""

    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        if (self.min is None) == (self.max is None):
            raise ValueError("a criterion has either min or max")


@dataclass(frozen=True)
class Params:
    criteria: dict[str, Bound]  # by the name of a figure in reports/evaluate.json


def missed(criteria: Mapping[str, Bound], figures: Mapping[str, Any]) -> list[str]:
    """What stands against the model, a phrase each. Raises: PipelineError on an unknown figure."""
    reasons = []
    for name, bound in criteria.items():
        value = stage.choose(figures, name, "params.yaml: register.criteria")["value"]
        if value is None:
            reasons.append(f"{name} is undefined on this test set")
        elif bound.min is not None and value < bound.min:
            reasons.append(f"{name} {value:g} is below {bound.min:g}")
        elif bound.max is not None and value > bound.max:
            reasons.append(f"{name} {value:g} is above {bound.max:g}")
    return reasons


def commit() -> str:
    """The Git commit that the run started from; empty outside a repository."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip()


def metric_name(figure: str) -> str:
    """A figure's name in MLflow, whose UI groups by what stands before the slash."""
    prefix, _, rest = figure.partition(".")
    return f"{prefix}/{rest}" if rest else f"test/{figure}"


def description(verdict: str, evaluation: Mapping[str, Any]) -> str:
    """The run's page: the verdict, and a table of the figures beside the baseline's."""
    figures = evaluation["figures"]
    head = [f"**{verdict}**", "", evaluation["verdict"], "", "| test | ours | 95 % | linear baseline |"]
    lines = [*head, "|---|---|---|---|"]
    for name, ours in figures.items():
        if baseline := figures.get(f"baseline.{name}"):
            interval = f"{ours['low']:.4f} to {ours['high']:.4f}" if "low" in ours else ""
            lines.append(f"| {name} | {ours['value']} | {interval} | {baseline['value']} |")
    return "\n".join(lines)


@contextmanager
def model_files(tokenizer: Path, network: Path, decision: Path) -> Iterator[registry.ModelFiles]:
    """The parts of the MLflow model, with an example and its answer, while the block runs."""
    from pipeline import models  # here, as TensorFlow takes seconds to import, and with a model
    from pipeline.served_model import SpamDetector  # that has its version already nothing needs it

    example = pd.DataFrame({"text": EXAMPLES})
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "network"
        models.export(models.load(network), saved)
        answer = SpamDetector().load(tokenizer, saved, decision).predict(None, example)
        pins = [f"{package}=={installed(package)}" for package in REQUIREMENTS]
        yield registry.ModelFiles(tokenizer, saved, decision, pins, example, answer)


def split_tables(messages: Path, splits: Path) -> dict[str, pd.DataFrame]:
    """message_id and label of every split, without a text: what MLflow takes the datasets' digests of."""
    labels = stage.read_parquet(messages, ["message_id", "label"]).to_pandas()
    rows = labels.merge(stage.read_parquet(splits).to_pandas(), on="message_id")
    kept = rows[~rows["left_out"]].groupby("split")[["message_id", "label"]]
    return {str(name): table.reset_index(drop=True) for name, table in kept}


@dataclass(frozen=True)
class Inputs:
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


def record_of(inputs: Inputs, verdict: str) -> tracking.Record:
    """What MLflow shall show of this model, its params and its evaluation."""
    params = tracking.flat(stage.read_yaml())
    evaluation = stage.read_json(inputs.evaluation)
    model_hash = stage.sha256(inputs.network, inputs.tokenizer, inputs.decision)
    experiment = os.environ.get("DVC_EXP_NAME")
    key = json.dumps([model_hash, params, evaluation, experiment])  # applied, it is a run of its own
    figures = {name: figure["value"] for name, figure in evaluation["figures"].items()}
    curves = stage.read_csv(inputs.curves)
    epochs = [
        {name: float(cell or "nan") for name, cell in zip(curves, row, strict=True)}
        for row in zip(*curves.values(), strict=True)
    ]
    return tracking.Record(
        run_key=hashlib.sha256(key.encode()).hexdigest(),
        network_hash=stage.sha256(inputs.network),
        name=experiment or f"{params['train.model']} f1 {figures['f1']:.3f} {model_hash[:8]}",
        description=description(verdict, evaluation),
        params=params,
        metrics={metric_name(name): value for name, value in figures.items() if value is not None},
        curves=epochs,
        tags={
            "model_hash": model_hash,
            "data_hash": stage.sha256(inputs.messages),
            "git_commit": commit(),
            "verdict": verdict,
            **({"dvc_experiment": experiment} if experiment else {}),
        },
        datasets=split_tables(inputs.messages, inputs.splits),
        plots=plots.draw(stage.read_yaml(inputs.definitions)["plots"]),
        folders={"data_docs": inputs.docs, "reports": inputs.evaluation.parent},
    )


def version_for(record: tracking.Record, inputs: Inputs) -> str:
    """The registry's version of this model, made if these bytes have none."""
    run_id = tracking.record(record)
    version = registry.version_of(record.tags["model_hash"])
    if version is None:
        threshold = stage.read_json(inputs.decision)["threshold"]
        tags = {**record.tags, "threshold": str(threshold)}
        with model_files(inputs.tokenizer, inputs.network, inputs.decision) as files:
            version = registry.add_version(run_id, files, tags)
    registry.describe_version(version, record.tags["verdict"], record.description)  # criteria may have moved
    return version


def main(argv: list[str] | None = None) -> None:
    *files, report = stage.paths(argv, __doc__, *Inputs.__annotations__, "report")
    inputs = Inputs(*files)
    params = stage.read_params(Params, "register")

    stage.read_json(inputs.tokenizer)  # refuses in one line what its own reader raises as it likes
    evaluation = stage.read_json(inputs.evaluation)
    reasons = missed(params.criteria, evaluation["figures"])
    experiment = bool(os.environ.get("DVC_EXP_NAME"))
    effect = "an experiment, which moves nothing" if experiment else "takes the alias champion"
    verdict = f"criteria missed: {'; '.join(reasons)}" if reasons else f"criteria met: {effect}"
    if experiment:
        tracking.record(record_of(inputs, verdict))
    else:
        version = version_for(record_of(inputs, verdict), inputs)
        if not reasons and registry.champion() != version:
            registry.promote(version)
            log.info("register: version %s is the champion now", version)
    figures = {name: Figure(**evaluation["figures"][name]) for name in params.criteria}
    stage.write_report(report, evaluation["rows"], figures, verdict)
    checkpoint.drop_finished()
    log.info("register: %s", verdict)


if __name__ == "__main__":
    stage.run(main)
