"""Collects the state that decides whether to retrain."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from pipeline.core.cli import stage_lock
from pipeline.core.dvc_cache import NotCachedError
from pipeline.core.hashing import known_ids
from pipeline.core.params import read_params
from pipeline.core.schemas import MESSAGES
from pipeline.core.tables import read_parquet
from pipeline.monitoring import drift, drift_checks, poisoning, poisoning_checks
from pipeline.monitoring.performance_estimate import logged_performance
from pipeline.monitoring.predictions import PREDICTIONS_FOLDER, served_messages
from pipeline.preprocessing import time_windows
from pipeline.registry import ledger, recovery, restore, versions
from pipeline.registry.ledger import LEDGER, LedgerEntry
from pipeline.registry.versions import RegistryDamagedError
from pipeline.retraining import history
from pipeline.retraining.triggers import Params, RetrainingState

log = logging.getLogger(__name__)


# ---- checks of new messages


def recent_windows(messages: pd.DataFrame, days: float, count: int) -> Iterator[pd.DataFrame]:
    """Yields the messages of the last `count` windows of `days` days each, the newest last.

    Messages without a date, or with a later one than the last date, are in the newest window.
    """
    received_at = messages["received_at"]
    age = (time_windows.last_date(received_at) - received_at) / pd.Timedelta(days=days)
    age = age.fillna(0).clip(lower=0)
    for back in reversed(range(count)):
        yield messages[(age >= back) & (age < back + 1)].reset_index(drop=True)


def drifted_windows(
    reference: pd.DataFrame,
    new: pd.DataFrame,
    served: pd.DataFrame,
    params: Params,
    pages: Path,
) -> list[bool]:
    """For each recent window with enough messages: does it differ from the champion's data?

    The messages that were served are the newest window.

    Args:
        reference: the messages that the champion has seen (schema MESSAGES).
        new: the other messages.
        served: messages of the last window's days (see `served_messages`).
        pages: the folder that the drift check writes its page to.
    """
    drift_params = read_params(drift_checks.Params, "drift")
    minimum = drift_params.fewest_rows
    if len(reference) < minimum:
        return []
    windows = [*recent_windows(new, params.window_days, params.windows), served]
    return [
        any(check.alarm for check in drift.detect_drift(reference, window, pages, drift_params))
        for window in windows
        if len(window) >= minimum
    ]


def poisoning_alarms(
    reference: pd.DataFrame, new: pd.DataFrame, untried: pd.DataFrame, pages: Path
) -> str:
    """The names of the poisoning checks that raise an alarm; empty if none does.

    Args:
        reference: the messages that the champion has seen (schema MESSAGES).
        new: the other messages, which are checked together if `untried` are too few.
        untried: those of them that the last run has not seen either.
        pages: the folder that the check writes its page to.
    """
    params = read_params(poisoning_checks.Params, "poisoning")
    checked = untried if poisoning.has_enough_labels(untried, params) else new
    if not all(poisoning.has_enough_labels(part, params) for part in (reference, checked)):
        return ""
    messages = poisoning.dispute_by_reference(reference, checked)
    checks = poisoning.detect_poisoning(messages, checked, pages, params)
    return ", ".join(f"{check.name} (p {check.corrected:.0e})" for check in checks if check.alarm)


# ---- the champion


def try_follow_ledger() -> str:
    """Makes the registry follow the ledger; returns why not if the champion cannot be rebuilt."""
    try:
        with stage_lock():
            log.info("ledger: %s", recovery.follow_ledger())
    except (NotCachedError, restore.AnswersChangedError, RegistryDamagedError) as error:
        return str(error)
    return ""


def champion_and_seen_ids() -> tuple[LedgerEntry | None, "pd.Series[str]", str]:
    """The champion's last entry, message_id of what it has seen, and why it cannot be used."""
    version = versions.find_champion()
    if version is None:
        merged = ledger.merged_entries()
        is_lost = merged and not ledger.last_begin_anew(versions.all_versions(), merged)
        lost = f"{LEDGER} names a champion, and the registry has none"
        return None, history.NO_IDS, lost if is_lost else ""
    try:
        files = ledger.champion_files(version)
        versions.check_version(version.number, files)
        return LedgerEntry.from_version(version), history.seen_ids(files["splits"]), ""
    except (NotCachedError, RegistryDamagedError) as error:
        return LedgerEntry.from_version(version), history.NO_IDS, str(error)


# ---- the whole state


def collect_state(
    request: str, force: bool, params: Params, champion_error: str, pages: Path
) -> RetrainingState:
    """Everything that the decision depends on, as it is now.

    Args:
        request: a person's reason, or empty.
        force: a person has checked the blocked labels.
        champion_error: the answer of `try_follow_ledger`.
        pages: the folder that the drift and poisoning checks write their pages to.
    """
    champion, champion_ids, error = champion_and_seen_ids()
    now, past = ledger.utc_now(), history.past_runs()
    last = past[-1] if past else None
    messages = read_parquet(history.MESSAGES_FILE, MESSAGES.names).to_pandas()
    seen = known_ids(messages["message_id"], champion_ids)
    tried = known_ids(messages["message_id"], last.seen_ids() if last else history.NO_IDS)
    reference = messages[seen].reset_index(drop=True)
    new = messages[~seen].reset_index(drop=True)
    untried = messages[~(seen | tried)].reset_index(drop=True)
    changed = history.changed_since(champion.commit) if champion else []
    window_start = now - timedelta(days=params.window_days)
    served = served_messages(PREDICTIONS_FOLDER, window_start)
    number = champion.version if champion else None
    return RetrainingState(
        champion=number,
        champion_error=champion_error or error,
        days_since_training=_days_since_training(now, champion, last),
        new_rows=len(untried),
        drifted=drifted_windows(reference, new, served, params, pages) if champion else [],
        expected=logged_performance(PREDICTIONS_FOLDER, window_start, number),
        poisoning_alarms=poisoning_alarms(reference, new, untried, pages) if champion else "",
        changed=[name for name in changed if last is None or name in last.changed],
        hours_since_run=(now - last.time) / timedelta(hours=1) if last else None,
        runs_this_week=sum(now - run.time < timedelta(days=7) for run in past),
        same_as_last_run=last is not None and last.same_inputs,
        request=request,
        force=force,
    )


def _days_since_training(
    now: datetime, champion: LedgerEntry | None, last: history.PastRun | None
) -> float:
    """Days since the champion was judged, or since a later run; 0 without a champion."""
    if champion is None:
        return 0.0
    judged = datetime.fromisoformat(champion.time).astimezone(UTC)
    times = [history.past_time(judged, champion.commit), *([last.time] if last else [])]
    return (now - max(times)) / timedelta(days=1)
