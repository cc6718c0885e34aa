"""Rolls back to an earlier version, and makes the registry follow the ledger."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from pipeline.core.errors import PipelineError
from pipeline.registry import ledger, parity, versions
from pipeline.registry.ledger import ENTRY_TAG, LEDGER, ROLLBACK_TAG, LedgerEntry
from pipeline.registry.parity import ScoringError
from pipeline.registry.restore import check_answers, restore_registry
from pipeline.registry.versions import (
    CHAMPION,
    EXAMPLES,
    PREVIOUS,
    RegistryDamagedError,
    Version,
)

log = logging.getLogger(__name__)

# ---- rollback


def rollback(to: str | None, reason: str) -> LedgerEntry:
    """Makes an earlier champion the champion again, and returns the new ledger entry.

    Args:
        to: a version; None for the champion before.
        reason: why; register then promotes the replaced model only with --force.

    Raises: PipelineError, also if the version does not answer as when it was registered.
    """
    if not reason.strip():
        raise PipelineError("rollback: --reason: empty; say why, as the ledger keeps it")
    ledger.finish_promotion()
    champion = versions.champion_number()
    target = _rollback_target(to)
    with versions.downloaded_version(target.version, target.files) as folder:
        try:
            check_answers(target, parity.score_in_child(str(folder), EXAMPLES))
        except ScoringError as error:
            problem = f"rollback: version {target.version}: {error}; choose another with --to"
            raise PipelineError(problem) from None
    entry = replace(
        target,
        time=ledger.next_entry_time(),
        verdict="rollback",
        previous=champion,
        reason=reason,
        actor=ledger.current_actor(),
    )
    if champion:
        versions.set_tags(champion, {ROLLBACK_TAG: reason})
    _promote_entry(entry, champion)
    ledger.append_entry(entry)
    return entry


def _rollback_target(to: str | None) -> LedgerEntry:
    """The last entry of the version to roll back to. Raises: PipelineError."""
    aliases = versions.alias_numbers()
    registered = versions.all_versions()
    entries = {entry.version: entry for entry in ledger.read_entries()}
    choices = {number: entry for number, entry in entries.items() if number in registered}
    number = to or aliases.get(PREVIOUS)
    if number is None or not choices:
        raise PipelineError("rollback: no earlier champion; choose a version with --to")
    if number not in choices:
        names = ", ".join(choices)
        raise PipelineError(f"rollback: --to: {number} was never the champion; choose from {names}")
    if number == aliases.get(CHAMPION):
        raise PipelineError(f"rollback: version {number} is the champion already")
    if to is None and (why := registered[number].tags.get(ROLLBACK_TAG)):
        raise PipelineError(
            f"rollback: version {number} was rolled back itself ({why}); choose one with --to"
        )
    return choices[number]


def _promote_entry(entry: LedgerEntry, champion: str | None) -> None:
    versions.promote(entry.version, _promotion_tags(entry), after=champion)


def _promotion_tags(entry: LedgerEntry) -> dict[str, str]:
    return {ENTRY_TAG: entry.json_line(), ROLLBACK_TAG: ""}


# ---- the registry follows the ledger


def follow_ledger(force: bool = False) -> str:
    """Makes the registry agree with the merged ledger, and returns what was done, as a phrase.

    A merged line promotes its version; a line that is not merged does not. If two proposals were
    merged, the one that was decided later serves. A registry without a champion gets it back, and
    the champion before it if that can be rebuilt. So does one whose alias was moved by hand. After
    a line that begins anew there is none.

    Args:
        force: follows the last line also against the record of its version.

    Raises:
        NotCachedError: the champion's files are neither in DVC's cache nor in its remote.
        AnswersChangedError: the rebuilt champion answers differently.
        RegistryDamagedError: the version's files or its record are not those of the line.
        PipelineError: the registry does not answer.
    """
    registered = versions.all_versions()
    champion = versions.champion_number()
    current = LedgerEntry.from_version(registered.get(champion or ""))
    was_promoted = ledger.record_problem(registered.get(champion or "")) is None
    entries = ledger.merged_entries()
    if champion and not was_promoted:
        entries = entries or ledger.read_entries()
    if begun := ledger.complete_begin_anew(entries):
        return f"no version is the champion: version {begun.version} ended at {begun.time}"
    if not entries:
        return "no promotion yet"
    last = entries[-1]
    version = registered.get(last.version)
    is_registered = version is not None and version.tags.get("model_hash") == last.model_hash
    if champion == last.version and is_registered and was_promoted:
        ledger.finish_promotion()
        return f"version {champion} is the champion"
    is_merged = current in entries  # else its line is on a branch that is not merged yet
    if current and was_promoted and current.time >= last.time and not is_merged:
        ledger.finish_promotion()
        return f"version {champion} is the champion; it was promoted after the last merged line"
    followed = {last.previous, *(entry.version for entry in entries)}
    if is_registered and (champion in followed or not was_promoted):
        if not force:
            _check_line(entries, version, champion)
        versions.check_version(last.version, last.files)
        if was_promoted:
            _promote_entry(last, champion)
            return f"version {last.version} is the champion now, as its line is merged"
        versions.set_tags(last.version, _promotion_tags(last))
        versions.set_alias(CHAMPION, last.version)
        versions.update_other_aliases(last.version, last.previous)
        return f"version {last.version} is the champion again"
    if champion is None:
        restore_registry(entries, {last.version, last.previous})
        return f"version {last.version} is restored as the champion of an empty registry"
    log.warning(
        "warning: version %s was decided on against version %s, which is not the champion; retrain",
        last.version,
        last.previous,
    )
    return f"version {champion} stays the champion"


def _check_line(
    entries: Sequence[LedgerEntry], version: Version | None, champion: str | None
) -> None:
    """Raises: RegistryDamagedError if the last line is not what its version's record says."""
    record = LedgerEntry.from_version(version)
    if record in entries or (record is None and version and version.number == champion):
        return  # an earlier line says the same, or its tag was deleted and the line has it
    problem = ledger.record_problem(version)
    if problem:
        problem = f"the last line promotes version {entries[-1].version}, but {problem}"
    elif record:
        problem = ledger.line_problem(record, entries)
    if problem:
        raise RegistryDamagedError(
            f"{LEDGER}: {problem}; revert the line, or run `python -m pipeline ledger follow "
            "--force`"
        )
