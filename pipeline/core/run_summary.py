"""The table at the end of `dvc repro`: seconds, rows and result of each stage."""

import os
import time
from pathlib import Path

import pipeline
from pipeline.core.files import read_json, write_json
from pipeline.core.params import DVC_FILE, read_yaml
from pipeline.core.reports import read_report

STAGE_SECONDS = Path(".checkpoints") / "seconds.json"  # of the stages that ran, by name
FIRST_STAGE = "collect"  # runs in every `dvc repro`
UNCHANGED = "unchanged"


def process_seconds() -> float:
    """Seconds since this process started, with the imports of its libraries."""
    return time.perf_counter() - pipeline.START


def record_seconds() -> None:
    """Notes the seconds of DVC's current stage; the first one forgets those of the last run."""
    stage = os.environ.get("DVC_STAGE")
    if stage is None:
        return
    earlier = {} if stage == FIRST_STAGE or not STAGE_SECONDS.exists() else read_json(STAGE_SECONDS)
    write_json(STAGE_SECONDS, {**earlier, stage: round(process_seconds(), 1)})


def summary_lines(reports: Path, next_step: str) -> list[str]:
    """A line for each stage of dvc.yaml and for what comes next; none outside of `dvc repro`.

    Args:
        reports: the folder with a report of each stage that writes one.
        next_step: the last line.
    """
    if "DVC_STAGE" not in os.environ:
        return []
    record_seconds()
    seconds = read_json(STAGE_SECONDS)
    lines = [_line("stage", "seconds", "rows", "result")]
    for stage in read_yaml(DVC_FILE)["stages"]:
        file = reports / f"{stage}.json"
        duration = seconds.get(stage, UNCHANGED)
        if file.exists():
            report = read_report(file)
            lines.append(_line(stage, duration, f"{report['rows']:,}", report["verdict"]))
        else:
            lines.append(_line(stage, duration))
    return [*lines, _line("all", round(sum(seconds.values()), 1)), next_step]


def _line(stage: str, seconds: float | str, rows: str = "", result: str = "") -> str:
    return f"{stage:<10} {seconds:>9} {rows:>10}  {result}".rstrip()
