"""Collects the state that decides whether to retrain."""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from pipeline.core.cli import stage_lock
from pipeline.core.dvc_cache import NotCachedError
from pipeline.core.params import read_params
from pipeline.core.schemas import MESSAGES
from pipeline.core.tables import read_parquet
from pipeline.monitoring import drift, poisoning
from pipeline.preprocessing import time_windows
from pipeline.registry import ledger, recovery, versions
from pipeline.registry.ledger import LEDGER, Entry
from pipeline.retraining.history import NOBODY, VALIDATED, changed, known_ids, past_runs
from pipeline.retraining.triggers import Params, State

log = logging.getLogger(__name__)


def recent_windows(new: pd.DataFrame, days: float, most: int) -> Iterator[pd.DataFrame]:
    """The messages of the last spans of so many days, the newest last; undated ones are of the newest."""
    age = (time_windows.end(new["received_at"]) - new["received_at"]) / pd.Timedelta(days=days)
    age = age.fillna(0).clip(lower=0)  # what is dated beyond the end is of the newest window too
    for back in reversed(range(most)):
        yield new[(age >= back) & (age < back + 1)].reset_index(drop=True)


def drifted_windows(
    known: pd.DataFrame, new: pd.DataFrame, params: Params, pages: Path
) -> list[bool]:
    """Of each window with messages enough, whether it drifted from what the champion knows."""
    by = read_params(drift.Params, "drift")
    if len(known) < by.fewest_rows:
        return []
    large = [
        one
        for one in recent_windows(new, params.window_days, params.windows)
        if len(one) >= by.fewest_rows
    ]
    return [any(check.alarm for check in drift.ask(known, one, pages, by)) for one in large]


def poisoning_alarms(
    known: pd.DataFrame, new: pd.DataFrame, untried: pd.DataFrame, pages: Path
) -> str:
    """What in the new labels looks tampered with; empty where nothing does, or too few are there to ask."""
    by = read_params(poisoning.Params, "poisoning")
    new = (
        untried if poisoning.enough(untried, by) else new
    )  # small portions are asked about together
    if not (poisoning.enough(known, by) and poisoning.enough(new, by)):
        return ""
    checks = poisoning.ask(poisoning.judge_by_reference(known, new), new, pages, by)
    return ", ".join(f"{check.name} (p {check.corrected:.0e})" for check in checks if check.alarm)


def follow() -> str:
    """Makes the registry follow the ledger; why it cannot, where the champion cannot be rebuilt as it was."""
    try:
        with stage_lock():
            log.info("ledger: %s", recovery.follow())
    except (NotCachedError, recovery.Otherwise) as missing:
        return str(missing)
    return ""


def collect_state(request: str, force: bool, params: Params, gone: str, pages: Path) -> State:
    """How things stand now; the pages of the checks go to that folder."""
    known, champion = NOBODY, None
    try:
        champion = Entry.of(versions.all_versions().get(versions.champion_number() or ""))
        known = known_ids(champion.files["splits"]) if champion else known
    except NotCachedError as missing:
        gone = gone or str(missing)
    if champion is None and not gone and ledger.merged():
        gone = f"{LEDGER} names one, and the registry has none"
    now, ran = ledger.clock(), past_runs()
    last = ran[-1] if ran else None
    hours = (now - last.time) / timedelta(hours=1) if last else None
    days = (now - datetime.fromisoformat(champion.time)) / timedelta(days=1) if champion else 0.0
    messages = read_parquet(VALIDATED, MESSAGES.names).to_pandas()
    old = messages["message_id"].isin(known)
    tried = messages["message_id"].isin(last.known_ids() if last else NOBODY)
    reference, new, untried = (
        messages[rows].reset_index(drop=True) for rows in (old, ~old, ~(old | tried))
    )
    others = changed(champion.commit) if champion else []
    return State(
        champion=champion.version if champion else None,
        gone=gone,
        days=days if hours is None else min(days, hours / 24),
        new_rows=len(untried),
        drifted=drifted_windows(reference, new, params, pages) if champion else [],
        poisoned=poisoning_alarms(reference, new, untried, pages) if champion else "",
        changed=[name for name in others if last is None or name in last.changed],
        hours=hours,
        runs=sum(now - one.time < timedelta(days=7) for one in ran),
        same=last is not None and last.same,
        request=request,
        force=force,
    )
