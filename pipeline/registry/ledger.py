"""The ledger: every promotion and every rollback, a line each, beside the registry that it tells of."""

import getpass
import json
import logging
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_bytes, write_text
from pipeline.core.params import parse_params
from pipeline.registry import versions
from pipeline.registry.versions import CHALLENGER, Version

log = logging.getLogger(__name__)

LEDGER = Path("ledger.jsonl")
TAG = "judgement"  # of a version: its last entry, which is a line of the ledger if it became the champion
ROLLED_BACK = "rolled_back"  # of a version: why it was taken out of service; empty once it is back
PROMOTIONS = "first", "promote", "forced", "rollback"  # the verdicts that move the alias


@dataclass(frozen=True)
class Entry:
    """What was decided of a version, when, why and by whom, and all that it takes to build it again."""

    time: str  # UTC, ISO 8601
    verdict: str  # of PROMOTIONS, in the ledger
    version: str
    previous: str | None  # the champion until then
    reason: str
    figures: Mapping[str, Mapping[str, Any]]  # as in reports: value, low, high, n
    actor: str
    commit: str  # of Git, that the run started from
    data_hash: str
    model_hash: str
    files: Mapping[str, str]  # MD5 by part, as DVC's cache names them
    answers: Sequence[float]  # probabilities of registry.EXAMPLES
    key: str  # of what it was judged by: the same key is judged no second time

    @classmethod
    def of(cls, version: Version | None) -> "Entry | None":
        """The last entry of a version; None of one that has none."""
        if version is None or TAG not in version.tags:
            return None
        return parsed(version.tags[TAG], f"version {version.number}: its tag {TAG}")

    @property
    def told(self) -> str:
        """The verdict as register's report has it."""
        return f"{self.verdict}: {self.reason}"

    def line(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


def parsed(line: str, place: str) -> Entry:
    """The entry of a line as `Entry.line` writes it. Raises: PipelineError."""
    try:
        entry = Entry(**json.loads(line))
        parse_params(Entry, asdict(entry), place)
        int(entry.version)
    except (TypeError, ValueError, PipelineError):
        raise PipelineError(
            f"{place}: no entry; `git checkout {LEDGER}` brings the last good ones back, and the registry "
            "the newest"
        ) from None
    return entry


def clock() -> datetime:
    """Now, in UTC; SOURCE_DATE_EPOCH stands in for it where it is set, as in reproducible builds."""
    told = os.environ.get("SOURCE_DATE_EPOCH")
    return datetime.fromtimestamp(int(told), UTC) if told else datetime.now(UTC)


def now() -> str:
    """The time of a new entry: never before the last one's, whichever clock that was by."""
    return max([clock().isoformat(timespec="seconds"), *(entry.time for entry in read())])


def actor() -> str:
    """Who is at work: GitHub's actor, else Git's user, else the machine's."""
    named = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True)
    return os.environ.get("GITHUB_ACTOR") or named.stdout.strip() or getpass.getuser()


# ---- the file


def read() -> list[Entry]:
    """The entries by time, each once, whichever branch they come from. Raises: PipelineError."""
    if not LEDGER.exists():
        return []
    content = read_bytes(LEDGER, "move it out of the way").decode("utf-8", "replace")
    entries = {entry.line(): entry for entry in _entries(content.split("\n"))}
    return sorted(entries.values(), key=lambda entry: entry.time)


def merged() -> list[Entry]:
    """The entries that are where others see them: on origin's default branch, as of the last fetch.

    Where that is not known it is the branch that this one follows, and else this one.
    """
    for ref in ("refs/remotes/origin/HEAD", "@{upstream}", "HEAD"):
        if (
            subprocess.run(
                ["git", "rev-parse", "--quiet", "--verify", ref], capture_output=True
            ).returncode
            == 0
        ):
            return at(ref)
    return []


def at(ref: str) -> list[Entry]:
    """The entries of a commit, by time; none where it has no ledger, or is not here."""
    done = subprocess.run(["git", "show", f"{ref}:{LEDGER}"], capture_output=True)
    lines = done.stdout.decode("utf-8", "replace").split("\n")
    return sorted(_entries(lines), key=lambda entry: entry.time)


def _entries(lines: Sequence[str]) -> Iterator[Entry]:
    for number, line in enumerate(lines, 1):
        if line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
            raise PipelineError(
                f"{LEDGER}: line {number}: an unresolved merge; keep the lines of both sides, and delete "
                "those of the three markers"
            )
        if line.strip():
            yield parsed(line, f"{LEDGER}: line {number}")


def write(entry: Entry) -> None:
    """Adds the line, if the ledger does not say it already."""
    entries = read()
    if entry in entries or (entries and same_model(entries[-1], entry)):
        return
    write_text(LEDGER, text([*entries, entry]))


def text(entries: Sequence[Entry]) -> str:
    """The file that these entries are."""
    return "".join(f"{entry.line()}\n" for entry in entries)


def proposed() -> Entry | None:
    """The judgement of the model that was judged last, where it wins and waits for a person."""
    entry = Entry.of(versions.all_versions().get(versions.alias_numbers().get(CHALLENGER, "")))
    return entry if entry and entry.verdict in PROMOTIONS else None


def same_model(a: Entry, b: Entry) -> bool:
    return (a.version, a.model_hash) == (b.version, b.model_hash)


def settle(model_hash: str | None = None) -> None:
    """Ends what a kill left half done: the champion's line, which its tag holds, and the other aliases.

    Raises: PipelineError, where the registry has no champion and the ledger has one: a registry that was lost
    would let anything in. But a new one may begin with this model, where it was version 1.
    """
    number, entries = versions.champion_number(), read()
    entry = Entry.of(versions.all_versions().get(number)) if number else None
    if entry and entry.verdict in PROMOTIONS:
        write(entry)
        versions.update_other_aliases(entry.version, entry.previous)
    elif (
        number is None
        and entries
        and (entries[-1].version, entries[-1].model_hash) != ("1", model_hash)
    ):
        raise PipelineError(
            f"{LEDGER}: version {entries[-1].version} is the champion, and the registry has none; see that "
            f"MLFLOW_TRACKING_URI is right; `python -m pipeline ledger restore` rebuilds it, and without "
            f"{LEDGER} it begins anew"
        )
