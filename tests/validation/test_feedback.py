"""Of several feedback labels of one text, the latest counts; without a date none is the latest."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from pipeline.validation.feedback import latest_feedback, undated_feedback

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def feedback(*rows):
    """Messages of one text; each row is a file of feedback, its label and received_at."""
    table = pd.DataFrame(rows, columns=["source", "label", "received_at"])
    times = pd.to_datetime(table["received_at"], format="ISO8601", utc=True)
    sources = [f"feedback/{name}.csv" for name in table["source"]]
    return table.assign(source=sources, received_at=times, row=1)


def latest(messages):
    [label] = latest_feedback(messages, pd.Series("hi", messages.index), NOW).unique()
    return label


@pytest.mark.parametrize(
    ("early", "late"),
    [
        (("2026-9-30", None), ("2026-10-2", None)),
        (("zoe/2026-09-30", None), ("anna/20261002", None)),
        (("zoe", "2026-11-01T10:00"), ("anna", "2026-11-20T10:00")),
        (("2026-11-20", "2026-11-01"), ("2026-11-19", "2026-11-02")),
        (("2026-11-19", "2026-11-01"), ("2026-11-20", "2026-11-01")),
        (("2026-11-19", None), ("a", "2026-11-19T10:00")),
        (("zoe", None), ("1999-01-01", None)),
        (("9999-12-31", None), ("2026-11-20", None)),
        (("2026-12-01", None), ("2026-11-30", None)),  # 30 November has begun in the east
        (("zoe", "2099-01-01"), ("2026-11-20", None)),
        (("2026-11-19", "9999-01-01"), ("2026-11-20", None)),
    ],
)
def test_latest_label_that_is_not_in_the_future_counts(early, late):
    rows = [(name, label, time) for label, (name, time) in {"spam": early, "ham": late}.items()]
    assert latest(feedback(*rows)) == latest(feedback(*reversed(rows))) == "ham"


def test_labels_without_a_date_are_named():
    dated = [("2026-11-20", "ham", None), ("zoe", "ham", "2026-11-20")]
    assert undated_feedback(feedback(*dated), NOW) == ""
    undated = [(name, "ham", None) for name in ("9999-01-01", "b", "b", "c", "d")]
    assert undated_feedback(feedback(*undated, *dated), NOW) == (
        "feedback/9999-01-01.csv, feedback/b.csv, feedback/c.csv, …: 5 labels without a date, or "
        "with one in the future, so that any dated label overrules them; "
        "name a file by its day, such as 2026-11-20.csv"
    )
