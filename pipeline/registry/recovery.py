"""Rolls back to an earlier version, and rebuilds the registry from the ledger."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import pandas as pd
from tqdm import tqdm

from pipeline.core.dvc_cache import NotCachedError, restored_files
from pipeline.core.errors import PipelineError
from pipeline.core.tables import read_parquet
from pipeline.registry import ledger, parity, versions
from pipeline.registry.ledger import ENTRY_TAG, LEDGER, ROLLBACK_TAG, LedgerEntry
from pipeline.registry.model_package import packaged_model
from pipeline.registry.parity import ScoringError
from pipeline.registry.versions import CHAMPION, EXAMPLE_TEXTS, PREVIOUS, RESTORED_AS, Version
from pipeline.tracking import model_runs

log = logging.getLogger(__name__)

RESTORE_TOLERANCE = 1e-4  # of a probability; processors differ in the last digits only
FILE_NAMES = {  # by name in LedgerEntry.files
    "tokenizer": "tokenizer.json",
    "network": "model.keras",
    "decision": "decision.json",
    "splits": "splits.parquet",
}


class AnswersChangedError(PipelineError):
    """A version answers differently from when it was registered."""


def check_answers(entry: LedgerEntry, answers: pd.DataFrame) -> None:
    """Compares the answers to EXAMPLE_TEXTS with those in the entry.

    Raises: AnswersChangedError if a probability differs by more than RESTORE_TOLERANCE.
    """
    pairs = zip(EXAMPLE_TEXTS, entry.answers, answers["probability"], strict=True)
    for text, before, now in pairs:
        if before is None or not abs(before - now) <= RESTORE_TOLERANCE:  # NaN is a change too
            raise AnswersChangedError(
                f"version {entry.version}: answers {now:.4f} to {text!r}, but {before} when it was "
                "registered; code or libraries have changed; run it at commit "
                f"{entry.commit[:8]}"
            )


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
    with versions.downloaded_version(target.version) as folder:
        try:
            check_answers(target, parity.score_in_child(str(folder), EXAMPLE_TEXTS))
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
    versions.set_tags(str(champion), {ROLLBACK_TAG: reason})
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
    if number is None or CHAMPION not in aliases:
        raise PipelineError("rollback: no earlier champion; choose a version with --to")
    if number not in choices:
        names = ", ".join(choices)
        raise PipelineError(f"rollback: --to: {number} was never the champion; choose from {names}")
    if number == aliases[CHAMPION]:
        raise PipelineError(f"rollback: version {number} is the champion already")
    if to is None and (why := registered[number].tags.get(ROLLBACK_TAG)):
        raise PipelineError(
            f"rollback: version {number} was rolled back itself ({why}); choose one with --to"
        )
    return choices[number]


def _promote_entry(entry: LedgerEntry, champion: str | None) -> None:
    tags = {ENTRY_TAG: entry.json_line(), ROLLBACK_TAG: ""}
    versions.promote(entry.version, tags, after=champion)


# ---- restore


def restore_registry(entries: Sequence[LedgerEntry], numbers: Collection[str | None] = ()) -> None:
    """Rebuilds every version that was a champion, and the aliases; after a kill it goes on.

    Args:
        entries: of the ledger, by time.
        numbers: if given, only these versions; a version other than the champion that cannot be
            rebuilt is then left out, with a warning.

    Raises:
        PipelineError: the ledger is empty, or the registry has other versions.
        NotCachedError: a file is neither in DVC's cache nor in its remote.
        AnswersChangedError: a rebuilt model answers differently.
    """
    if not entries:
        raise PipelineError(f"{LEDGER}: no entry, so there is nothing to restore")
    last = entries[-1]
    latest = {entry.version: entry for entry in entries}
    wanted = {number: latest[number] for number in latest if not numbers or number in numbers}
    registered = versions.all_versions()
    _check_restorable(last, wanted, registered)
    missing = [number for number in sorted(wanted, key=int) if number not in registered]
    for number in tqdm(missing, unit="version", disable=None):
        try:
            rebuild_version(wanted[number])
        except (NotCachedError, AnswersChangedError) as error:
            if not numbers or number == last.version:
                raise
            log.warning("warning: version %s is not restored: %s", number, error)
            del wanted[number]
    for number, reason in rollback_reasons(entries).items():
        if number in wanted:
            versions.set_tags(number, {ROLLBACK_TAG: reason})
    versions.set_alias(CHAMPION, last.version)
    versions.update_other_aliases(
        last.version, before=last.previous if last.previous in wanted else None
    )
    log.info("restore: %d versions; %s is the champion", len(wanted), last.version)


def _check_restorable(
    last: LedgerEntry, wanted: Mapping[str, LedgerEntry], registered: Mapping[str, Version]
) -> None:
    """Raises: PipelineError if the registry has anything else than the wanted versions."""
    champion = versions.champion_number()
    if champion not in (None, last.version):
        raise PipelineError(
            f"version {champion} is the champion of this registry; restore needs an empty one"
        )
    for number, version in registered.items():
        entry = wanted.get(version.tags.get(RESTORED_AS, number))
        if entry is None or version.tags.get("model_hash") != entry.model_hash:
            raise PipelineError(
                f"version {number} of the registry is not in {LEDGER}; restore needs an empty "
                "registry"
            )


def rebuild_version(entry: LedgerEntry) -> None:
    """Registers the model of an entry again, with its number, from DVC's cache or remote.

    Raises: NotCachedError; AnswersChangedError; PipelineError.
    """
    tags = {
        "model_hash": entry.model_hash,
        "data_hash": entry.data_hash,
        "git_commit": entry.commit,
        "verdict": entry.verdict_text,
        ENTRY_TAG: entry.json_line(),
    }
    md5s = {name: entry.files[key] for key, name in FILE_NAMES.items()}
    with restored_files(md5s) as folder:
        paths = {key: folder / name for key, name in FILE_NAMES.items()}
        splits = read_parquet(paths.pop("splits")).to_pandas()
        with packaged_model(**paths, splits=splits) as package:
            check_answers(entry, package.answers(EXAMPLE_TEXTS))
            run_name = f"restored version {entry.version}"
            run_id = model_runs.log_restored_run(entry.model_hash, run_name, tags)
            versions.add_version(run_id, package.files(), tags, number=int(entry.version))


def rollback_reasons(entries: Sequence[LedgerEntry]) -> dict[str, str]:
    """The reason of each version that was rolled back and did not become the champion again."""
    reasons: dict[str, str] = {}
    for entry in entries:
        if entry.verdict == "rollback":
            reasons[str(entry.previous)] = entry.reason
        reasons.pop(entry.version, None)
    return reasons


# ---- the registry follows the ledger


def follow_ledger() -> str:
    """Makes the registry agree with the merged ledger, and returns what was done, as a phrase.

    A merged line promotes its version; a line that is not merged does not. If two proposals were
    merged, the one that was decided later serves. A registry without a champion gets it back, and
    the champion before it if that can be rebuilt.

    Raises:
        NotCachedError: the champion's files are neither in DVC's cache nor in its remote.
        AnswersChangedError: the rebuilt champion answers differently.
        PipelineError: the registry does not answer.
    """
    entries = ledger.merged_entries()
    if not entries:
        return "no promotion yet"
    last = entries[-1]
    registered = versions.all_versions()
    champion = versions.champion_number()
    current = LedgerEntry.from_version(registered.get(champion or ""))
    version = registered.get(last.version)
    is_registered = version is not None and version.tags.get("model_hash") == last.model_hash
    if champion == last.version and is_registered:
        ledger.finish_promotion()
        return f"version {champion} is the champion"
    is_merged = current in entries  # else its line is on a branch that is not merged yet
    if current and current.time >= last.time and not is_merged:
        ledger.finish_promotion()
        return f"version {champion} is the champion; it was promoted after the last merged line"
    followed = {last.previous, *(entry.version for entry in entries)}
    if is_registered and champion in followed:
        _promote_entry(last, champion)
        return f"version {last.version} is the champion now, as its line is merged"
    if champion is None:
        restore_registry(entries, {last.version, last.previous})
        return f"version {last.version} is restored as the champion of an empty registry"
    log.warning(
        "warning: version %s was decided on against version %s, which is not the champion; retrain",
        last.version,
        last.previous,
    )
    return f"version {champion} stays the champion"
