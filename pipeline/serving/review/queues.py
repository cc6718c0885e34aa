"""The queues of messages that a person should look at, and what fills each of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.core.schemas import DISPUTED_LABELS, MISTAKES, QUARANTINE
from pipeline.core.tables import read_parquet
from pipeline.monitoring.predictions import (
    PREDICTIONS_FOLDER,
    UNNAMED_SOURCE,
    prediction_files,
    read_predictions,
)
from pipeline.serving.verdict_text import percent

COPY = "text_is_not_a_copy"  # in EXPECTATIONS: the message counts once, so nothing is to decide
OVERRULED = "label_is_not_overruled"  # in EXPECTATIONS: other feedback counts, not the row's label
SERVED_ITEMS = 1_000  # of a queue of served messages
REVIEW_TABLES = Path("data/review")
LOGGED_COLUMNS = ["text_id", "text", "source", "model_version", "label", "probability", "threshold"]


@dataclass(frozen=True)
class ReviewItem:
    """A message in a queue.

    Attributes:
        label: that the training data gives it; None for a served message, or if it does not count.
        reason: why it is here, in a few words that other messages share.
        detail: the same, with what holds for this message alone.
        rows: number of rows of the queue with this text.
    """

    message_id: str
    text: str | None
    label: str | None
    source: str
    reason: str
    detail: str = ""
    is_served: bool = False
    rows: int = 1


@dataclass(frozen=True)
class Queue:
    """What a queue is.

    Attributes:
        title: of one or two words.
        remedy: the command that fills it.
        read: the items in its file or folder, the most urgent first.
    """

    title: str
    place: Path
    remedy: str
    read: Callable[[Path], Iterable[ReviewItem]]


# ---- the sources


def _quarantine(path: Path) -> list[ReviewItem]:
    """The rarest reasons first, without rows that are only copies."""
    rows = read_parquet(path, QUARANTINE.names).to_pylist()
    items = []
    for row in rows:
        names = row["reasons"]
        if names == COPY:
            continue
        label = None if OVERRULED in names else row["label"]
        detail = f"Breaks the rule: {names.replace('_', ' ')}."
        if label != row["label"]:
            detail += f" Later feedback overruled its label, {row['label']}."
        items.append(_item(row, names.replace("_", " "), detail, label))
    counts: dict[str, int] = {}
    for item in items:
        counts[item.reason] = counts.get(item.reason, 0) + 1
    return sorted(items, key=lambda item: (counts[item.reason], item.reason))


def _mistakes(path: Path) -> list[ReviewItem]:
    rows = read_parquet(path, MISTAKES.names).to_pylist()
    return [
        _item(
            row,
            "spam missed" if row["label"] == "spam" else "ham taken for spam",
            f"The model gives spam a probability of {percent(row['probability'])} %.",
            row["label"],
        )
        for row in rows
        if row["wrong"]
    ]


def _disputed(path: Path) -> list[ReviewItem]:
    rows = read_parquet(path, DISPUTED_LABELS.names).to_pylist()
    return [
        _item(
            row,
            f"labelled {row['label']}, looks like {row['suggested']}",
            f"A model without this message gives {row['label']} a probability of "
            f"{percent(row['score'])} %.",
            row["label"],
        )
        for row in rows
    ]


def _item(row: dict[str, Any], reason: str, detail: str, label: str | None) -> ReviewItem:
    return ReviewItem(row["message_id"], row["text"], label, row["source"], reason, detail)


def _unsure(folder: Path) -> list[ReviewItem]:
    """The latest answer to each text, if the model was not confident; the nearest first."""
    served = _served_rows(folder, ["confident"])
    served = served.drop_duplicates("text_id", keep="last")
    served = served[~served["confident"].astype(bool)]
    distance = (served["probability"] - served["threshold"]).abs()
    rows = served.loc[distance.sort_values(kind="stable").index].head(SERVED_ITEMS)
    return [
        _served_item(
            row,
            f"the model says {row['label']}",
            f"Version {row['model_version']} gives spam {percent(row['probability'])} %; "
            f"its threshold is {percent(row['threshold'])} %.",
        )
        for row in rows.to_dict("records")
    ]


def _disagreements(folder: Path) -> list[ReviewItem]:
    """The texts to which two versions give different labels; the latest first."""
    served = _served_rows(folder).drop_duplicates(["text_id", "model_version"], keep="last")
    labels = served.groupby("text_id")["label"].transform("nunique")
    disputed = served[labels > 1].sort_values("model_version")
    items = {
        rows["text_id"].iloc[0]: _served_item(
            rows.iloc[0].to_dict(),
            ", ".join(_version_label(row) for row in rows.to_dict("records")),
            "; ".join(
                f"{_version_label(row)} ({percent(row['probability'])} %)"
                for row in rows.to_dict("records")
            )
            + ".",
        )
        for _, rows in disputed.groupby("text_id")
    }
    latest = dict.fromkeys(reversed(served["text_id"].tolist()))
    return [items[one] for one in latest if one in items][:SERVED_ITEMS]


def _version_label(row: dict[str, Any]) -> str:
    return f"version {row['model_version']} says {row['label']}"


def _served_rows(folder: Path, columns: Iterable[str] = ()) -> Any:
    """The rows of the log that have a text, the latest last."""
    served = read_predictions(folder, [*LOGGED_COLUMNS, *columns])
    return served[served["text"].notna()].reset_index(drop=True)


def _served_item(row: dict[str, Any], reason: str, detail: str) -> ReviewItem:
    source = row["source"] if isinstance(row["source"], str) else UNNAMED_SOURCE
    return ReviewItem(row["text_id"], row["text"], None, source, reason, detail, is_served=True)


QUEUES = {
    "quarantine": Queue(
        "Quarantine", REVIEW_TABLES / "quarantine.parquet", "dvc repro", _quarantine
    ),
    "mistakes": Queue("Mistakes", REVIEW_TABLES / "mistakes.parquet", "dvc repro", _mistakes),
    "disputed": Queue(
        "Disputed labels",
        REVIEW_TABLES / "label_noise.parquet",
        "python -m pipeline label-noise data/validated/messages.parquet "
        "data/vectorized/splits.parquet data/review/label_noise.parquet",
        _disputed,
    ),
    "unsure": Queue(
        "Least confident",
        PREDICTIONS_FOLDER,
        "python -m pipeline serve --log data/predictions --keep-text",
        _unsure,
    ),
    "shadow": Queue(
        "Shadow disagrees",
        PREDICTIONS_FOLDER,
        "python -m pipeline serve --shadow challenger --log data/predictions --keep-text",
        _disagreements,
    ),
}


# ---- the items


class QueueReader:
    """Reads the queues below a folder, each again when its files change."""

    def __init__(self, root: Path = Path()) -> None:
        self._root = root
        self._read: dict[str, tuple[Any, dict[str, ReviewItem]]] = {}  # files and items, by queue

    def items(self, name: str) -> dict[str, ReviewItem]:
        """The items of a queue by message_id; none if nothing has filled it yet.

        Args:
            name: of QUEUES.

        Raises: PipelineError.
        """
        queue = QUEUES[name]
        place = self._root / queue.place
        paths = [*prediction_files(place), *([place] if place.is_file() else [])]
        files = [(path, path.stat().st_mtime_ns) for path in paths]
        if self._read.get(name, (None,))[0] != files:
            self._read[name] = files, _joined(queue.read(place) if files else ())
        return self._read[name][1]


def _joined(items: Iterable[ReviewItem]) -> dict[str, ReviewItem]:
    """One item for each message. If its rows have several labels, it has none."""
    joined: dict[str, ReviewItem] = {}
    for item in items:
        first = joined.setdefault(item.message_id, item)
        if first is not item:
            label = first.label if first.label == item.label else None
            joined[item.message_id] = replace(first, label=label, rows=first.rows + 1)
    return joined
