"""Copies the files of data/inbox/, which others write to, and lists them in a manifest."""

import logging

from pipeline.core.cli import parse_paths, run_stage
from pipeline.core.params import read_params
from pipeline.sources.catalogue import Params
from pipeline.sources.inbox_copies import InboxPlaces, collect_files

log = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    paths = parse_paths(argv, __doc__, "inbox", "manifest", "copies")
    params = read_params(Params, "ingest")

    skipped = list[str]()
    places = InboxPlaces(paths.inbox, paths.manifest, paths.copies)
    copies = collect_files(places, skipped if params.on_broken_file == "quarantine" else None)

    for error in skipped:
        log.warning("warning: left out: %s", error)
    size = sum(file.size for file in copies.files.values())
    log.info("collect: %s files, %s bytes", f"{len(copies.files):,}", f"{size:,}")


if __name__ == "__main__":
    run_stage(main)
