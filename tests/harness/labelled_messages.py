"""The hand-written messages as one table: 60 ham and 30 spam, each its own campaign."""

import pandas as pd

from tests.harness.small_project import MESSAGES

TABLE = pd.read_csv(MESSAGES)[["body", "kind"]].rename(columns={"body": "text"})
TABLE["message_id"] = TABLE["campaign_key"] = [f"{i:016x}" for i in TABLE.index]
TABLE["label"] = TABLE.pop("kind").map({0: "ham", 1: "spam"})
TABLE["received_at"] = pd.Series(pd.NaT, index=TABLE.index, dtype="datetime64[us, UTC]")
TEXTS = TABLE["text"].tolist()
SPAM = (TABLE["label"] == "spam").to_numpy()
