"""The ledger: every promotion and every rollback, a line each, beside the registry that it tells of."""

import argparse
import getpass
import itertools
import json
import logging
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import cache, elsewhere, registry, stage
from pipeline.elsewhere import Unscorable
from pipeline.registry import CHALLENGER, CHAMPION, PREVIOUS, Version
from pipeline.stage import PipelineError

log = logging.getLogger(__name__)

LEDGER = Path("ledger.jsonl")
TAG = "judgement"  # of a version: its last entry, which is a line of the ledger if it became the champion
ROLLED_BACK = "rolled_back"  # of a version: why it was taken out of service; empty once it is back
TOLERANCE = 1e-4  # of a probability; more than another processor's last digits
PROMOTIONS = "first", "promote", "forced", "rollback"  # the verdicts that move the alias
SHOWN = "time", "verdict", "version", "previous", "model", "criterion", "actor", "reason"


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
        stage.typed(Entry, asdict(entry), place)
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
    content = stage.read_bytes(LEDGER, "move it out of the way").decode("utf-8", "replace")
    entries = {entry.line(): entry for entry in _entries(content.split("\n"))}
    return sorted(entries.values(), key=lambda entry: entry.time)


def merged() -> list[Entry]:
    """The entries that are where others see them: on origin's default branch, as of the last fetch.

    Where that is not known it is the branch that this one follows, and else this one.
    """
    for ref in ("refs/remotes/origin/HEAD", "@{upstream}", "HEAD"):
        if (
            subprocess.run(["git", "rev-parse", "--quiet", "--verify", ref], capture_output=True).returncode
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
    if entry in entries or (entries and _same_model(entries[-1], entry)):
        return
    stage.write_text(LEDGER, text([*entries, entry]))


def text(entries: Sequence[Entry]) -> str:
    """The file that these entries are."""
    return "".join(f"{entry.line()}\n" for entry in entries)


def proposed() -> Entry | None:
    """The judgement of the model that was judged last, where it wins and waits for a person."""
    entry = Entry.of(registry.versions().get(registry.aliases().get(CHALLENGER, "")))
    return entry if entry and entry.verdict in PROMOTIONS else None


def _same_model(a: Entry, b: Entry) -> bool:
    return (a.version, a.model_hash) == (b.version, b.model_hash)


def settle(model_hash: str | None = None) -> None:
    """Ends what a kill left half done: the champion's line, which its tag holds, and the other aliases.

    Raises: PipelineError, where the registry has no champion and the ledger has one: a registry that was lost
    would let anything in. But a new one may begin with this model, where it was version 1.
    """
    number, entries = registry.champion(), read()
    entry = Entry.of(registry.versions().get(number)) if number else None
    if entry and entry.verdict in PROMOTIONS:
        write(entry)
        registry.tidy(entry.version, entry.previous)
    elif number is None and entries and (entries[-1].version, entries[-1].model_hash) != ("1", model_hash):
        raise PipelineError(
            f"{LEDGER}: version {entries[-1].version} is the champion, and the registry has none; see that "
            f"MLFLOW_TRACKING_URI is right; `python -m pipeline.ledger restore` rebuilds it, and without "
            f"{LEDGER} it begins anew"
        )


# ---- commands


def show(entries: Sequence[Entry]) -> str:
    """The entries as a table, the newest last."""
    rows = [SHOWN, *map(_cells, entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(SHOWN) - 1)] + [0]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _cells(entry: Entry) -> tuple[str, ...]:
    criterion, figure = next(iter(entry.figures.items()), ("", {}))
    interval = f" [{figure['low']:.3f}, {figure['high']:.3f}]" if figure.get("low") is not None else ""
    judged = f"{criterion} {figure['value']:.3f}{interval}" if figure.get("value") is not None else ""
    before = entry.previous or "-"
    names = entry.time, entry.verdict, entry.version, before, entry.model_hash[:8], judged, entry.actor
    return (*names, entry.reason)


def flaws(
    entries: Sequence[Entry], versions: Mapping[str, Version], held: Mapping[str, str], cached: set[str]
) -> Iterator[str]:
    """Where ledger, registry and DVC's cache do not agree, a line each, with the way out."""
    for entry in {entry.version: entry for entry in entries}.values():
        known = versions.get(entry.version)
        if known is None:
            yield f"version {entry.version}: not in the registry; in an empty one `restore` rebuilds it"
        elif known.tags.get("model_hash") != entry.model_hash:
            yield (
                f"version {entry.version}: the registry has another model of that number; two registries "
                f"wrote this ledger: keep the lines of the one that serves"
            )
        if gone := sorted(part for part, md5 in entry.files.items() if md5 not in cached):
            yield (
                f"version {entry.version}: not in DVC's cache: {', '.join(gone)}; `dvc fetch --all-commits` "
                "brings it from the remote, where somebody pushed it"
            )
    for number in {held.get(CHAMPION), held.get(PREVIOUS)} & set(versions):
        last = Entry.of(versions[str(number)])
        if last and last.verdict in PROMOTIONS:
            yield from _untold(last, entries)
    if entries and held.get(CHAMPION) != entries[-1].version:
        yield (
            f"champion: version {held.get(CHAMPION, 'none')} in the registry, {entries[-1].version} here; "
            "`git pull`, or `rollback --to` the one that shall serve"
        )


def _untold(last: Entry, entries: Sequence[Entry]) -> Iterator[str]:
    """Where the lines of a version say otherwise than its tag."""
    lines = [entry for entry in entries if _same_model(entry, last)]
    if not lines:
        yield f"version {last.version}: took the alias {last.time}, and no line says so; `git pull`"
    elif lines[-1].time == last.time and lines[-1] != last:
        yield f"version {last.version}: its line was changed; the registry's tag {TAG} has what was written"


def branches(entries: Sequence[Entry]) -> Iterator[str]:
    """Entries that took over from a version that was not in service: two branches, or two registries."""
    for before, entry in itertools.pairwise(entries):
        if entry.previous != before.version:
            yield (
                f"version {entry.version} took over from version {entry.previous} when {before.version} was "
                "the champion: two branches promoted, and the later one holds; to undo it, `rollback --to "
                f"{before.version}`"
            )


class Otherwise(PipelineError):  # noqa: N818 (it is an answer that it speaks of)
    """A version does not answer as it did when it was judged."""


def check(entry: Entry, answers: pd.DataFrame) -> None:
    """Raises: Otherwise."""
    for text, before, today in zip(registry.EXAMPLES, entry.answers, answers["probability"], strict=True):
        if abs(before - today) > TOLERANCE:
            raise Otherwise(
                f"version {entry.version}: {today:.4f} for {text!r}, where it said {before:.4f}: the code or "
                f"the libraries are others now; run it at commit {entry.commit[:8]}"
            )


def _target(to: str | None) -> Entry:
    """The last line of the version that a rollback goes to. Raises: PipelineError."""
    held, versions = registry.aliases(), registry.versions()
    told = {entry.version: entry for entry in read() if entry.version in versions}
    number = to or held.get(PREVIOUS)
    if number is None or CHAMPION not in held:
        raise PipelineError("rollback: there is no version before this one; name one with --to")
    if number not in told:
        raise PipelineError(f"rollback: --to: {number} was never the champion; choose from {', '.join(told)}")
    if number == held[CHAMPION]:
        raise PipelineError(f"rollback: version {number} is the champion already")
    if to is None and (why := versions[number].tags.get(ROLLED_BACK)):
        raise PipelineError(f"rollback: version {number} was rolled back itself ({why}); name one with --to")
    return told[number]


def rollback(to: str | None, reason: str) -> Entry:
    """Brings back the version before, or `to`; the one that it replaces does not climb back by itself.

    Raises: PipelineError, also when the version does not answer as it did.
    """
    if not reason.strip():
        raise PipelineError("rollback: --reason: say why; it stands in the ledger for ever")
    settle()
    champion, before = registry.champion(), _target(to)
    with registry.downloaded(before.version) as folder:
        try:
            check(before, elsewhere.answers(str(folder), registry.EXAMPLES))
        except Unscorable as unscorable:
            raise PipelineError(f"rollback: version {before.version}: {unscorable}; try another") from None
    entry = replace(before, time=now(), verdict="rollback", previous=champion, reason=reason, actor=actor())
    registry.tag(str(champion), {ROLLED_BACK: reason})
    registry.promote(entry.version, {TAG: entry.line(), ROLLED_BACK: ""}, after=champion)
    write(entry)
    return entry


def verify(entries: Sequence[Entry]) -> None:
    """Says where things do not agree. Raises: PipelineError, if they do not."""
    for note in branches(entries):
        log.warning("ledger: %s", note)
    md5s = {md5 for entry in entries for md5 in entry.files.values()}
    found = list(flaws(entries, registry.versions(), registry.aliases(), cache.held(md5s)))
    if found:
        raise PipelineError("\nerror: ".join(f"{LEDGER}: {flaw}" for flaw in found))
    log.info("ledger: %d entries agree with the registry and with DVC's cache", len(entries))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("show", help="a table of the entries")
    commands.add_parser("verify", help="holds ledger, registry and DVC's cache against each other")
    back = commands.add_parser("rollback", help="gives the alias back to an earlier version")
    back.add_argument("--to", metavar="N", help="a version (default: the one before)")
    back.add_argument("--reason", required=True, help="stands in the ledger for ever")
    commands.add_parser("restore", help="rebuilds versions and aliases in an empty registry")
    commands.add_parser("follow", help="promotes the last line's version, or rebuilds it, where need be")
    arguments = parser.parse_args(argv)

    match arguments.command:
        case "show":
            print(show(read()))
        case "verify":
            verify(read())
        case "rollback":
            with stage.one_at_a_time():
                entry = rollback(arguments.to, arguments.reason)
            log.info("ledger: version %s is the champion again", entry.version)
        case "restore":
            from pipeline import restore  # here, as it needs all that builds a model

            with stage.one_at_a_time():
                restore.restore(read())
        case "follow":
            from pipeline import restore

            with stage.one_at_a_time():
                log.info("ledger: %s", restore.follow())


if __name__ == "__main__":
    stage.command(main)
