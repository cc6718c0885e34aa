"""Rebuilds the registry from the ledger, and the files from DVC's cache or remote."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from pipeline.core.dvc_cache import NotCachedError, restored_files
from pipeline.core.errors import PipelineError
from pipeline.core.tables import read_parquet
from pipeline.registry import ledger, versions
from pipeline.registry.ledger import ENTRY_TAG, LEDGER, ROLLBACK_TAG, LedgerEntry
from pipeline.registry.model_package import hash_model, packaged_model
from pipeline.registry.versions import (
    CHAMPION,
    EXAMPLES,
    REBUILD_ALL,
    RESTORED_AS,
    RegistryDamagedError,
    Version,
)
from pipeline.tracking import model_runs

log = logging.getLogger(__name__)

RESTORE_TOLERANCE = 1e-4  # of a probability; processors differ in the last digits only
FILE_NAMES = {  # by name in LedgerEntry.files
    "tokenizer": "tokenizer.json",
    "network": "model.keras",
    "evaluated": "evaluated.keras",
    "decision": "decision.json",
    "splits": "splits.parquet",
}


class AnswersChangedError(PipelineError):
    """A version answers differently from when it was registered."""


def check_answers(entry: LedgerEntry, answers: pd.DataFrame) -> None:
    """Compares the answers to EXAMPLES with those in the entry.

    Raises: AnswersChangedError if a probability differs by more than RESTORE_TOLERANCE.
    """
    pairs = zip(EXAMPLES["text"], entry.answers, answers["probability"], strict=True)
    for text, before, now in pairs:
        if before is None or not abs(before - now) <= RESTORE_TOLERANCE:  # NaN is a change too
            raise AnswersChangedError(
                f"version {entry.version}: answers {now:.4f} to {text!r}, but {before} when it was "
                "registered; code or libraries have changed; run it at commit "
                f"{entry.commit[:8]}"
            )


# ---- versions and aliases


def restore_registry(
    entries: Sequence[LedgerEntry], numbers: Collection[str | None] = (), anew: bool = False
) -> None:
    """Rebuilds every version that was a champion, and the aliases; after a kill it goes on.

    Args:
        entries: of the ledger, by time.
        numbers: if given, only these versions; a version other than the champion that cannot be
            rebuilt is then left out, with a warning.
        anew: the registered model gets another name first, so that nothing of it is in the way.

    Raises:
        PipelineError: the ledger is empty.
        RegistryDamagedError: the registry has other versions, or a file is not the promoted one.
        NotCachedError: a file is neither in DVC's cache nor in its remote.
        AnswersChangedError: a rebuilt model answers differently.
    """
    if not entries:
        raise PipelineError(f"{LEDGER}: no entry, so there is nothing to restore")
    last = ledger.champion_entry(entries)
    latest = {entry.version: entry for entry in entries}
    wanted = {number: latest[number] for number in latest if not numbers or number in numbers}
    for problem in ledger.changed_lines(entries):
        log.warning("warning: %s: %s", LEDGER, problem)
    if anew:
        for entry in wanted.values():
            with promoted_files(entry):  # all are there, before the old versions are set aside
                pass
        if name := versions.set_aside():
            log.info("restore: the old versions are kept as %s", name)
    registered = versions.all_versions()
    _check_restorable(last, wanted, registered)
    missing = [number for number in sorted(wanted, key=int) if number not in registered]
    for number in tqdm(missing, unit="version", disable=None):
        try:
            rebuild_version(wanted[number])
        except (NotCachedError, AnswersChangedError, RegistryDamagedError) as error:
            if not numbers or (last and number == last.version):
                raise
            log.warning("warning: version %s is not restored: %s", number, error)
            del wanted[number]
    for number, reason in rollback_reasons(entries).items():
        if number in wanted:
            versions.set_tags(number, {ROLLBACK_TAG: reason})
    if last:
        versions.set_alias(CHAMPION, last.version)
        before = last.previous if last.previous in wanted else None
        versions.update_other_aliases(last.version, before)
    champion = last.version if last else "none"
    log.info("restore: %d versions; %s is the champion", len(wanted), champion)


def _check_restorable(
    last: LedgerEntry | None, wanted: Mapping[str, LedgerEntry], registered: Mapping[str, Version]
) -> None:
    """Raises: RegistryDamagedError if it has anything else than the wanted versions."""
    champion = versions.champion_number()
    if champion not in (None, last.version if last else None):
        raise RegistryDamagedError(
            f"version {champion} is the champion of this registry; restore needs an empty one; "
            f"{REBUILD_ALL}"
        )
    for number, version in registered.items():
        entry = wanted.get(version.tags.get(RESTORED_AS, number))
        if entry is None or version.tags.get("model_hash") != entry.model_hash:
            raise RegistryDamagedError(
                f"version {number} of the registry is not in {LEDGER}; restore needs an empty "
                f"registry; {REBUILD_ALL}"
            )
        versions.check_version(number, entry.files)


def rebuild_version(entry: LedgerEntry) -> None:
    """Registers the model of an entry again, with its number, from DVC's cache or remote.

    Raises: NotCachedError; AnswersChangedError; RegistryDamagedError; PipelineError.
    """
    tags = {
        "model_hash": entry.model_hash,
        "data_hash": entry.data_hash,
        "git_commit": entry.commit,
        "verdict": entry.verdict_text,
        ENTRY_TAG: entry.json_line(),
    }
    with promoted_files(entry) as paths:
        splits = read_parquet(paths.pop("splits")).to_pandas()
        with packaged_model(**paths, splits=splits) as package:
            check_answers(entry, package.answers(EXAMPLES))
            run_name = f"restored version {entry.version}"
            run_id = model_runs.log_restored_run(entry.model_hash, run_name, tags)
            number = int(entry.version)
            version = versions.add_version(run_id, package.files(), tags, number)
    if version.number != entry.version:
        versions.delete_version(version.number)
        raise RegistryDamagedError(
            f"version {entry.version}: was deleted, and MLflow does not give its number again; "
            f"{REBUILD_ALL}"
        )


@contextmanager
def promoted_files(entry: LedgerEntry) -> Iterator[dict[str, Path]]:
    """The files of an entry by their names in FILE_NAMES, while the block runs.

    Raises: NotCachedError; RegistryDamagedError if a file is not the one that was promoted.
    """
    expected = {"evaluated": entry.files["network"], **entry.files}  # older lines have one network
    md5s = {name: expected[key] for key, name in FILE_NAMES.items()}
    with restored_files(md5s) as folder:
        paths = {key: folder / name for key, name in FILE_NAMES.items()}
        hashes = hash_model(**paths)
        for key, name in FILE_NAMES.items():
            md5 = expected[key]
            if hashes.md5s[key] != md5:
                raise RegistryDamagedError(
                    f"version {entry.version}: {name} in DVC's cache was changed; delete "
                    f"files/md5/{md5[:2]}/{md5[2:]} in the folder that `dvc cache dir` prints, "
                    "and run it again: it comes from the remote"
                )
        if hashes.model != entry.model_hash:
            raise RegistryDamagedError(
                f"{LEDGER}: version {entry.version}: its files are not of model "
                f"{entry.model_hash[:8]}; `git log -p {LEDGER}` shows who changed the line"
            )
        yield paths


def rollback_reasons(entries: Sequence[LedgerEntry]) -> dict[str, str]:
    """The reason of each version that was rolled back and did not become the champion again."""
    reasons: dict[str, str] = {}
    for entry in entries:
        if entry.verdict == "rollback":
            reasons[str(entry.previous)] = entry.reason
        reasons.pop(entry.version, None)
    return reasons
