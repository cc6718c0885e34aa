"""Writes the decision report, reports/report.html, anew from the reports.

The stage register writes it at its end; this is for an evaluation that was not registered yet.
With --private it goes to data/review/report.html, which Git ignores, with the texts of the fifty
worst mistakes and the words that decided; that takes about a minute, and needs a registered model.
"""

import logging
from pathlib import Path

from pipeline.core.cli import argument_parser
from pipeline.core.errors import PipelineError
from pipeline.core.files import read_json
from pipeline.core.hashing import files_sha256
from pipeline.core.reports import read_report
from pipeline.core.run_summary import STAGE_SECONDS
from pipeline.core.schemas import MISTAKES
from pipeline.core.tables import read_parquet
from pipeline.registry import versions
from pipeline.registry.model_package import MODEL_FILES, hash_model
from pipeline.registry.pages.report import PAGE_NAME, PrivatePart, write_decision_report
from pipeline.registry.pages.report_inputs import MISTAKES_FILE, read_inputs, register_paths
from pipeline.serving.private_mistakes import marked_mistakes
from pipeline.tracking import model_runs
from pipeline.tracking.run_contents import git_commit

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline report --private"
PRIVATE_PAGE = MISTAKES_FILE.with_name(PAGE_NAME)


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--private", action="store_true", help="with the texts of mistakes")
    parser.add_argument(
        "--log", action="store_true", help="attach the private page to the MLflow run, too"
    )
    options = parser.parse_args(argv)
    if options.log and not options.private:
        raise PipelineError("report: --log attaches the private page; add --private")
    paths = register_paths()
    files = {name: paths[f"--{name}"] for name in (*MODEL_FILES, "splits")}
    model_hash = hash_model(**files).model
    reports, report = paths["--evaluation"].parent, paths["--report"]
    decision = read_report(report) if report.exists() else None
    inputs = read_inputs(reports, decision, model_hash, files_sha256(paths["--messages"]))
    private = private_part(model_hash) if options.private else None
    page = PRIVATE_PAGE if private else reports / PAGE_NAME
    write_decision_report(page, inputs, private)
    if inputs.decision is None:
        log.warning("report: register has not run for this model; run `dvc repro`")
    if options.log:
        model_runs.attach_file(page, "private", model_hash=model_hash)
    log.info("report: %s", page)


def private_part(model_hash: str) -> PrivatePart:
    """What only the private page has. Raises: PipelineError if the model is not registered."""
    version = versions.find_version(model_hash)
    if version is None:
        raise PipelineError("report: this model is not registered yet; run `dvc repro`")
    mistakes = read_parquet(MISTAKES_FILE, MISTAKES.names).to_pandas()
    return PrivatePart(
        mistakes=marked_mistakes(mistakes, versions.load_evaluated(version.number)),
        drift=_drift_verdict(MISTAKES_FILE.with_name("drift.json")),
        lineage=_lineage(version.number),
    )


def _drift_verdict(path: Path) -> str:
    return f"Drift: {read_json(path)['verdict']}." if path.exists() else ""


def _lineage(number: str) -> dict[str, str]:
    """The version, today's commit, and the seconds of the last `dvc repro`."""
    seconds = read_json(STAGE_SECONDS) if STAGE_SECONDS.exists() else {}
    times = ", ".join(f"{stage} {duration:.0f} s" for stage, duration in seconds.items())
    return {
        "Version": number,
        "Commit": git_commit() or "none",
        "Seconds of the stages that ran last": times or "not known",
    }
