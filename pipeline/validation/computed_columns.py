"""Columns that expectations check and that Great Expectations cannot compute itself.

Each function takes messages and the decisions of people, and returns columns beside the messages.
"""

import re

import pandas as pd

from pipeline.core.dates import current_time
from pipeline.core.hashing import message_id
from pipeline.preprocessing import normalize
from pipeline.validation.feedback import latest_feedback
from pipeline.validation.reviewed import Reviewed

Columns = dict[str, pd.Series]  # by name, each with the index of the messages

_UNDONE = re.compile("[&<]")  # may begin an entity or a placeholder, which `canonicalise` removes
_VISIBLE = re.compile("[\\0!-~]")  # U+0000 is refused as a control character


def blank_texts(messages: pd.DataFrame, reviewed: Reviewed) -> Columns:
    """`is_blank`: the text has no visible character; a null is not blank."""
    blank = [is_blank(text) for text in messages["text"]]
    return {"is_blank": pd.Series(blank, messages.index, dtype="bool")}


def is_blank(text: object) -> bool:
    """Whether a text has no visible character; a null is not blank."""
    if not isinstance(text, str):
        return False
    if text.isascii() and not _UNDONE.search(text):  # a tenth of the time
        return not _VISIBLE.search(text)
    return normalize.canonicalise(text).strip() == ""


def matching_ids(messages: pd.DataFrame, reviewed: Reviewed) -> Columns:
    """`id_agrees`: `message_id` is the hash of the text."""
    ids = [message_id(text) for text in messages["text"].fillna("")]
    return {"id_agrees": messages["message_id"] == pd.Series(ids, messages.index, dtype="str")}


def banned_messages(messages: pd.DataFrame, reviewed: Reviewed) -> Columns:
    """`is_banned`: a person banned the message."""
    return {"is_banned": messages["message_id"].isin(reviewed.banned)}


def copies_and_labels(messages: pd.DataFrame, reviewed: Reviewed) -> Columns:
    """How each row compares with other rows of the same folded text.

    `is_overruled`: later feedback gives another label. `is_contested`: rows that are not overruled
    have both labels. `is_copy`: an earlier row has the same text and label.
    """
    folded, label = fold_texts(messages["text"]), messages["label"]
    latest = latest_feedback(messages, folded, current_time())
    overruled = latest.notna() & (latest != label)
    labels_per_text = label.mask(overruled).groupby(folded).transform("nunique")
    return {
        "is_overruled": overruled,
        "is_contested": labels_per_text > 1,
        "is_copy": pd.DataFrame({"text": folded, "label": label}).duplicated(),
    }


def lengths_and_spam(messages: pd.DataFrame, reviewed: Reviewed) -> Columns:
    """`length`: characters of the text. `is_spam`: 1 for spam, 0 for ham."""
    return {
        "length": messages["text"].str.len().astype("int64"),
        "is_spam": messages["label"].eq("spam").astype("int64"),
    }


def fold_texts(texts: pd.Series) -> pd.Series:
    """The texts without case and spacing. Rows with equal results are copies of each other."""
    folded = [normalize.fold(text) for text in texts.fillna("")]
    return pd.Series(folded, texts.index, dtype="str")
