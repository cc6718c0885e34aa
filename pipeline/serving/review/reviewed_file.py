"""Writes the decisions of the review page into `data/reviewed.csv`."""

from pathlib import Path

from pipeline.core.errors import PipelineError
from pipeline.core.hashing import SHORT_ID_DIGITS
from pipeline.core.tables import read_csv, write_csv

REVIEWED_FILE = Path("data/reviewed.csv")
PAGE_MARK = "review page: "  # begins `why` of the rows that the page wrote, and may remove


def set_reviewed(path: Path, message_id: str, verdict: str | None, why: str = "") -> None:
    """Makes a verdict the page's only one about a message; None: the page says nothing about it.

    The file is read anew, and rows that a person wrote stay. An unchanged file is not written.

    Args:
        verdict: of REVIEW_VERDICTS.

    Raises: PipelineError, also if a person wrote another verdict.
    """
    table = read_csv(path, f"restore it with `git checkout {path}`")
    before = [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]
    columns = list(dict.fromkeys([*table, "message_id", "verdict", "why"]))
    names = (message_id, message_id[:SHORT_ID_DIGITS])
    about = [row for row in before if row.get("message_id") in names]
    ours = [row for row in about if row.get("why", "").startswith(PAGE_MARK)]
    by_hand = {row["verdict"] for row in about if row not in ours}
    if verdict and by_hand - {verdict}:
        problem = f"has a line with {', '.join(sorted(by_hand))} for this message"
        raise PipelineError(f"{path}: {problem} that the page did not write; remove it first")
    rows = [row for row in before if row not in ours]
    if verdict and not by_hand:
        new = {"message_id": message_id, "verdict": verdict, "why": PAGE_MARK + why}
        rows.append(ours[0] if ours and ours[0]["verdict"] == verdict else new)
    if sorted(map(str, rows)) != sorted(map(str, before)):
        write_csv(path, columns, [[row.get(name, "") for name in columns] for row in rows])
