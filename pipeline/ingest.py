"""Reads every source into one table of messages, without checking them.

The messages of data/inbox/calibration/ go into a table of their own: they only fit thresholds.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.core.cli import parse_paths, project_root, run_stage
from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params
from pipeline.core.reports import Figure, write_report
from pipeline.core.schemas import MESSAGES
from pipeline.core.tables import write_parquet
from pipeline.sources.catalogue import Params, Places, read_calibration, read_sources
from pipeline.sources.fetch import DOWNLOADS_FOLDER
from pipeline.sources.inbox_copies import InboxPlaces, read_copies

log = logging.getLogger(__name__)

INPUTS = ("sources-lock", "manifest", "copies", "written")


@dataclass(frozen=True)
class RowCounts:
    """Number of rows by label (ham, spam or other) and by source."""

    labels: Counter[str] = field(default_factory=lambda: Counter(ham=0, spam=0, other=0))
    sources: Counter[str] = field(default_factory=Counter)

    def count(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The same batches, counted."""
        for batch in batches:
            labels = batch.column("label").to_pylist()
            self.labels.update(label if label in self.labels else "other" for label in labels)
            self.sources.update(batch.column("source").to_pylist())
            yield batch


def main(argv: list[str] | None = None) -> None:
    paths = parse_paths(argv, __doc__, *INPUTS, "messages", "calibration", "report")
    params = read_params(Params, "ingest")
    inbox = read_copies(InboxPlaces(manifest=paths.manifest, copies=paths.copies))
    downloads = project_root() / DOWNLOADS_FOLDER
    places = Places(paths.sources_lock, inbox, paths.written, downloads)

    counts = RowCounts()
    skipped = dict[str, str]()  # error by source
    batches = counts.count(read_sources(params, places, skipped))
    rows = write_parquet(paths.messages, _require_rows(batches, skipped, places), MESSAGES)

    calibration = RowCounts()
    write_parquet(paths.calibration, calibration.count(read_calibration(params, places)), MESSAGES)

    figures = {
        **{f"label.{label}": Figure(n) for label, n in counts.labels.items()},
        **{f"source.{source}": Figure(n) for source, n in counts.sources.items()},
        **{f"calibration.{source}": Figure(n) for source, n in calibration.sources.items()},
        **{f"broken.{source}": Figure(1) for source in skipped},
    }
    verdict = f"{rows:,} rows from {', '.join(params.sources)}"
    if skipped:
        verdict += f"; left out, as they cannot be read: {', '.join(skipped)}"
    write_report(paths.report, rows, figures, verdict)
    log.info("ingest: %s", verdict)


def _require_rows(
    batches: Iterator[pa.RecordBatch], skipped: dict[str, str], places: Places
) -> Iterator[pa.RecordBatch]:
    """The same batches. Raises: PipelineError if there are none because no file can be read."""
    is_empty = True
    for batch in batches:
        is_empty = False
        yield batch
    if is_empty and skipped:
        raise PipelineError(
            f"{places.inbox.place}: no file can be read: {'; '.join(skipped.values())}"
        )


if __name__ == "__main__":
    run_stage(main)
