"""Opens a page to review messages: quarantine, mistakes, disputed labels, doubtful verdicts.

It answers on this machine alone, until it is interrupted. Each decision is saved at once: in
data/reviewed.csv, as feedback that ingest reads, and in data/review/decisions.csv. With --export it
writes the open messages as tasks of Label Studio instead, and with --import it takes over what was
decided there.
"""

import logging
import signal
from contextlib import suppress
from pathlib import Path

from pipeline.core.cli import argument_parser
from pipeline.core.errors import PipelineError
from pipeline.serving.http.connections import listening_socket, uvicorn_server
from pipeline.serving.http.feedback_store import (
    REVIEWER_FOLDER,
    readable_feedback_store,
    unread_feedback_remedy,
)
from pipeline.serving.review.app import ReviewParts, build_review_app
from pipeline.serving.review.background_champion import BackgroundChampion
from pipeline.serving.review.label_studio import Annotation, read_annotations, write_tasks
from pipeline.serving.review.queues import QUEUES, QueueReader, ReviewItem
from pipeline.serving.review.review_desk import ReviewDesk

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline review-page --port 5003"
OPTION = "review-page"  # in the lines about feedback


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--port", type=int, default=5003, help="default: 5003")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--export", type=Path, metavar="FILE", help="write open messages as tasks")
    choice.add_argument(
        "--import", type=Path, metavar="FILE", dest="annotated", help="read Label Studio's JSON"
    )
    arguments = parser.parse_args(argv)
    queues = QueueReader()
    desk = ReviewDesk(readable_feedback_store(REVIEWER_FOLDER, OPTION))
    if arguments.export:
        export_open(queues, desk, arguments.export)
    elif arguments.annotated:
        import_annotations(queues, desk, arguments.annotated)
    else:
        _serve(queues, desk, arguments.port)


def _serve(queues: QueueReader, desk: ReviewDesk, port: int) -> None:
    for name in QUEUES:  # a damaged file is an error here, and the first page is fast
        queues.items(name)
    desk.standing()
    remedy = unread_feedback_remedy()
    note = remedy and f"Corrected labels are saved, but nothing reads them yet: {remedy}."
    app = build_review_app(ReviewParts(queues, desk, BackgroundChampion(), note))
    with listening_socket(port, example=EXAMPLE) as listening:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops as Ctrl-C does
        log.info("review-page: open http://{}:{}/".format(*listening.getsockname()))
        with suppress(KeyboardInterrupt):  # from uvicorn, once it has stopped
            uvicorn_server(app).run(sockets=[listening])


def export_open(queues: QueueReader, desk: ReviewDesk, path: Path) -> None:
    """Writes all messages that nobody decided about. Raises: PipelineError."""
    standing = desk.standing()
    items = [
        (name, item)
        for name in QUEUES
        for item in queues.items(name).values()
        if item.message_id not in standing
    ]
    log.info("review-page: %s tasks in %s", f"{write_tasks(path, items):,}", path)


def import_annotations(queues: QueueReader, desk: ReviewDesk, path: Path) -> None:
    """Decides as the annotations of a file say. Raises: PipelineError, before the first one."""
    annotations = read_annotations(path)
    found = [(one, _item_of(queues, one, path)) for one in annotations]
    for annotation, item in found:
        if item:
            desk.decide(item, annotation.label, annotation.reviewer)
    left = sum(item is None for _, item in found)
    count = f"{len(found) - left:,}"
    log.info("review-page: %s decisions; %s of messages that no queue has now", count, f"{left:,}")


def _item_of(queues: QueueReader, annotation: Annotation, path: Path) -> ReviewItem | None:
    if annotation.queue not in QUEUES:
        raise PipelineError(f"{path}: a task is of no queue; choose from {', '.join(QUEUES)}")
    item = queues.items(annotation.queue).get(annotation.message_id)
    if item and item.text != annotation.text:
        problem = f"the text of {annotation.message_id} is another one"
        raise PipelineError(f"{path}: {problem}; export the tasks again")
    return item
