"""Rebuilds versions and aliases in an empty registry, from the ledger and DVC's cache or remote."""

import logging
from collections.abc import Mapping, Sequence

from tqdm import tqdm

from pipeline import cache, ledger, package, registry, tracking
from pipeline.ledger import Entry
from pipeline.registry import CHAMPION
from pipeline.stage import PipelineError

log = logging.getLogger(__name__)

NAMES = {"tokenizer": "tokenizer.json", "network": "model.keras", "decision": "decision.json"}


def restore(entries: Sequence[Entry]) -> None:
    """Every version that was ever in service, by its number, and the aliases; killed, it goes on.

    Raises: PipelineError, where the registry holds anything else, or bytes are nowhere.
    """
    if not entries:
        raise PipelineError(f"{ledger.LEDGER}: no entry, so there is nothing to restore")
    wanted, there = {entry.version: entry for entry in entries}, registry.versions()
    if (champion := registry.champion()) not in (None, entries[-1].version):
        raise PipelineError(
            f"version {champion} is the champion of this registry; restore needs an empty one"
        )
    for number, version in there.items():
        entry = wanted.get(version.tags.get(registry.RESTORED_AS, number))
        if entry is None or version.tags.get("model_hash") != entry.model_hash:
            raise PipelineError(
                f"version {number} of the registry is not of {ledger.LEDGER}; restore needs an empty one"
            )
    for number in tqdm(sorted(wanted, key=int), unit="version", disable=None):
        if number not in there:
            rebuild(wanted[number])
    for number, reason in rolled_back(entries).items():
        registry.tag(number, {ledger.ROLLED_BACK: reason})
    registry.point(CHAMPION, entries[-1].version)
    registry.tidy(entries[-1].version, entries[-1].previous)
    log.info("restore: %d versions; %s is the champion", len(wanted), entries[-1].version)


def rebuild(entry: Entry) -> None:
    """One version, with its number. Raises: PipelineError, also when it does not answer as it did."""
    names = {**{NAMES[part]: entry.files[part] for part in NAMES}, "splits.parquet": entry.files["splits"]}
    with cache.files(names) as folder:
        paths = [folder / name for name in names]
        with package.packaged(*paths) as made:
            ledger.check(entry, made.answers(registry.EXAMPLES))
            run_id = tracking.restored(entry.model_hash, f"restored version {entry.version}", _tags(entry))
            registry.add_version(run_id, made.files(), _tags(entry), int(entry.version))


def _tags(entry: Entry) -> Mapping[str, str]:
    return {
        "model_hash": entry.model_hash,
        "data_hash": entry.data_hash,
        "git_commit": entry.commit,
        "verdict": f"{entry.verdict}: {entry.reason}",
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
