"""Shows and checks the ledger, rolls the champion back, or rebuilds the registry from the ledger.

The ledger, `ledger.jsonl`, has one line for each promotion, rollback and end of a champion.
"""

import itertools
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.core.cli import argument_parser, stage_lock
from pipeline.core.dvc_cache import cached_md5s
from pipeline.core.errors import PipelineError, clean_line
from pipeline.core.files import atomic_path
from pipeline.registry import recovery, restore
from pipeline.registry.ledger import (
    LEDGER,
    PROMOTION_VERDICTS,
    LedgerEntry,
    champion_entry,
    changed_lines,
    line_problem,
    missing_line,
    read_entries,
    record_problem,
)
from pipeline.registry.versions import (
    CHAMPION,
    PREVIOUS,
    RegistryDamagedError,
    Version,
    alias_numbers,
    all_versions,
    check_version,
    downloaded_champion,
)

log = logging.getLogger(__name__)

EXAMPLE = 'python -m pipeline ledger rollback --to 3 --reason "loses receipts"'
TABLE_COLUMNS = (
    *("time", "verdict", "version", "previous", "model", "criterion", "actor", "reason"),
)


# ---- show


def entries_table(entries: Sequence[LedgerEntry]) -> str:
    """The entries as a table with TABLE_COLUMNS, the newest last."""
    rows = [TABLE_COLUMNS, *map(_table_row, entries)]
    *columns, _ = zip(*rows, strict=True)  # nothing stands right of the last column
    widths = [*(max(map(len, column)) for column in columns), 0]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _table_row(entry: LedgerEntry) -> tuple[str, ...]:
    criterion = ""
    if entry.figures:
        name, figure = next(iter(entry.figures.items()))
        criterion = _figure_text(name, figure)
    cells = (
        entry.time,
        entry.verdict,
        entry.version,
        entry.previous or "-",
        entry.model_hash[:8],
        criterion,
        entry.actor,
        entry.reason,
    )
    return tuple(map(clean_line, cells))


def _figure_text(name: str, figure: Mapping[str, float]) -> str:
    if figure.get("value") is None:
        return ""
    text = f"{name} {figure['value']:.3f}"
    if figure.get("low") is None:
        return text
    return f"{text} [{figure['low']:.3f}, {figure['high']:.3f}]"


# ---- verify


def verify_ledger(entries: Sequence[LedgerEntry]) -> None:
    """Compares the ledger with the registry, with the files of its versions and with DVC's cache,
    and warns of two promotions on parallel branches.

    Raises: PipelineError, one line a contradiction.
    """
    for note in parallel_promotions(entries):
        log.warning("ledger: %s", note)
    md5s = {md5 for entry in entries for md5 in entry.files.values()}
    registered = all_versions()
    problems = [
        *changed_lines(entries),
        *contradictions(entries, registered, alias_numbers(), cached_md5s(md5s)),
        *damaged_versions(entries, registered),
    ]
    if problems:
        raise PipelineError(*(f"{LEDGER}: {problem}" for problem in problems))
    log.info("ledger: %d entries agree with the registry and with DVC's cache", len(entries))


def contradictions(
    entries: Sequence[LedgerEntry],
    versions: Mapping[str, Version],
    aliases: Mapping[str, str],
    cached: set[str],
) -> Iterator[str]:
    """A line for each point where ledger, registry and DVC's cache disagree, with the way out.

    Args:
        versions: of the registry, by number.
        aliases: version number by alias.
        cached: the MD5s of the ledger whose files are in DVC's cache.
    """
    for entry in {entry.version: entry for entry in entries}.values():
        yield from _version_contradictions(entry, versions.get(entry.version), cached)
    champion = versions.get(aliases.get(CHAMPION, ""))
    if champion and (problem := record_problem(champion)):
        yield (
            f"champion: version {champion.number} in the registry, but {problem}; `follow` gives "
            "the alias to the version of the last merged line"
        )
    for number, version in versions.items():
        record = LedgerEntry.from_version(version)
        if record and record.verdict in PROMOTION_VERDICTS:
            if problem := line_problem(record, entries):
                yield problem
            is_in_service = number in (aliases.get(CHAMPION), aliases.get(PREVIOUS))
            if is_in_service and (problem := missing_line(record, entries)):
                yield problem
    last = champion_entry(entries)
    if entries and aliases.get(CHAMPION) != (last.version if last else None):
        yield (
            f"champion: version {aliases.get(CHAMPION, 'none')} in the registry, "
            f"{last.version if last else 'none'} here; `git pull`, "
            + ("or `rollback --to` the one that shall serve" if last else "then `follow`")
        )


def damaged_versions(
    entries: Sequence[LedgerEntry], versions: Mapping[str, Version]
) -> Iterator[str]:
    """A line for each version of the ledger whose files in MLflow are not those of its line."""
    for number, entry in {entry.version: entry for entry in entries}.items():
        try:
            if number in versions:
                check_version(number, entry.files)
        except RegistryDamagedError as error:
            yield str(error)


def _version_contradictions(
    entry: LedgerEntry, version: Version | None, cached: set[str]
) -> Iterator[str]:
    if version is None:
        yield (
            f"version {entry.version}: not in the registry; `restore` rebuilds it, or `restore "
            "--anew` if it was deleted, as MLflow does not give its number again"
        )
    elif version.tags.get("model_hash") != entry.model_hash:
        yield (
            f"version {entry.version}: another model in the registry; two registries wrote this "
            "ledger: keep the lines of the one that serves"
        )
    missing = sorted(name for name, md5 in entry.files.items() if md5 not in cached)
    if missing:
        yield (
            f"version {entry.version}: not in DVC's cache: {', '.join(missing)}; `dvc fetch "
            "--all-commits` downloads it if it was pushed to the remote"
        )


def parallel_promotions(entries: Sequence[LedgerEntry]) -> Iterator[str]:
    """A line for each entry whose `previous` is not the champion before it."""
    for before, entry in itertools.pairwise(entries):
        champion = champion_entry([before])
        if entry.previous != (champion.version if champion else None):
            yield (
                f"version {entry.version} replaced version {entry.previous} when "
                f"{champion.version if champion else 'none'} was the champion: two branches or "
                "registries promoted, and the later one serves; to undo it, "
                f"`rollback --to {before.version}`"
            )


# ---- export


def export_champion(folder: Path) -> str:
    """Copies the champion's MLflow model to a new folder, and returns its number.

    Raises: PipelineError.
    """
    if folder.exists():
        raise PipelineError(f"{folder}: exists already; name a new folder")
    with downloaded_champion() as (source, number), atomic_path(folder) as temporary:
        shutil.copytree(source, temporary)
    return number


# ---- the command


def main(argv: list[str] | None = None) -> None:
    """Runs `python -m pipeline ledger`."""
    parser = argument_parser(__doc__, EXAMPLE)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("show", help="print the entries as a table")
    commands.add_parser("verify", help="compare the ledger with the registry and DVC's cache")
    back = commands.add_parser("rollback", help="make an earlier champion the champion again")
    back.add_argument("--to", metavar="N", help="a version (default: the champion before)")
    back.add_argument("--reason", type=clean_line, required=True, help="why; the ledger keeps it")
    rebuild = commands.add_parser("restore", help="rebuild versions and aliases in the registry")
    rebuild.add_argument(
        "--anew", action="store_true", help="rename the registered model first, and begin again"
    )
    follow = commands.add_parser("follow", help="promote the version of the last merged line")
    follow.add_argument(
        "--force", action="store_true", help="even if the version's own record says otherwise"
    )
    export = commands.add_parser("export", help="copy the champion's MLflow model, once checked")
    export.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder, as for Spark")
    arguments = parser.parse_args(argv)

    match arguments.command:
        case "show":
            print(entries_table(read_entries()))
        case "verify":
            verify_ledger(read_entries())
        case "rollback":
            with stage_lock():
                entry = recovery.rollback(arguments.to, arguments.reason)
            log.info(
                "ledger: version %s is the champion again; a `make serve` that runs follows "
                "within seconds",
                entry.version,
            )
        case "restore":
            with stage_lock():
                restore.restore_registry(read_entries(), anew=arguments.anew)
        case "follow":
            with stage_lock():
                log.info("ledger: %s", recovery.follow_ledger(arguments.force))
        case "export":
            number = export_champion(arguments.folder)
            log.info("ledger: %s holds version %s", arguments.folder, number)
