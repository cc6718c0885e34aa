"""Saves the decisions of reviewers, one at a time, whoever else decides at the same time."""

import re
from pathlib import Path

from filelock import FileLock

from pipeline.core.dates import current_time
from pipeline.core.errors import PipelineError, convert_os_errors
from pipeline.core.params import choose
from pipeline.serving.http.feedback_store import FeedbackStore, LabelledText
from pipeline.serving.review.decision_log import (
    DECISION_LOG,
    DECISIONS,
    UNDO,
    LoggedDecision,
    Standing,
    add_decision,
    append_decision,
    read_decisions,
)
from pipeline.serving.review.queues import ReviewItem
from pipeline.serving.review.reviewed_file import REVIEWED_FILE, set_reviewed

LABELS_OF_REVIEW = ("spam", "ham")
REVIEWER_NAME = re.compile(r"\w[\w .@+'-]{0,79}")


class ReviewDesk:
    """Decides about messages: in data/reviewed.csv, as feedback, and in the log.

    The log comes last: what is in it has taken effect, and a decision that a kill cut off can be
    repeated.

    Args:
        feedback: where corrected labels go.
    """

    def __init__(
        self, feedback: FeedbackStore, reviewed: Path = REVIEWED_FILE, log: Path = DECISION_LOG
    ) -> None:
        self._feedback = feedback
        self._reviewed = reviewed
        self._log = log
        self._read: tuple[object, dict[str, Standing]] = (None, {})  # the log when it was read

    def standing(self) -> dict[str, Standing]:
        """The decisions that are not undone, by message_id. Raises: PipelineError."""
        if not self._log.exists():
            return {}
        state = self._log.stat()
        version = (state.st_mtime_ns, state.st_size)
        if self._read[0] != version:
            self._read = version, read_decisions(self._log)
        return self._read[1]

    def decide(self, item: ReviewItem, decision: str, reviewer: str) -> Standing:
        """Saves a decision, or undoes the reviewer's last one about the message.

        Args:
            decision: of DECISIONS.

        Returns: all decisions about the message that are not undone.

        Raises: PipelineError, and then the log is as it was.
        """
        choose(DECISIONS, decision, "decision")
        if not REVIEWER_NAME.fullmatch(reviewer):
            raise PipelineError("reviewer: not a name; give 1 to 80 letters, digits, blanks")
        time = current_time().isoformat(timespec="seconds")
        entry = LoggedDecision(time, reviewer, item.message_id, decision)
        with self._lock():
            before = self.standing().get(item.message_id, ())
            after = add_decision(before, entry)
            if decision == UNDO and after == before:
                raise PipelineError(f"{reviewer} has not decided about this message")
            self._apply(item, after[-1] if after else None)
            if after != before:
                append_decision(self._log, entry)
        return after

    def _lock(self) -> FileLock:
        with convert_os_errors(self._log):
            self._log.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self._log.with_name(f".{self._log.name}.lock"))

    def _apply(self, item: ReviewItem, entry: LoggedDecision | None) -> None:
        """Lets the files say what the decision says; None: nothing about the message."""
        label = entry.decision if entry and entry.decision in LABELS_OF_REVIEW else None
        text = item.text or ""
        if label and label != item.label and not text.strip():
            raise PipelineError("a message without text has no label; keep it out instead")
        if item.is_served and entry and not label:
            raise PipelineError("a served message is not in the data; decide spam or ham")
        if not item.is_served:
            verdict = entry and ("release" if label else "ban")
            why = f"{entry.decision}, {entry.reviewer}" if entry else ""
            set_reviewed(self._reviewed, item.message_id, verdict, why)
        saved = self._feedback.labels_of(text)
        if label and label != item.label and label not in saved:
            self._feedback.save([LabelledText(text, label, item.source)])
        for other in saved - {label}:
            self._feedback.remove(text, other)
