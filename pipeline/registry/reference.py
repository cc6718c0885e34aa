"""Compares a model with the version that a person gave the alias `reference`, for the report."""

import logging
from dataclasses import replace

from pipeline.core.reports import Figure
from pipeline.evaluation.bootstrap import measure_difference
from pipeline.evaluation.champion_challenger import Outcome
from pipeline.evaluation.report import prefixed
from pipeline.registry import versions
from pipeline.registry.model_package import EVALUATED_SPLITS
from pipeline.registry.parity import ScoringError
from pipeline.registry.promotion import Candidate, read_seen_rows, score_unseen
from pipeline.registry.versions import REFERENCE, RegistryDamagedError
from pipeline.tracking.mlflow_client import MODEL_NAME

log = logging.getLogger(__name__)

VERSION_FIGURE = "reference.version"  # its number


def with_reference(outcome: Outcome, candidate: Candidate) -> Outcome:
    """The outcome with the figures of a comparison with the reference, which decide nothing.

    They are `reference.version` and `reference.difference.METRIC`, ours minus the reference's, on
    rows that neither has seen. Without such a version, or if it gives no answer, there are none.
    """
    number = versions.alias_numbers().get(REFERENCE)
    if number is None or (candidate.version and candidate.version.number == number):
        return outcome
    try:
        figures = _reference_figures(candidate, number)
    except (ScoringError, RegistryDamagedError) as error:
        log.warning("warning: models:/%s@%s: %s", MODEL_NAME, REFERENCE, error)
        return outcome
    return replace(outcome, figures={**outcome.figures, **figures})


def _reference_figures(candidate: Candidate, number: str) -> dict[str, Figure]:
    with versions.downloaded_version(number) as folder:
        pair = score_unseen(candidate, folder, read_seen_rows(folder, EVALUATED_SPLITS))
    if pair is None:
        return {}
    rule = candidate.rule
    differences = measure_difference(
        pair.ours, pair.theirs, resamples=rule.resamples, seed=rule.seed
    )
    return {
        VERSION_FIGURE: Figure(int(number)),
        **prefixed("reference.difference", differences),
    }
