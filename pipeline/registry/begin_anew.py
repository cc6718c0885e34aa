"""Ends the service of the champion, for own data after the demo or another task.

The next `make repro` then promotes the first model that meets its criteria, without a comparison.
Nothing is deleted: runs, versions and the lines of the ledger stay.
"""

import logging
from dataclasses import replace

from pipeline.core.cli import argument_parser, stage_lock
from pipeline.core.errors import PipelineError
from pipeline.registry import ledger, versions
from pipeline.registry.ledger import BEGIN_ANEW, ENTRY_TAG, LEDGER, LedgerEntry
from pipeline.registry.versions import Version

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline begin-anew && make repro"


def begin_anew() -> str:
    """Takes all aliases away, adds a line to the ledger, and returns the champion's number.

    It can be repeated after a kill at any point.

    Raises: PipelineError if there is no champion.
    """
    number = versions.champion_number()
    ledger.finish_promotion()  # of a call that was killed, too
    champion = versions.find_champion()
    if champion:
        log.info(
            "begin-anew: version %s ends its service; the next `make repro` promotes the first "
            "model that meets its criteria; runs, versions and lines stay",
            champion.number,
        )
        versions.set_tags(champion.number, {ENTRY_TAG: _new_entry(champion).json_line()})
        ledger.complete_begin_anew(ledger.read_entries())
    if number is None:
        raise PipelineError(
            "begin-anew: there is no champion, so nothing ends; `make repro` promotes the first "
            "model that meets its criteria"
        )
    return number


def _new_entry(champion: Version) -> LedgerEntry:
    return replace(
        ledger.check_champion(champion, ledger.read_entries()),
        time=ledger.next_entry_time(),
        verdict=BEGIN_ANEW,
        previous=champion.number,
        reason="the first model that meets the criteria is the next champion",
        actor=ledger.current_actor(),
    )


def main(argv: list[str] | None = None) -> None:
    """Runs `python -m pipeline begin-anew`."""
    argument_parser(__doc__, EXAMPLE).parse_args(argv)
    with stage_lock():
        number = begin_anew()
    log.info(
        "begin-anew: done: commit %s; a `make serve` that runs goes on until there is another "
        "champion; `python -m pipeline ledger rollback --to %s --reason ...` takes version %s back "
        "into service",
        LEDGER,
        number,
        number,
    )
