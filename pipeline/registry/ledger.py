"""The ledger: `ledger.jsonl` has one line for each promotion, rollback and end of a champion."""

import getpass
import json
import logging
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_bytes, write_text
from pipeline.core.git import COMMIT, try_git
from pipeline.core.params import parse_params
from pipeline.registry import versions
from pipeline.registry.versions import CHALLENGER, CHAMPION, RegistryDamagedError, Version

log = logging.getLogger(__name__)

LEDGER = Path("ledger.jsonl")
ENTRY_TAG = "judgement"  # tag of a version: the entry of the last decision on it, as JSON
ROLLBACK_TAG = "rolled_back"  # tag of a version: why it was rolled back; empty if it serves again
PROMOTION_VERDICTS = (  # give the alias
    *("first", "promote", "calibrated", "refitted", "forced", "rollback"),
)
BEGIN_ANEW = "begin anew"  # the verdict that takes it from its version, and gives it to none
MERGE_MARKERS = ("<<<<<<<", "=======", ">>>>>>>")


@dataclass(frozen=True)
class LedgerEntry:
    """A decision on a version, with all that is needed to rebuild the version."""

    time: str  # UTC, ISO 8601
    verdict: str  # in the ledger of PROMOTION_VERDICTS or BEGIN_ANEW; others stand in tags only
    version: str
    previous: str | None  # the champion before
    reason: str
    figures: Mapping[str, Mapping[str, Any]]  # as in reports: value, low, high, n
    actor: str
    commit: str  # Git commit that the run started from
    data_hash: str
    model_hash: str
    files: Mapping[str, str]  # MD5 of each file of the model, its name in DVC's cache
    answers: Sequence[float | None]  # probabilities of versions.EXAMPLES; None if NaN
    key: str  # hash of the rows and rules of the decision; an equal key is not decided again

    @classmethod
    def from_version(cls, version: Version | None) -> "LedgerEntry | None":
        """The entry of the last decision on a version; None if there is none."""
        if version is None or ENTRY_TAG not in version.tags:
            return None
        return parse_entry(
            version.tags[ENTRY_TAG], f"version {version.number}: its tag {ENTRY_TAG}"
        )

    @property
    def verdict_text(self) -> str:
        """Verdict and reason, as the report of register has them."""
        return f"{self.verdict}: {self.reason}"

    def json_line(self) -> str:
        """The entry as a line of the ledger, without the newline."""
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False)


def parse_entry(line: str, place: str) -> LedgerEntry:
    """The entry that `LedgerEntry.json_line` wrote. Raises: PipelineError."""
    try:
        entry = LedgerEntry(**json.loads(line))
        parse_params(LedgerEntry, asdict(entry), place)
        int(entry.version)
        if entry.commit and not COMMIT.fullmatch(entry.commit):  # it becomes an argument of Git
            raise ValueError
        datetime.fromisoformat(entry.time).astimezone(UTC)
    except (TypeError, ValueError, OverflowError, RecursionError, PipelineError):
        raise PipelineError(
            f"{place}: not a ledger entry; `git checkout {LEDGER}` restores the last good file, "
            "and the registry holds the newest entry"
        ) from None
    return entry


def utc_now() -> datetime:
    """The time now, or SOURCE_DATE_EPOCH where it is set, as in reproducible builds.

    Raises: PipelineError if SOURCE_DATE_EPOCH is no time.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        return datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        raise PipelineError(
            f"SOURCE_DATE_EPOCH: {epoch!r} is not a time in seconds since 1970; correct or unset it"
        ) from None


def next_entry_time() -> str:
    """The time of a new entry: now, but not before the last entry, whose clock may be ahead."""
    times = [entry.time for entry in read_entries()]
    return max([utc_now().isoformat(timespec="seconds"), *times])


def current_actor() -> str:
    """GitHub's actor, else Git's user name, else the user of this machine."""
    git_name = (try_git("config", "user.name") or "").strip()
    return os.environ.get("GITHUB_ACTOR") or git_name or getpass.getuser()


# ---- the file


def read_entries() -> list[LedgerEntry]:
    """The entries by time, without duplicates, as a merge may leave them. Raises: PipelineError."""
    if not LEDGER.exists():
        return []
    content = read_bytes(LEDGER, "move it out of the way").decode("utf-8", "replace")
    entries = {entry.json_line(): entry for entry in _parse_lines(content.split("\n"))}
    return sorted(entries.values(), key=lambda entry: entry.time)


def merged_entries() -> list[LedgerEntry]:
    """The entries that are merged: on origin's default branch, as of the last fetch.

    Without an origin it is the upstream of this branch, else the last commit.
    """
    for ref in ("refs/remotes/origin/HEAD", "@{upstream}", "HEAD"):
        if try_git("rev-parse", "--quiet", "--verify", ref) is not None:
            return entries_at(ref)
    return []


def entries_at(ref: str) -> list[LedgerEntry]:
    """The entries in a commit, by time; empty if it has no ledger. Raises: PipelineError."""
    done = subprocess.run(["git", "show", f"{ref}:{LEDGER}"], capture_output=True)
    lines = done.stdout.decode("utf-8", "replace").split("\n")
    return sorted(_parse_lines(lines), key=lambda entry: entry.time)


def _parse_lines(lines: Sequence[str]) -> Iterator[LedgerEntry]:
    for number, line in enumerate(lines, 1):
        if line.startswith(MERGE_MARKERS):
            raise PipelineError(
                f"{LEDGER}: line {number}: an unresolved merge; keep the lines of both sides and "
                "delete the three markers"
            )
        if line.strip():
            yield parse_entry(line, f"{LEDGER}: line {number}")


def append_entry(entry: LedgerEntry) -> None:
    """Adds the entry, unless the ledger has it or ends with the same model in the same state."""
    entries = read_entries()
    if entry in entries or any(_is_repeated(last, entry) for last in entries[-1:]):
        return
    write_text(LEDGER, ledger_text([*entries, entry]))


def _is_repeated(last: LedgerEntry, entry: LedgerEntry) -> bool:
    is_end, was_end = (one.verdict == BEGIN_ANEW for one in (entry, last))
    return is_end == was_end and is_same_model(last, entry)


def champion_entry(entries: Sequence[LedgerEntry]) -> LedgerEntry | None:
    """The entry of the champion: the last one, unless that begins anew."""
    return next((entry for entry in entries[-1:] if entry.verdict != BEGIN_ANEW), None)


def ledger_text(entries: Sequence[LedgerEntry]) -> str:
    """The content of the file for these entries."""
    return "".join(f"{entry.json_line()}\n" for entry in entries)


def as_in_ledger(entry: LedgerEntry) -> LedgerEntry:
    """The entry, or the ledger's last line if that is the same decision, of another registry."""
    for last in read_entries()[-1:]:
        if is_same_model(last, entry) and last.verdict == entry.verdict:
            return last
    return entry


def is_same_model(a: LedgerEntry, b: LedgerEntry) -> bool:
    """Whether two entries name the same version with the same model."""
    return (a.version, a.model_hash) == (b.version, b.model_hash)


# ---- ledger and registry


def record_problem(version: Version | None) -> str | None:
    """Why a version is no champion by its own record, its tag; None if it was promoted."""
    record = LedgerEntry.from_version(version)
    if version is None or record is None or record.version != version.number:
        return f"it has no record of a promotion (tag {ENTRY_TAG})"
    if record.verdict not in PROMOTION_VERDICTS:
        return f"its own record says `{record.verdict_text}`"
    return None


def line_problem(record: LedgerEntry, entries: Sequence[LedgerEntry]) -> str | None:
    """Whether the line of this record was changed; None if not, or if the ledger has no line."""
    lines = [entry for entry in entries if entry.version == record.version]
    for line in lines if record not in lines else []:
        if line.time == record.time or replace(line, time=record.time) == record:
            return (
                f"version {line.version}: its line was changed; the registry's tag {ENTRY_TAG} has "
                f"the original, and `git log -p {LEDGER}` shows the change"
            )
    return None


def changed_lines(entries: Sequence[LedgerEntry]) -> Iterator[str]:
    """A phrase for each merged line that the ledger does not have as it was merged."""
    for merged in merged_entries():
        if merged not in entries:
            yield (
                f"version {merged.version}: its line of {merged.time} was changed or removed since "
                f"it was merged; `git pull`, or `git checkout {LEDGER}`"
            )


def missing_line(record: LedgerEntry, entries: Sequence[LedgerEntry]) -> str | None:
    """Whether the ledger has no line of a model that was promoted; None if it has."""
    if any(is_same_model(entry, record) for entry in entries):
        return None
    return (
        f"version {record.version}: became the champion {record.time}, but has no line; `git pull`"
    )


def check_champion(version: Version, entries: Sequence[LedgerEntry]) -> LedgerEntry:
    """The record of the champion.

    Raises: RegistryDamagedError if the record or its line does not say that it was promoted.
    """
    record = LedgerEntry.from_version(version)
    if record is None or record_problem(version):
        raise RegistryDamagedError(
            f"version {version.number} has the alias {CHAMPION}, but {record_problem(version)}; "
            "`python -m pipeline ledger follow` gives the alias to the last merged line's version"
        )
    if problem := line_problem(record, entries):
        raise RegistryDamagedError(f"{LEDGER}: {problem}")
    return record


def champion_files(version: Version) -> Mapping[str, str]:
    """The MD5 of each file of the champion, of its line in the ledger or else of its record.

    Warns if the ledger has no line. Raises: RegistryDamagedError, as `check_champion`.
    """
    entries = read_entries()
    record = check_champion(version, entries)
    if problem := missing_line(record, entries):
        log.warning("warning: %s: %s", LEDGER, problem)
    return [record, *(entry for entry in entries if is_same_model(entry, record))][-1].files


def last_begin_anew(
    registered: Mapping[str, Version], entries: Sequence[LedgerEntry]
) -> LedgerEntry | None:
    """The entry that begins anew after all these entries; None if there is none.

    It is the last of them, or the record of a version whose line is not merged yet.
    """
    begun = [one for one in registered.values() if BEGIN_ANEW in one.tags.get(ENTRY_TAG, "")]
    records = map(LedgerEntry.from_version, begun)
    waiting = [record for record in records if record and record not in entries]
    candidates = [one for one in (*waiting, *entries[-1:]) if one.verdict == BEGIN_ANEW]
    latest = max(candidates, key=lambda entry: entry.time, default=None)
    return latest if latest and all(latest.time >= entry.time for entry in entries) else None


def complete_begin_anew(entries: Sequence[LedgerEntry]) -> LedgerEntry | None:
    """Takes the aliases away and adds the line if a person began anew; returns the entry.

    None if nobody did, or if a champion was promoted since.

    Args:
        entries: the ledger's lines that count, by time.
    """
    registered = versions.all_versions()
    begun = last_begin_anew(registered, entries)
    champion = registered.get(versions.champion_number() or "")
    record = LedgerEntry.from_version(champion)
    is_known = record in entries and begun in entries  # so the champion is the one before
    if begun is None or (champion and record != begun and not is_known):
        return None
    if champion:
        versions.remove_aliases()
    append_entry(begun)
    return begun


def proposed_entry() -> LedgerEntry | None:
    """The entry of the challenger, if it won and waits for a person to merge it."""
    challenger = versions.alias_numbers().get(CHALLENGER, "")
    entry = LedgerEntry.from_version(versions.all_versions().get(challenger))
    return entry if entry and entry.verdict in PROMOTION_VERDICTS else None


def finish_promotion(model_hash: str | None = None) -> None:
    """Completes a promotion that was killed: adds the champion's line and sets the other aliases.

    So it does if a person began anew.

    Args:
        model_hash: a registry without a champion is accepted if the ledger's last entry is this
            model as version 1, which register then registers again.

    Raises:
        RegistryDamagedError: the champion was not promoted, or its line was changed.
        PipelineError: the ledger has a champion and the registry has none; a lost registry would
            accept any model.
    """
    entries = read_entries()
    if complete_begin_anew(entries):
        return
    champion = versions.find_champion()
    if champion:
        entry = check_champion(champion, entries)
        append_entry(entry)
        versions.update_other_aliases(entry.version, entry.previous)
    elif entries:
        last = entries[-1]
        if (last.version, last.model_hash) != ("1", model_hash):
            raise PipelineError(
                f"{LEDGER}: version {last.version} is the champion, but the registry has none; "
                "check MLFLOW_TRACKING_URI, or run `python -m pipeline ledger restore` to rebuild "
                f"the registry, or delete {LEDGER} to start anew"
            )
