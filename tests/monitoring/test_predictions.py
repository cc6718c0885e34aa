"""A log of predictions is read as one table, from a time on, and only if it is one."""

from datetime import timedelta

import pandas as pd
import pytest

from pipeline.core.errors import PipelineError
from pipeline.monitoring.predictions import (
    check_log,
    prediction_files,
    read_predictions,
    served_messages,
)
from tests.harness.errors import error_of
from tests.harness.prediction_logs import NOON, write_log


def test_files_are_one_table_in_the_order_of_their_times(tmp_path):
    write_log(tmp_path, [{"probability": 0.3}], NOON + timedelta(microseconds=1))
    write_log(tmp_path, [{"probability": 0.1}, {"probability": 0.2}])
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".predictions-20260302T120000.000002-7.parquet.7.tmp").write_bytes(b"PAR")
    table = read_predictions(tmp_path, ["probability", "label"])
    assert table["probability"].tolist() == [0.1, 0.2, 0.3]
    assert list(table) == ["probability", "label"]


def test_rows_from_before_a_time_are_left_out(tmp_path):
    rows = [{"scored_at": NOON - timedelta(minutes=5), "text": "old"}, {"text": "new"}]
    write_log(tmp_path, rows)
    assert read_predictions(tmp_path, ["text"], since=NOON)["text"].tolist() == ["new"]


def test_older_files_are_not_opened(tmp_path):
    write_log(tmp_path, [{}], NOON - timedelta(seconds=1)).write_bytes(b"damaged")
    write_log(tmp_path, [{}])
    assert len(read_predictions(tmp_path, ["label"], since=NOON)) == 1


def test_no_folder_has_no_rows(tmp_path):
    assert prediction_files(tmp_path / "missing") == []
    assert read_predictions(tmp_path / "missing", ["label", "probability"]).shape == (0, 2)
    assert served_messages(tmp_path / "missing").shape == (0, 3)


def test_folder_without_a_log_is_an_error(tmp_path):
    assert error_of(check_log, tmp_path) == (
        f"{tmp_path}: no log of predictions; write some with "
        f"`python -m pipeline serve --log {tmp_path}`"
    )
    write_log(tmp_path, [{}])
    check_log(tmp_path)


@pytest.mark.parametrize("columns", [{"label": ["ham"]}, {"label": [1], "scored_at": ["x"]}])
def test_file_with_other_columns_is_an_error(tmp_path, columns):
    path = write_log(tmp_path, [{}])
    pd.DataFrame(columns).to_parquet(path)
    with pytest.raises(PipelineError, match=f"^{path}: not "):
        read_predictions(tmp_path, ["label"])


def test_served_messages_are_texts_once_and_without_labels(tmp_path):
    rows = [
        {"text": "win", "source": "chat", "label": "spam"},
        {"text": "lunch?", "source": None},
        {"text": None},
        {"text": "win", "source": "sms", "label": "spam"},
    ]
    write_log(tmp_path, rows)
    assert served_messages(tmp_path).values.tolist() == [
        ["lunch?", None, "served"],
        ["win", None, "sms"],
    ]
