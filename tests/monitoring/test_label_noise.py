"""Labels that a model disputes are listed, the surest first, and only those of train."""

import random

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.hashing import message_id
from pipeline.core.schemas import DISPUTED_LABELS
from pipeline.monitoring import label_noise
from pipeline.preprocessing import near_duplicates


def messages(texts, labels):
    ids = [message_id(one) for one in texts]
    columns = {
        "message_id": ids,
        "text": texts,
        "label": labels,
        "source": "sms",
        "row": range(len(texts)),
    }
    return pd.DataFrame(columns).assign(
        received_at=pd.Series(pd.NaT, range(len(texts)), "datetime64[us, UTC]")
    )


def test_what_looks_more_like_the_other_label_is_listed_the_surest_first():
    rows = messages(list("abcdef"), ["spam", "spam", "ham", "ham", "spam", "ham"])
    found = label_noise.disputed(rows, np.array([0.9, 0.1, 0.2, 0.55, 0.4, 0.4]))
    assert list(found) == DISPUTED_LABELS.names
    assert found[["text", "label", "suggested"]].to_numpy().tolist() == [
        ["b", "spam", "ham"],
        ["e", "spam", "ham"],
        ["d", "ham", "spam"],
    ]
    assert found["score"].tolist() == pytest.approx([0.1, 0.4, 0.45])


def project(flipped):
    """400 messages of which these rows have the other label; some are in other splits or left out."""
    rng = random.Random(5)
    words = {
        "ham": "lunch home later see you love walk dog tired",
        "spam": "prize win claim cash txt free call",
    }
    labels = np.array(["ham", "ham", "spam", "ham"] * 100)
    texts = [
        f"{' '.join(rng.choices(words[label].split(), k=6))} {rng.random()}" for label in labels
    ]
    for row in flipped:
        labels[row] = {"spam": "ham", "ham": "spam"}[labels[row]]
    rows = messages(texts, labels)
    keys = [f"{key:016x}" for key in near_duplicates.campaign_keys(texts)]
    splits = pd.DataFrame(
        {"message_id": rows["message_id"], "split": "train", "campaign_key": keys}
    )
    return rows, splits.assign(left_out=False)


def run(folder, rows, splits):
    rows.to_parquet(folder / "messages.parquet")
    splits.to_parquet(folder / "splits.parquet")
    paths = [
        str(folder / name)
        for name in ("messages.parquet", "splits.parquet", "review/noise.parquet")
    ]
    label_noise.main(paths)
    return pq.read_table(paths[2])


def test_flipped_labels_are_found_and_equal_rows_are_equal_bytes(tmp_path):
    rows, splits = project(flipped=[3, 77, 200])
    table = run(tmp_path, rows, splits)
    assert table.schema.equals(DISPUTED_LABELS)
    flipped = set(rows.loc[[3, 77, 200], "message_id"])
    assert flipped <= set(table["message_id"].to_pylist())
    before = (tmp_path / "review" / "noise.parquet").read_bytes()
    run(tmp_path, rows[::-1], splits)
    assert (tmp_path / "review" / "noise.parquet").read_bytes() == before


def test_only_what_the_network_trains_on_is_looked_at():
    rows, splits = project([])
    splits.loc[:99, "split"], splits.loc[100:149, "left_out"] = "test", True
    looked_at = label_noise.train_rows(rows, splits)
    assert set(looked_at["message_id"]) == set(rows.loc[150:, "message_id"])


def test_too_few_campaigns_are_one_line(tmp_path):
    rows, splits = project([])
    with pytest.raises(PipelineError, match=r": \d campaigns of one label in train, 10 are needed"):
        run(tmp_path, rows[:12], splits)
