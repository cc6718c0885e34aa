"""Records a model in MLflow, and gives it the alias `champion` if the decision says so."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_json
from pipeline.core.reports import Figure, round_figures, round_number
from pipeline.evaluation.champion_challenger import Outcome
from pipeline.registry import ledger, parity, versions
from pipeline.registry.ledger import ENTRY_TAG, PROMOTION_VERDICTS, ROLLBACK_TAG, LedgerEntry
from pipeline.registry.promotion import (
    Candidate,
    Params,
    decide,
    reusable_entry,
    verdict_text,
    with_warnings,
)
from pipeline.registry.reference import with_reference
from pipeline.registry.versions import CHALLENGER
from pipeline.tracking import model_runs, run_contents
from pipeline.tracking.mlflow_client import MODEL_NAME
from pipeline.tracking.run_contents import RunContents, RunInputs

log = logging.getLogger(__name__)

REPEATED_VERDICTS = ("nothing new", "champion unscorable")  # decided anew at every run
PROPOSE_VARIABLE = "REGISTER_PROPOSES"  # set in the environment: a winner waits for a merge


def record_experiment(
    inputs: RunInputs, missed: Sequence[str], warnings: Sequence[str], params: Params
) -> Outcome:
    """Records the run of `dvc exp run`; an experiment makes no version and moves no alias.

    Args:
        missed, warnings: the phrases of promotion.missed_criteria.

    Raises: PipelineError if the registry does not answer.
    """
    outcome = Outcome("criteria met", "an experiment, which is not promoted", {})
    if missed:
        outcome = Outcome("criteria missed", "; ".join(missed), {})
    outcome = with_warnings(outcome, warnings)
    model_runs.log_model_run(run_contents.collect_run_contents(inputs, verdict_text(outcome)))
    return _with_criteria(outcome, inputs, params)


def _with_criteria(outcome: Outcome, inputs: RunInputs, params: Params) -> Outcome:
    """The outcome with the figures of the criteria before its own."""
    evaluated = inputs.evaluation["figures"]
    criteria = {name: Figure(**evaluated[name]) for name in params.criteria}
    return replace(outcome, figures={**criteria, **outcome.figures})


def register_model(
    candidate: Candidate,
    inputs: RunInputs,
    threshold: float,
    params: Params,
    force_reason: str = "",
) -> Outcome:
    """Decides on the model, records its run and version, and promotes it if it won or is forced.

    Args:
        force_reason: why a person promotes the model against the verdict; empty if nobody does.

    Raises: PipelineError if the registry does not answer, or the registered version answers
        differently from the model here; then the champion stays.
    """
    entry = reusable_entry(candidate)
    outcome = _entry_outcome(entry) if entry else decide(candidate)
    if force_reason and not candidate.is_champion:
        entry = None
        sentence = f"{force_reason} ({verdict_text(outcome)})"
        outcome = replace(outcome, verdict="forced", sentence=sentence)
    outcome = _with_criteria(outcome, inputs, params)
    verdict = verdict_text(outcome)

    contents = run_contents.collect_run_contents(inputs, verdict)
    run_id = model_runs.log_model_run(contents)
    version = candidate.version or versions.add_version(
        run_id, candidate.package.files(), {**contents.tags, "threshold": str(threshold)}
    )
    if not candidate.is_champion:
        entry = entry or new_entry(outcome, candidate, version.number, contents)
        apply_decision(entry, candidate, params)
    versions.set_tags(version.number, {"verdict": verdict})
    versions.set_description(version.number, contents.description)
    model_runs.set_verdict(run_id, verdict, contents.description)
    return with_reference(outcome, candidate)


def _entry_outcome(entry: LedgerEntry) -> Outcome:
    figures = {name: Figure(**figure) for name, figure in entry.figures.items()}
    return Outcome(entry.verdict, entry.reason, figures)


def new_entry(
    outcome: Outcome, candidate: Candidate, number: str, contents: RunContents
) -> LedgerEntry:
    """The decision on a version as an entry, for its tag and for the ledger."""
    answers = candidate.package.answers(versions.EXAMPLES)["probability"]
    return LedgerEntry(
        time=ledger.next_entry_time(),
        verdict=outcome.verdict,
        version=number,
        previous=candidate.champion_number,
        reason=outcome.sentence,
        figures=round_figures(outcome.figures),
        actor=ledger.current_actor(),
        commit=contents.tags["git_commit"],
        data_hash=contents.tags["data_hash"],
        model_hash=candidate.hashes.model,
        files=dict(candidate.hashes.md5s),
        answers=[round_number(probability) for probability in answers],
        key=candidate.decision_key,
    )


def apply_decision(entry: LedgerEntry, candidate: Candidate, params: Params) -> None:
    """Promotes a winner; any other version gets the entry as a tag and the alias `challenger`.

    With PROPOSE_VARIABLE set, a winner becomes the challenger too: `python -m pipeline propose`
    proposes its line of the ledger, and `python -m pipeline ledger follow` promotes the version
    once the line is merged.
    """
    wins = entry.verdict in PROMOTION_VERDICTS
    if wins:
        check_parity(entry.version, candidate, params)
    if wins and not os.environ.get(PROPOSE_VARIABLE):
        entry = ledger.as_in_ledger(entry)
        versions.check_version(entry.version, entry.files)
        tags = {ENTRY_TAG: entry.json_line(), ROLLBACK_TAG: ""}
        versions.promote(entry.version, tags, after=candidate.champion_number)
        ledger.append_entry(entry)
        log.info("register: version %s is the champion now", entry.version)
        return
    if entry.verdict not in REPEATED_VERDICTS:
        versions.set_tags(entry.version, {ENTRY_TAG: entry.json_line()})
    versions.set_alias(CHALLENGER, entry.version)
    if wins:
        log.info("register: version %s is proposed", entry.version)


def check_parity(number: str, candidate: Candidate, params: Params) -> None:
    """Raises: PipelineError if the registered version answers differently from the model here."""
    sources = read_json(candidate.package.decision).get("sources", {})
    examples = [versions.EXAMPLES.assign(source=name) for name in sources]
    sample = parity.parity_messages(candidate.comparison_rows)
    messages = pd.concat([sample, *examples], ignore_index=True)
    uri = f"models:/{MODEL_NAME}/{number}"
    problems = parity.find_disagreements(
        uri, messages, candidate.package.answers, params.parity, params.latency_budget
    )
    if problems:
        lines = [f"{uri}: {problem}; the champion stays" for problem in problems]
        raise PipelineError(*lines)
