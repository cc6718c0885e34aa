"""Judges a winner that runs in the shadow of the champion, before it is proposed.

Both have labelled the same messages; the log of predictions has their answers. The trial ends with
the first message that makes it long and large enough. Later ones do not count, so that a challenger
that lost does not win by chance on one of the next days.

Source: Google, Rules of Machine Learning, rule 24, Measure the delta between models,
https://developers.google.com/machine-learning/guides/rules-of-ml
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import pandas as pd
from pydantic import Field

from pipeline.core.dvc_cache import NotCachedError
from pipeline.core.hashing import known_ids
from pipeline.core.params import ParamsSection, read_params
from pipeline.core.tables import read_parquet
from pipeline.evaluation.champion_challenger import compare_models
from pipeline.evaluation.metrics import Predictions
from pipeline.monitoring.performance_estimate import expected_performance, percent_text
from pipeline.monitoring.predictions import (
    PREDICTIONS_FOLDER,
    UNNAMED_SOURCE,
    prediction_files,
    read_predictions,
)
from pipeline.registry import ledger, promotion, versions
from pipeline.registry.ledger import LedgerEntry
from pipeline.retraining import history

PAIRED_COLUMNS = ["scored_at", "model_version", "source", "text_id", "probability", "label"]
ROLES = ("", "champion_")  # of the columns of both versions in the table of pairs


class ShadowRule(ParamsSection):
    """When a winner that runs in the shadow is proposed."""

    days: float = Field(ge=0, description="days that the trial lasts at least")
    messages: int = Field(
        ge=1, description="number of different messages that both versions label in the trial"
    )
    disagreement: float = Field(
        ge=0, le=1, description="greatest share of messages that get two different labels"
    )
    ham_lost_margin: float = Field(
        ge=0,
        le=1,
        description="greatest rise of the expected share of ham lost over the champion's",
    )


@dataclass(frozen=True)
class Trial:
    """The verdict on a winner, and its reason in one sentence; empty if no trial is needed.

    A winner that `won` is proposed, one that `lost` is not, and one that `waits` is looked at again
    by the next run.
    """

    verdict: Literal["won", "lost", "waits"]
    sentence: str


NO_TRIAL = Trial("won", "")


@dataclass(frozen=True)
class TrialCheck:
    """Whether a challenger passes one check, and the figures in one phrase."""

    passed: bool
    phrase: str


def needs_trial(champion: LedgerEntry | None, rule: ShadowRule) -> bool:
    """Whether a winner over this champion is tried in the shadow before it is proposed."""
    return bool(rule.days) and champion is not None


def judge_trial(winner: LedgerEntry, champion: LedgerEntry | None, rule: ShadowRule) -> Trial:
    """The verdict on a winner as of now. Raises: PipelineError, if the log cannot be read.

    Args:
        champion: what the winner was compared with; without one, no trial is needed.
    """
    if champion is None or not needs_trial(champion, rule):
        return NO_TRIAL
    record = LedgerEntry.from_version(versions.all_versions().get(winner.version))
    if record is None or not ledger.is_same_model(record, winner):
        return Trial("waits", "the registry has lost this version; check MLFLOW_TRACKING_URI")
    pairs = paired_answers(winner, champion)
    rows = rows_of_trial(pairs, rule)
    if len(pairs) < rows:
        return Trial("waits", _missing_sentence(pairs, winner, rule))
    try:
        return _verdict_on(pairs[:rows], winner, champion, rule)
    except NotCachedError as error:
        return Trial("waits", str(error))


def _verdict_on(
    pairs: pd.DataFrame, winner: LedgerEntry, champion: LedgerEntry, rule: ShadowRule
) -> Trial:
    """Lost if any check fails; then the sentence has the failed checks only."""
    checks = [
        check_disagreement(pairs, rule),
        check_ham_lost(pairs, rule),
        check_against_labels(labelled_pairs(pairs, winner, champion)),
    ]
    failed = [check.phrase for check in checks if not check.passed]
    phrases = "; ".join(failed or [check.phrase for check in checks])
    sentence = f"{len(pairs):,} messages in {_days_of(pairs):.1f} days: {phrases}"
    return Trial("lost" if failed else "won", sentence)


# ---- the messages of a trial


def paired_answers(winner: LedgerEntry, champion: LedgerEntry) -> pd.DataFrame:
    """The messages that both versions have labelled since the winner was decided on.

    Returns: a row a text, in the order of `scored_at`, with columns `scored_at`, `text_id`,
    `probability` and `label` of the winner, and `champion_probability` and `champion_label`.

    Raises: PipelineError.
    """
    since = datetime.fromisoformat(winner.time).astimezone(UTC)
    answers = read_predictions(PREDICTIONS_FOLDER, PAIRED_COLUMNS, since)
    answers = answers.fillna({"source": UNNAMED_SOURCE}).sort_values("scored_at", kind="stable")
    answers = answers.drop_duplicates(["model_version", "text_id", "source"])
    own, theirs = (
        answers[answers["model_version"] == entry.version].drop(columns="model_version")
        for entry in (winner, champion)
    )
    theirs = theirs.drop(columns="scored_at").rename(
        columns={"probability": "champion_probability", "label": "champion_label"}
    )
    pairs = own.merge(theirs, on=["text_id", "source"])  # a source may have its own threshold
    return pairs.drop_duplicates("text_id").drop(columns="source").reset_index(drop=True)


def rows_of_trial(pairs: pd.DataFrame, rule: ShadowRule) -> int:
    """The number of first pairs that are the trial; more than there are if it is not over."""
    elapsed = pairs["scored_at"] - pairs["scored_at"].min()
    before_last = int((elapsed < timedelta(days=rule.days)).sum())
    return max(rule.messages, before_last + 1)


def _days_of(pairs: pd.DataFrame) -> float:
    """Days from the first to the last pair; 0 without any."""
    times = pairs["scored_at"]
    return float((times.max() - times.min()) / timedelta(days=1)) if len(times) else 0.0


def _missing_sentence(pairs: pd.DataFrame, winner: LedgerEntry, rule: ShadowRule) -> str:
    log_exists = bool(prediction_files(PREDICTIONS_FOLDER))
    problem = "" if log_exists else f"{PREDICTIONS_FOLDER}: no log of predictions; "
    return (
        f"{problem}both versions have labelled {len(pairs):,} messages in {_days_of(pairs):.1f} "
        f"days ({rule.messages:,} in {rule.days:g} days needed); keep `python -m pipeline serve "
        f"--shadow {winner.version} --log {PREDICTIONS_FOLDER}` running"
    )


# ---- the checks


def check_disagreement(pairs: pd.DataFrame, rule: ShadowRule) -> TrialCheck:
    """Few messages get two different labels. This bounds the ham lost without any calibration."""
    share = float((pairs["label"] != pairs["champion_label"]).mean())
    phrase = f"different labels for {share:.1%} (limit {rule.disagreement:.1%})"
    return TrialCheck(share <= rule.disagreement, phrase)


def check_ham_lost(pairs: pd.DataFrame, rule: ShadowRule) -> TrialCheck:
    """The challenger is not expected to lose more ham, each by its own probabilities."""
    own, theirs = (
        expected_performance(pairs[f"{role}probability"], pairs[f"{role}label"] == "spam").ham_lost
        for role in ROLES
    )
    rise = (own.value or 0.0) - (theirs.value or 0.0)  # None: no ham is expected
    phrase = (
        f"expected ham lost {percent_text(own)}, the champion's {percent_text(theirs)} "
        f"(limit of the rise: {rule.ham_lost_margin:.1%})"
    )
    return TrialCheck(rise <= rule.ham_lost_margin, phrase)


def check_against_labels(labelled: pd.DataFrame) -> TrialCheck:
    """The challenger is not significantly worse on the messages with a label, by register.duel."""
    rule = read_params(promotion.Params, "register").duel
    own, theirs = (
        Predictions(
            y_true=(labelled["true_label"] == "spam").to_numpy(),
            y_score=labelled[f"{role}probability"].to_numpy(),
            y_pred=(labelled[f"{role}label"] == "spam").to_numpy(),
        )
        for role in ROLES
    )
    if min(own.ham, own.spam) < rule.newest_rows:
        counts = f"{own.ham:,} ham and {own.spam:,} spam ({rule.newest_rows:,} each needed)"
        return TrialCheck(True, f"labelled: {counts}")
    outcome = compare_models(own, theirs, rule)
    return TrialCheck(outcome.verdict != "keep", f"labelled: {outcome.sentence}")


def labelled_pairs(pairs: pd.DataFrame, winner: LedgerEntry, champion: LedgerEntry) -> pd.DataFrame:
    """The pairs that neither version has seen, and that the validated messages have a label of.

    Returns: the columns of `pairs`, and `true_label`.

    Raises: NotCachedError if it is unknown what a version has seen.
    """
    if not history.MESSAGES_FILE.exists():
        return pairs[:0].assign(true_label="")
    messages = read_parquet(history.MESSAGES_FILE, ["message_id", "label"]).to_pandas()
    labels = messages.set_index("message_id")["label"]
    labelled = pairs.assign(true_label=pairs["text_id"].map(labels)).dropna(subset="true_label")
    for entry in (winner, champion):
        if len(labelled):  # reading what a version has seen takes seconds
            seen = history.seen_ids(entry.files["splits"])
            labelled = labelled[~known_ids(labelled["text_id"], seen)]
    return labelled
