"""Rebuilds a registry from the ledger, and rolls back."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import pandas as pd
from tqdm import tqdm

from pipeline.core.dvc_cache import NotCachedError, restored_files
from pipeline.core.errors import PipelineError
from pipeline.registry import ledger, model_package, parity
from pipeline.registry.ledger import ROLLED_BACK, TAG, Entry, actor, now, read, settle, write
from pipeline.registry.parity import Unscorable
from pipeline.registry.versions import (
    CHAMPION,
    EXAMPLES,
    PREVIOUS,
    RESTORED_AS,
    add_version,
    alias_numbers,
    all_versions,
    champion_number,
    downloaded,
    promote,
    set_alias,
    set_tags,
    update_other_aliases,
)
from pipeline.tracking import runs

TOLERANCE = 1e-4  # of a probability; more than another processor's last digits


class Otherwise(PipelineError):  # noqa: N818 (it is an answer that it speaks of)
    """A version does not answer as it did when it was judged."""


def check(entry: Entry, answers: pd.DataFrame) -> None:
    """Raises: Otherwise."""
    for text, before, today in zip(EXAMPLES, entry.answers, answers["probability"], strict=True):
        if abs(before - today) > TOLERANCE:
            raise Otherwise(
                f"version {entry.version}: {today:.4f} for {text!r}, where it said {before:.4f}: the code or "
                f"the libraries are others now; run it at commit {entry.commit[:8]}"
            )


def _target(to: str | None) -> Entry:
    """The last line of the version that a rollback goes to. Raises: PipelineError."""
    held, versions = alias_numbers(), all_versions()
    told = {entry.version: entry for entry in read() if entry.version in versions}
    number = to or held.get(PREVIOUS)
    if number is None or CHAMPION not in held:
        raise PipelineError("rollback: there is no version before this one; name one with --to")
    if number not in told:
        raise PipelineError(
            f"rollback: --to: {number} was never the champion; choose from {', '.join(told)}"
        )
    if number == held[CHAMPION]:
        raise PipelineError(f"rollback: version {number} is the champion already")
    if to is None and (why := versions[number].tags.get(ROLLED_BACK)):
        raise PipelineError(
            f"rollback: version {number} was rolled back itself ({why}); name one with --to"
        )
    return told[number]


def rollback(to: str | None, reason: str) -> Entry:
    """Brings back the version before, or `to`; the one that it replaces does not climb back by itself.

    Raises: PipelineError, also when the version does not answer as it did.
    """
    if not reason.strip():
        raise PipelineError("rollback: --reason: say why; it stands in the ledger for ever")
    settle()
    champion, before = champion_number(), _target(to)
    with downloaded(before.version) as folder:
        try:
            check(before, parity.answers(str(folder), EXAMPLES))
        except Unscorable as unscorable:
            raise PipelineError(
                f"rollback: version {before.version}: {unscorable}; try another"
            ) from None
    entry = replace(
        before, time=now(), verdict="rollback", previous=champion, reason=reason, actor=actor()
    )
    set_tags(str(champion), {ROLLED_BACK: reason})
    promote(entry.version, {TAG: entry.line(), ROLLED_BACK: ""}, after=champion)
    write(entry)
    return entry


log = logging.getLogger(__name__)

NAMES = {"tokenizer": "tokenizer.json", "network": "model.keras", "decision": "decision.json"}


def restore(entries: Sequence[Entry], numbers: Collection[str | None] = ()) -> None:
    """Every version that was ever in service, and the aliases; killed, it goes on.

    numbers: where given, only these, and of them those alone that can be rebuilt, besides the champion.
    Raises: PipelineError, where the registry holds anything else; Gone, where bytes are nowhere; Otherwise.
    """
    if not entries:
        raise PipelineError(f"{ledger.LEDGER}: no entry, so there is nothing to restore")
    told = {entry.version: entry for entry in entries}
    wanted = {number: told[number] for number in told if not numbers or number in numbers}
    there = all_versions()
    if (champion := champion_number()) not in (None, entries[-1].version):
        raise PipelineError(
            f"version {champion} is the champion of this registry; restore needs an empty one"
        )
    for number, version in there.items():
        entry = wanted.get(version.tags.get(RESTORED_AS, number))
        if entry is None or version.tags.get("model_hash") != entry.model_hash:
            raise PipelineError(
                f"version {number} of the registry is not of {ledger.LEDGER}; restore needs an empty one"
            )
    for number in tqdm(sorted(wanted, key=int), unit="version", disable=None):
        if number in there:
            continue
        try:
            rebuild(wanted[number])
        except (NotCachedError, Otherwise) as missing:
            if not numbers or number == entries[-1].version:
                raise
            log.warning("warning: version %s: %s", number, missing)
            del wanted[number]
    for number, reason in rolled_back(entries).items():
        if number in wanted:
            set_tags(number, {ledger.ROLLED_BACK: reason})
    before = entries[-1].previous
    set_alias(CHAMPION, entries[-1].version)
    update_other_aliases(entries[-1].version, before if before in wanted else None)
    log.info("restore: %d versions; %s is the champion", len(wanted), entries[-1].version)


def follow() -> str:
    """Makes the registry as the ledger says, and says what was done.

    A line that came with a merge promotes its version, a line that is here alone does not; of two that were
    merged in either order the later judged serves. An empty registry gets the champion back, and the one
    before it where its files are still there. Raises: Gone, where the champion's are nowhere; PipelineError.
    """
    entries, champion, versions = ledger.merged(), champion_number(), all_versions()
    if not entries:
        return "no promotion yet"
    last, held = entries[-1], ledger.Entry.of(versions.get(champion or ""))
    there = versions.get(last.version)
    known = there is not None and there.tags.get("model_hash") == last.model_hash
    if champion == last.version and known:
        ledger.settle()
        return f"version {champion} is the champion"
    if (
        held and held.time > last.time
    ):  # promoted or rolled back where the line has not come from yet
        ledger.settle()
        return f"version {champion} is the champion, which took the alias after the last line"
    if known and (champion == last.previous or champion in {entry.version for entry in entries}):
        promote(last.version, {ledger.TAG: last.line(), ledger.ROLLED_BACK: ""}, after=champion)
        return f"version {last.version} is the champion now, as its line is here"
    if champion is None:
        restore(entries, {last.version, last.previous})
        return f"version {last.version} is the champion again, in a registry that had none"
    log.warning(
        "warning: version %s was to take over from version %s: retrain", last.version, last.previous
    )
    return f"version {champion} stays the champion"


def rebuild(entry: Entry) -> None:
    """One version, with its number. Raises: PipelineError, also when it does not answer as it did."""
    names = {
        **{NAMES[part]: entry.files[part] for part in NAMES},
        "splits.parquet": entry.files["splits"],
    }
    with restored_files(names) as folder:
        paths = [folder / name for name in names]
        with model_package.packaged(*paths) as made:
            check(entry, made.answers(EXAMPLES))
            run_id = runs.log_restored_run(
                entry.model_hash, f"restored version {entry.version}", _tags(entry)
            )
            add_version(run_id, made.files(), _tags(entry), int(entry.version))


def _tags(entry: Entry) -> Mapping[str, str]:
    return {
        "model_hash": entry.model_hash,
        "data_hash": entry.data_hash,
        "git_commit": entry.commit,
        "verdict": entry.told,
        ledger.TAG: entry.line(),
    }


def rolled_back(entries: Sequence[Entry]) -> dict[str, str]:
    """The versions that were taken out of service and did not come back, with the reason."""
    out: dict[str, str] = {}
    for entry in entries:
        if entry.verdict == "rollback":
            out[str(entry.previous)] = entry.reason
        out.pop(entry.version, None)
    return out
