"""Labels that a model disputes are listed, the most disputed first, and only those of train."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.core.schemas import DISPUTED_LABELS
from pipeline.monitoring import label_noise
from tests.harness.errors import error_of
from tests.harness.message_tables import message_table, worded_messages


def test_disputed_labels_are_listed_the_most_disputed_first():
    rows = message_table(list("abcdef"), ["spam", "spam", "ham", "ham", "spam", "ham"])
    disputed = label_noise.disputed_labels(rows, np.array([0.9, 0.1, 0.2, 0.55, 0.4, 0.4]))
    assert list(disputed) == DISPUTED_LABELS.names
    columns = [disputed[name].tolist() for name in ("text", "label", "suggested")]
    assert columns == [["b", "e", "d"], ["spam", "spam", "ham"], ["ham", "ham", "spam"]]
    assert disputed["score"].tolist() == pytest.approx([0.1, 0.4, 0.45])


def train_messages(flipped=()):
    """200 messages in train and their splits; the rows `flipped` have the other label."""
    rows = worded_messages(200, seed=5)
    for row in flipped:
        rows.loc[row, "label"] = {"spam": "ham", "ham": "spam"}[rows["label"][row]]
    ids = rows["message_id"]
    splits = pd.DataFrame({"message_id": ids, "split": "train", "campaign_key": ids})
    return rows, splits.assign(left_out=False)


def run(folder, rows, splits):
    paths = [folder / name for name in ("messages.parquet", "splits.parquet", "review/noise")]
    rows.to_parquet(paths[0])
    splits.to_parquet(paths[1])
    label_noise.main([str(path) for path in paths])
    return paths[2]


def test_flipped_labels_are_listed_in_equal_bytes(tmp_path):
    rows, splits = train_messages(flipped=[3, 77, 150])
    output = run(tmp_path, rows, splits)
    table = pq.read_table(output)
    assert table.schema.equals(DISPUTED_LABELS)
    assert set(rows.loc[[3, 77, 150], "message_id"]) <= set(table["message_id"].to_pylist())
    before = output.read_bytes()
    assert run(tmp_path, rows[::-1], splits).read_bytes() == before


def test_only_rows_that_the_network_trains_on_are_checked():
    rows, splits = train_messages()
    splits.loc[:99, "split"] = "test"
    splits.loc[100:149, "left_out"] = True
    assert set(label_noise.train_rows(rows, splits)["row"]) == set(range(151, 201))


def test_too_few_campaigns_are_one_line(tmp_path):
    rows, splits = train_messages()
    line = error_of(run, tmp_path, rows[:12], splits)
    assert line.endswith(": 3 campaigns of one label in train, but 10 are needed; add messages")
