"""Shows, checks and follows the ledger, and rolls back."""

import argparse
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence

from pipeline.core.cli import stage_lock
from pipeline.core.dvc_cache import cached_md5s
from pipeline.core.errors import PipelineError
from pipeline.registry import recovery
from pipeline.registry.ledger import LEDGER, PROMOTIONS, TAG, Entry, read, same_model
from pipeline.registry.recovery import rollback
from pipeline.registry.versions import CHAMPION, PREVIOUS, Version, alias_numbers, all_versions

log = logging.getLogger(__name__)

SHOWN = "time", "verdict", "version", "previous", "model", "criterion", "actor", "reason"


# ---- commands


def show(entries: Sequence[Entry]) -> str:
    """The entries as a table, the newest last."""
    rows = [SHOWN, *map(_cells, entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(SHOWN) - 1)] + [0]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cells(entry: Entry) -> tuple[str, ...]:
    criterion, figure = next(iter(entry.figures.items()), ("", {}))
    interval = (
        f" [{figure['low']:.3f}, {figure['high']:.3f}]" if figure.get("low") is not None else ""
    )
    judged = (
        f"{criterion} {figure['value']:.3f}{interval}" if figure.get("value") is not None else ""
    )
    before = entry.previous or "-"
    names = (
        entry.time,
        entry.verdict,
        entry.version,
        before,
        entry.model_hash[:8],
        judged,
        entry.actor,
    )
    return (*names, entry.reason)


def flaws(
    entries: Sequence[Entry],
    versions: Mapping[str, Version],
    held: Mapping[str, str],
    cached: set[str],
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
    lines = [entry for entry in entries if same_model(entry, last)]
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


def verify(entries: Sequence[Entry]) -> None:
    """Says where things do not agree. Raises: PipelineError, if they do not."""
    for note in branches(entries):
        log.warning("ledger: %s", note)
    md5s = {md5 for entry in entries for md5 in entry.files.values()}
    found = list(flaws(entries, all_versions(), alias_numbers(), cached_md5s(md5s)))
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
    commands.add_parser(
        "follow", help="promotes the last line's version, or rebuilds it, where need be"
    )
    arguments = parser.parse_args(argv)

    match arguments.command:
        case "show":
            print(show(read()))
        case "verify":
            verify(read())
        case "rollback":
            with stage_lock():
                entry = rollback(arguments.to, arguments.reason)
            log.info("ledger: version %s is the champion again", entry.version)
        case "restore":
            with stage_lock():
                recovery.restore(read())
        case "follow":
            with stage_lock():
                log.info("ledger: %s", recovery.follow())
