"""Decides which label of a text counts when feedback has several: the latest."""

from datetime import datetime, timedelta

import pandas as pd

from pipeline.core.dates import day_in_path
from pipeline.core.schemas import FEEDBACK_SOURCE

ZONES = timedelta(days=1)  # local days and times are up to 14 hours ahead of UTC
SHOWN_FILES = 3  # in a warning


def dated_feedback(messages: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """The rows of feedback, the latest last, with `given_at`: when the label was given.

    That is `received_at`, else the day in the name of the file. A time in the future counts as
    unknown, so that a wrong one does not win for ever. Rows without a time come first.
    """
    feedback = messages[messages["source"].str.startswith(f"{FEEDBACK_SOURCE}/")]
    days = {source: day_in_path(source) for source in feedback["source"].unique()}
    times = feedback.assign(day=feedback["source"].map(days))[["received_at", "day"]]
    times = times.astype("datetime64[us, UTC]")
    times = times.where(times <= now + ZONES)
    dated = feedback.assign(given_at=times["received_at"].fillna(times["day"]), day=times["day"])
    return dated.sort_values(["given_at", "day", "source", "row"], na_position="first")


def latest_feedback(messages: pd.DataFrame, folded: pd.Series, now: datetime) -> pd.Series:
    """The label that the latest feedback gives to each row's text; null without feedback."""
    in_order = dated_feedback(messages, now)
    return folded.map(in_order.groupby(folded[in_order.index])["label"].last())


def undated_feedback(messages: pd.DataFrame, now: datetime) -> str:
    """One line about labels of feedback whose time is unknown; empty if there are none."""
    dated = dated_feedback(messages, now)
    undated = dated[dated["given_at"].isna()]
    files = undated["source"].unique().tolist()
    if not files:
        return ""
    shown = ", ".join(files[:SHOWN_FILES]) + (", …" if len(files) > SHOWN_FILES else "")
    return (
        f"{shown}: {len(undated):,} labels without a date, or with one in the future, so that any "
        "dated label overrules them; name a file by its day, such as 2026-11-20.csv"
    )
