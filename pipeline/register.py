"""Records run and version in MLflow, and gives the alias to a model that wins the duel with the champion."""

import argparse
import logging
import os
from collections.abc import Sequence
from typing import Any

from pipeline.core.cli import parse_paths, run_stage
from pipeline.core.errors import PipelineError
from pipeline.core.files import REBUILD_HINT, read_json
from pipeline.core.params import DVC_FILE, read_params, read_yaml
from pipeline.core.reports import Figure, write_report
from pipeline.evaluation.champion_challenger import Outcome
from pipeline.models import checkpoints
from pipeline.registry import ledger
from pipeline.registry.model_package import packaged
from pipeline.registry.promotion import Case, Params, conclude, missed, told
from pipeline.registry.versions import all_versions, champion_number, version_of
from pipeline.tracking import run_contents, runs
from pipeline.tracking.run_contents import ModelFiles

log = logging.getLogger(__name__)


def experiment(reasons: Sequence[str]) -> Outcome:
    """The verdict on what `dvc exp run` made."""
    if reasons:
        return Outcome("criteria missed", "; ".join(reasons), {})
    return Outcome("criteria met", "an experiment, which moves nothing", {})


def _parsed(argv: Sequence[str] | None) -> tuple[list[Any], str]:
    """The paths, by dvc.yaml where none is given, and a person's reason to promote against the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Its paths stand in dvc.yaml.")
    parser.add_argument("--force", action="store_true", help="promote against the verdict")
    parser.add_argument("--reason", default="", help="why; it stands in the ledger for ever")
    flags, paths = parser.parse_known_args(argv)
    if flags.force != bool(flags.reason.strip()):
        raise PipelineError('register: --force and --reason "..." go together')
    written = paths or read_yaml(DVC_FILE)["stages"]["register"]["cmd"].split()[3:]
    names = "dvc-file", *list(ModelFiles.__annotations__)[1:-1], "data-docs", "report"
    return list(vars(parse_paths(written, __doc__, *names)).values()), flags.reason.strip()


def main(argv: list[str] | None = None) -> None:
    (*files, report), force = _parsed(argv)
    inputs = ModelFiles(*files)
    params = read_params(Params, "register")

    read_json(inputs.tokenizer)  # refuses in one line what its own reader raises as it likes
    if "threshold" not in read_json(inputs.decision):
        raise PipelineError(f"{inputs.decision}: no threshold; {REBUILD_HINT}")
    evaluation = read_json(inputs.evaluation)
    reasons = missed(params.criteria, evaluation["figures"])
    figures = {name: Figure(**evaluation["figures"][name]) for name in params.criteria}
    if os.environ.get("DVC_EXP_NAME"):
        outcome = experiment(reasons)
        runs.log_model_run(run_contents.collect_run_contents(inputs, told(outcome)))
    else:
        with packaged(inputs.tokenizer, inputs.network, inputs.decision, inputs.splits) as package:
            ledger.settle(package.model_hash)
            versions, champion = all_versions(), champion_number()
            own, rows = (
                version_of(package.model_hash),
                run_contents.join_splits(inputs.messages, inputs.splits),
            )
            case = Case(package, rows, reasons, params.duel, own, versions.get(champion or ""))
            outcome = conclude(inputs, case, params, figures, force)
    write_report(report, evaluation["rows"], {**figures, **outcome.figures}, told(outcome))
    checkpoints.drop_finished()
    log.info("register: %s", told(outcome))


if __name__ == "__main__":
    run_stage(main)
