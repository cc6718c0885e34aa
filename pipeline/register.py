"""Records run and version in MLflow, and promotes a model that beats the champion."""

import argparse
import logging
import os
from collections.abc import Sequence

import pandas as pd

from pipeline.core.cli import argument_parser, parse_paths, run_stage, stage_options
from pipeline.core.errors import PipelineError, clean_line
from pipeline.core.hashing import files_sha256
from pipeline.core.params import read_params, read_yaml
from pipeline.core.reports import read_report, write_report
from pipeline.core.run_summary import summary_lines
from pipeline.core.tables import read_numbers, read_parquet
from pipeline.models import checkpoints
from pipeline.models.calibration import read_rule
from pipeline.preprocessing.size_checks import missing_test_rows
from pipeline.preprocessing.tokenizer import read_spec
from pipeline.registry import ledger, versions
from pipeline.registry.compile_cache import compile_cache
from pipeline.registry.ledger import PROMOTION_VERDICTS
from pipeline.registry.model_package import (
    MODEL_FILES,
    ModelHashes,
    hash_model,
    packaged_model,
)
from pipeline.registry.pages.report import PAGE_NAME, write_decision_report
from pipeline.registry.pages.report_inputs import read_inputs
from pipeline.registry.promotion import Candidate, Params, missed_criteria, verdict_text
from pipeline.registry.registration import record_experiment, register_model
from pipeline.tracking import model_runs, plots
from pipeline.tracking.run_contents import RunInputs, run_key

log = logging.getLogger(__name__)

EXAMPLE = 'python -m pipeline.register --force --reason "receipts come through again"'
PATHS = (  # the options of the command in dvc.yaml
    *("dvc-file", "messages", "splits", *MODEL_FILES, "curves", "evaluation"),
    *("data-docs", "report"),
)


def parse_arguments(argv: Sequence[str] | None) -> tuple[argparse.Namespace, str]:
    """The paths, those of dvc.yaml if none is given, and a person's reason to promote the model.

    Raises: PipelineError if only one of --force and --reason is given.
    """
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--force", action="store_true", help="promote against the verdict")
    parser.add_argument("--reason", type=clean_line, default="", help="why; the ledger keeps it")
    flags, options = parser.parse_known_args(argv)
    reason = flags.reason.strip()
    if flags.force != bool(reason):
        raise PipelineError('register: --force and --reason "..." go together')
    if not options:
        options = stage_options("register")
    return parse_paths(options, __doc__, *PATHS), reason


def read_run_inputs(
    paths: argparse.Namespace, splits: pd.DataFrame, hashes: ModelHashes
) -> RunInputs:
    """What the MLflow run of the model shows. Raises: PipelineError."""
    messages = read_parquet(paths.messages).to_pandas()
    return RunInputs(
        params=read_yaml(),
        evaluation=read_report(paths.evaluation),
        curves=read_numbers(paths.curves),
        rows=messages.merge(splits, on="message_id"),
        plots=plots.render_plots(read_yaml(paths.dvc_file)["plots"]),
        folders={"data_docs": paths.data_docs, "reports": paths.evaluation.parent},
        model_hash=hashes.model,
        network_hash=hashes.network,
        data_hash=files_sha256(paths.messages),
    )


def write_page(paths: argparse.Namespace, inputs: RunInputs) -> None:
    """Writes the decision report beside the other reports, and attaches it to the MLflow run."""
    reports = paths.evaluation.parent
    decision = read_report(paths.report)
    page = reports / PAGE_NAME
    write_decision_report(page, read_inputs(reports, decision, inputs.model_hash, inputs.data_hash))
    model_runs.attach_file(page, "reports", run_key=run_key(inputs))


def next_step(verdict: str) -> str:
    """What to type after a run with this verdict."""
    if os.environ.get("DVC_EXP_NAME"):
        return "next: `dvc exp show` compares the experiments, `make ui` shows their curves"
    if verdict in PROMOTION_VERDICTS:
        return "next: `echo 'a message' | make predict` asks the champion, `make ui` shows the run"
    return "next: `make ui` shows the run, `python -m pipeline ledger show` who is champion and why"


@compile_cache()
def main(argv: list[str] | None = None) -> None:
    """Runs the stage."""
    paths, force_reason = parse_arguments(argv)
    params = read_params(Params, "register")
    read_spec(paths.tokenizer)  # it is checked before anything is registered
    threshold = read_rule(paths.decision).threshold
    splits = read_parquet(paths.splits).to_pandas()
    model_files = {name: vars(paths)[name] for name in MODEL_FILES}
    hashes = hash_model(**model_files, splits=paths.splits)
    inputs = read_run_inputs(paths, splits, hashes)
    missed = missed_criteria(params.criteria, inputs.evaluation["figures"])
    in_test = (inputs.rows["split"] == "test") & ~inputs.rows["left_out"]
    missed += missing_test_rows(inputs.rows[in_test], params.fewest_rows)
    warnings = missed_criteria(params.criteria, inputs.evaluation["figures"], "warning")

    if os.environ.get("DVC_EXP_NAME"):
        outcome = record_experiment(inputs, missed, warnings, params)
    else:
        with packaged_model(**model_files, splits=splits) as package:
            ledger.finish_promotion(hashes.model)
            candidate = Candidate(
                package=package,
                hashes=hashes,
                rows=inputs.rows,
                missed_criteria=missed,
                warnings=warnings,
                rule=params.duel,
                version=versions.find_version(hashes.model),
                champion=versions.find_champion(),
            )
            outcome = register_model(candidate, inputs, threshold, params, force_reason)

    verdict = verdict_text(outcome)
    write_report(paths.report, inputs.evaluation["rows"], outcome.figures, verdict)
    write_page(paths, inputs)
    checkpoints.drop_finished()
    log.info("register: %s", verdict)
    for line in summary_lines(paths.report.parent, next_step(outcome.verdict)):
        log.info("%s", line)


if __name__ == "__main__":
    run_stage(main)
