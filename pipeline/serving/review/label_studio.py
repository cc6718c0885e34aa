"""Writes messages as tasks of Label Studio, and reads what people annotated there.

Source: https://labelstud.io/guide/tasks and https://labelstud.io/guide/export
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_json, write_json
from pipeline.serving.review.queues import ReviewItem
from pipeline.serving.review.review_desk import LABELS_OF_REVIEW, REVIEWER_NAME

EXPORT_REMEDY = "export it from Label Studio as JSON (not JSON-MIN)"


class Annotation(NamedTuple):
    """A label that a person gave in Label Studio."""

    queue: str
    message_id: str
    text: str
    label: str  # of LABELS_OF_REVIEW
    reviewer: str


def write_tasks(path: Path, items: Iterable[tuple[str, ReviewItem]]) -> int:
    """Writes messages as tasks, and returns their number. Raises: PipelineError.

    Args:
        items: each with the name of its queue.
    """
    tasks = [
        {
            "data": {"text": item.text, "source": item.source, "reason": item.reason},
            "meta": {"id": item.message_id, "queue": queue},
        }
        for queue, item in items
        if item.text and item.text.strip()  # no text, no label
    ]
    write_json(path, tasks)
    return len(tasks)


def read_annotations(path: Path) -> list[Annotation]:
    """The annotations of all tasks, in their order, without cancelled ones.

    Raises: PipelineError, which names the task.
    """
    tasks = read_json(path, EXPORT_REMEDY)
    if not isinstance(tasks, list):
        raise PipelineError(f"{path}: not a list of tasks; {EXPORT_REMEDY}")
    return [one for number, task in enumerate(tasks, 1) for one in _of_task(path, number, task)]


def _of_task(path: Path, number: int, task: Any) -> Iterator[Annotation]:
    match task:
        case {
            "data": {"text": str(text)},
            "meta": {"id": str(message_id), "queue": str(queue)},
            "annotations": [*annotations],
        }:
            pass
        case _:
            problem = f"task {number} has not text, id, queue and annotations"
            raise PipelineError(f"{path}: {problem}; {EXPORT_REMEDY}")
    for annotation in annotations:
        match annotation:
            case {"was_cancelled": True} | {"result": []}:
                continue
            case {"result": [{"value": {"choices": [label]}}]} if label in LABELS_OF_REVIEW:
                reviewer = _reviewer(annotation.get("completed_by"))
                if not REVIEWER_NAME.fullmatch(reviewer):
                    raise PipelineError(f"{path}: completed_by of task {number} is not a name")
                yield Annotation(queue, message_id, text, label, reviewer)
            case _:
                problem = f"an annotation of task {number} is not one choice of spam or ham"
                raise PipelineError(f"{path}: {problem}; correct it in Label Studio")


def _reviewer(completed_by: object) -> str:
    match completed_by:
        case {"email": str(email)}:
            return email
        case int():
            return f"Label Studio user {completed_by}"
    return "Label Studio"
