"""Checks the messages against the expectations; bad rows go to quarantine, bad data stops here."""

import logging

import pyarrow as pa

from pipeline.core.cli import parse_paths, run_stage
from pipeline.core.dates import current_time
from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params
from pipeline.core.reports import write_report
from pipeline.core.schemas import QUARANTINE, QUARANTINE_BY_MONTH, VALIDATED
from pipeline.core.tables import read_parquet, write_csv, write_parquet
from pipeline.validation.data_docs import write_data_docs
from pipeline.validation.expectations import STEPS, Params
from pipeline.validation.feedback import undated_feedback
from pipeline.validation.problems import problem_lines
from pipeline.validation.quarantine import (
    count_by_month,
    quarantined_rows,
    validated_rows,
    validation_figures,
    validation_verdict,
)
from pipeline.validation.reviewed import read_reviewed
from pipeline.validation.runner import run_suite

log = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Runs the stage. Raises: PipelineError, one line for each failed expectation."""
    paths = parse_paths(
        argv,
        __doc__,
        "messages",
        "reviewed",
        "validated",
        "quarantine",
        "data-docs",
        "report",
        "quarantine-by-month",
    )
    paths.validated.unlink(missing_ok=True)  # so that no later stage takes an older table
    params = read_params(Params, "validate")
    messages = read_parquet(paths.messages).to_pandas()
    reviewed = read_reviewed(paths.reviewed, map(str, messages.get("message_id", ())))

    findings = run_suite(messages, params, reviewed=reviewed)
    quarantined = quarantined_rows(messages, findings)
    verdict = validation_verdict(findings)

    write_data_docs(paths.data_docs, STEPS, findings.results)
    table = pa.Table.from_pandas(quarantined, QUARANTINE, preserve_index=False)
    write_parquet(paths.quarantine, table.to_batches(), QUARANTINE)
    write_report(paths.report, findings.rows, validation_figures(findings), verdict)
    write_csv(paths.quarantine_by_month, QUARANTINE_BY_MONTH.names, count_by_month(quarantined))
    for line in problem_lines(findings.warned, paths.messages, paths.quarantine):
        log.warning("warning: %s", line)
    if findings.broken:
        lines = problem_lines(findings.broken, paths.messages, paths.quarantine)
        raise PipelineError(*lines)
    if line := undated_feedback(messages, current_time()):
        log.warning("warning: %s", line)
    validated = validated_rows(messages, findings)
    table = pa.Table.from_pandas(validated, VALIDATED, preserve_index=False)
    write_parquet(paths.validated, table.to_batches(), VALIDATED)
    log.info("validate: %s", verdict)


if __name__ == "__main__":
    run_stage(main)
