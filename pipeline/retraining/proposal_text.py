"""Describes a retraining to a person: figures and plots before and after, as Markdown and PNG."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.core.dvc_cache import run_dvc
from pipeline.core.git import try_git
from pipeline.core.params import DVC_FILE, read_yaml
from pipeline.core.reports import read_report
from pipeline.registry.ledger import LedgerEntry
from pipeline.retraining.retrain import REPORT
from pipeline.tracking import plots

IMAGE_FOLDER = Path("reports/retrain")
PROPOSAL_PLOTS = ("precision_recall", "roc", "calibration")  # in `plots:` of dvc.yaml


def write_images() -> None:
    """Draws each of PROPOSAL_PLOTS, before (last commit) and now, as PNG into IMAGE_FOLDER."""
    entries = {
        name: entry
        for definition in read_yaml(DVC_FILE)["plots"]
        for name, entry in definition.items()
        if name in PROPOSAL_PLOTS
    }
    with tempfile.TemporaryDirectory() as folder:
        definitions = [
            {name: _before_and_now(entry, Path(folder) / name)} for name, entry in entries.items()
        ]
        images = plots.render_plots(definitions, scale=1)
    IMAGE_FOLDER.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        (IMAGE_FOLDER / f"{name}.png").write_bytes(image)


def _before_and_now(entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The plot of our model's table alone, as in the last commit and as it is now."""
    table, column = next(iter(entry["y"].items()))
    contents = {"before": try_git("show", f"HEAD:{table}"), "now": Path(table).read_text("utf-8")}
    folder.mkdir()
    copies = []
    for name, content in contents.items():
        if content is not None:
            copies.append(folder / f"{name}.csv")
            copies[-1].write_text(content, encoding="utf-8")
    x = {str(copy): entry["x"][table] for copy in copies}
    y = {str(copy): column for copy in copies}
    return {**entry, "x": x, "y": y}


def body_text(verdict: str, winner: LedgerEntry | None, champion: LedgerEntry | None) -> str:
    """The text of the commit and of the pull request, without images.

    Args:
        winner: the new model's entry, if it wins.
        champion: the last entry of the ledger, whose params are compared with today's.
    """
    if winner:
        consequence = f"Merge this to make version {winner.version} the champion, or close it."
    else:
        consequence = "The champion stays. There is nothing to merge."
    parts = [
        f"**{verdict}**",
        read_report(REPORT)["verdict"],
        consequence,
        diff_table("metrics", "HEAD"),
        diff_table("params", champion.commit if champion else "HEAD"),
    ]
    return "\n\n".join(filter(None, parts))


def diff_table(kind: str, since: str) -> str:
    """What `dvc metrics diff` or `dvc params diff` shows since a commit, in Markdown, or empty."""
    output = run_dvc(kind, "diff", "--md", "--no-path", since).stdout
    head, *rows = output.strip().splitlines() or [""]
    if len(rows) < 2:  # one row below the header is its ruler
        return ""
    head = re.sub(r"[^|]+\| *workspace ", " before | now ", head)
    return "\n".join([head, *rows])
