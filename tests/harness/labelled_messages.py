"""The hand-written messages as one table: 60 ham and 30 spam, each its own campaign."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.core.files import write_text
from pipeline.core.tables import write_shards
from pipeline.preprocessing.tokenizer import fit_tokenizer, shard_tables, tokenizer_json
from tests.harness.small_project import MESSAGES, ROOT, set_params

TABLE = pd.read_csv(MESSAGES)[["body", "kind"]].rename(columns={"body": "text"})
TABLE["message_id"] = TABLE["campaign_key"] = [f"{i:016x}" for i in TABLE.index]
TABLE["label"] = TABLE.pop("kind").map({0: "ham", 1: "spam"})
TABLE["received_at"] = pd.Series(pd.NaT, index=TABLE.index, dtype="datetime64[us, UTC]")
TEXTS = TABLE["text"].tolist()
SPAM = (TABLE["label"] == "spam").to_numpy()


def write_vectorized(folder: Path, train: dict) -> None:
    """Writes what train reads: params.yaml with these values, tokenizer.json and the shards."""
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    set_params(folder, {"train": train})
    tokenizer = fit_tokenizer(TEXTS, vocabulary_size=300, sequence_length=50)
    (folder / "models").mkdir()
    write_text(folder / "models" / "tokenizer.json", tokenizer_json(tokenizer, window_length=250))
    split = np.array(["val", "train", "train", "test", "train", "train"])[TABLE.index % 6]
    for name in ("train", "val", "test"):
        part = TABLE[split == name]
        write_shards(folder / "data" / "vectorized" / name, shard_tables(part, tokenizer, 90))
