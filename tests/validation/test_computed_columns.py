"""Rows with equal texts are compared, and the latest feedback decides about their label."""

import pandas as pd
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.preprocessing.normalize import canonicalise
from pipeline.validation.computed_columns import copies_and_labels, is_blank
from pipeline.validation.reviewed import NOTHING_REVIEWED


def test_the_latest_feedback_overrules_in_any_order():
    rows = [
        ("Call me now", "ham", "sms"),
        ("call ME now", "ham", "feedback/b/2026-11-21.csv"),
        ("call me  now", "spam", "feedback/a/2026-11-22.csv"),
        ("call me now", "ham", "feedback/2026-11-20.csv"),
        ("Agreed", "ham", "sms"),
        ("AGREED", "ham", "feedback/2026-11-20.csv"),
    ]
    messages = pd.DataFrame(rows, columns=["text", "label", "source"]).assign(
        row=1, received_at=None
    )
    columns = copies_and_labels(messages, NOTHING_REVIEWED)
    assert columns["is_overruled"].tolist() == [True, True, False, True, False, False]
    assert columns["is_copy"].tolist() == [False, True, False, True, False, True]
    assert not columns["is_contested"].any()


@example("<DECIMAL>")
@example("&nbsp;&#8203;")
@example("\x1f \x7f\x00")
@example("\N{FULLWIDTH LESS-THAN SIGN}#>")
@given(st.text(alphabet="<>#DECIMAL&nbsp;8203 \t\x00\x1f\x7f\u200b\uff1c-_é", max_size=20))
def test_a_text_is_blank_if_nothing_of_it_is_read(text):
    assert is_blank(text) == (canonicalise(text).strip() == "")


def test_a_null_is_not_blank():
    assert not is_blank(None)
