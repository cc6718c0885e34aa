"""Makes a registry as the ledger says: promotes what was merged, rebuilds what was lost."""

import logging
from collections.abc import Collection, Mapping, Sequence

from tqdm import tqdm

from pipeline import cache, ledger, package, registry, tracking
from pipeline.ledger import Entry
from pipeline.registry import CHAMPION
from pipeline.stage import PipelineError

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
    there = registry.versions()
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
        if number in there:
            continue
        try:
            rebuild(wanted[number])
        except (cache.Gone, ledger.Otherwise) as missing:
            if not numbers or number == entries[-1].version:
                raise
            log.warning("warning: version %s: %s", number, missing)
            del wanted[number]
    for number, reason in rolled_back(entries).items():
        if number in wanted:
            registry.tag(number, {ledger.ROLLED_BACK: reason})
    before = entries[-1].previous
    registry.point(CHAMPION, entries[-1].version)
    registry.tidy(entries[-1].version, before if before in wanted else None)
    log.info("restore: %d versions; %s is the champion", len(wanted), entries[-1].version)


def follow() -> str:
    """Makes the registry as the ledger says, and says what was done.

    A line that came with a merge promotes its version, a line that is here alone does not; of two that were
    merged in either order the later judged serves. An empty registry gets the champion back, and the one
    before it where its files are still there. Raises: Gone, where the champion's are nowhere; PipelineError.
    """
    entries, champion, versions = ledger.merged(), registry.champion(), registry.versions()
    if not entries:
        return "no promotion yet"
    last, held = entries[-1], ledger.Entry.of(versions.get(champion or ""))
    there = versions.get(last.version)
    known = there is not None and there.tags.get("model_hash") == last.model_hash
    if champion == last.version and known:
        ledger.settle()
        return f"version {champion} is the champion"
    if held and held.time > last.time:  # promoted or rolled back where the line has not come from yet
        ledger.settle()
        return f"version {champion} is the champion, which took the alias after the last line"
    if known and (champion == last.previous or champion in {entry.version for entry in entries}):
        registry.promote(last.version, {ledger.TAG: last.line(), ledger.ROLLED_BACK: ""}, after=champion)
        return f"version {last.version} is the champion now, as its line is here"
    if champion is None:
        restore(entries, {last.version, last.previous})
        return f"version {last.version} is the champion again, in a registry that had none"
    log.warning("warning: version %s was to take over from version %s: retrain", last.version, last.previous)
    return f"version {champion} stays the champion"


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
