"""Checks the messages against the expectations; bad rows go to quarantine, bad data stops here."""

import logging
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from pipeline.core.cli import parse_paths, run_stage
from pipeline.core.dates import current_time
from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params, read_yaml
from pipeline.core.reports import write_report
from pipeline.core.schemas import QUARANTINE, QUARANTINE_BY_MONTH, VALIDATED
from pipeline.core.tables import read_parquet, write_csv, write_parquet
from pipeline.preprocessing.size_checks import size_problems
from pipeline.preprocessing.splits import SplitParams, assign_splits, used_rows
from pipeline.validation.data_docs import write_data_docs
from pipeline.validation.expectations import EXPECTATIONS, STEPS, Params
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
from pipeline.validation.runner import Findings, run_suite

log = logging.getLogger(__name__)


class SplitKeys(SplitParams, extra="ignore"):
    """Those of section `vectorize` of params.yaml that decide a message's split."""


def main(argv: list[str] | None = None) -> None:
    """Runs the stage.

    Raises: PipelineError, one line for each failed expectation, and for what vectorize would stop
    at next.
    """
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
        stops, warnings = _later_problems(findings, paths.messages)
        for line in warnings:
            log.warning("warning: %s", line)
        raise PipelineError(*lines, *stops)
    if line := undated_feedback(messages, current_time()):
        log.warning("warning: %s", line)
    validated = validated_rows(messages, findings)
    table = pa.Table.from_pandas(validated, VALIDATED, preserve_index=False)
    write_parquet(paths.validated, table.to_batches(), VALIDATED)
    log.info("validate: %s", verdict)


def _later_problems(findings: Findings, source: Path) -> tuple[list[str], list[str]]:
    """What vectorize would say of the sizes of the splits, so that a person mends all at once.

    Nothing if rows are to be mended: then more of them may pass.
    """
    if all(EXPECTATIONS[name].step == "table" for name in findings.broken):
        with suppress(PipelineError):  # vectorize names what is wrong with its params
            rows, _ = assign_splits(findings.kept, read_params(SplitKeys, "vectorize"))
            return size_problems(used_rows(rows), read_yaml(), source)
    return [], []


if __name__ == "__main__":
    run_stage(main)
