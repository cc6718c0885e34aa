"""The files of an evaluated model, in a folder with an MLflow of its own: what register begins with."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline import register
from pipeline.core import schemas
from pipeline.core.files import write_json, write_text
from pipeline.core.reports import Figure, write_report
from pipeline.core.schemas import SPLITS
from pipeline.core.tables import write_csv, write_parquet
from pipeline.models import keras_files
from pipeline.preprocessing.tokenizer import fit_tokenizer
from pipeline.registry import ledger
from pipeline.tracking import mlflow_client
from tests.harness.small_networks import small_network
from tests.harness.small_project import MESSAGES, ROOT, set_params, stage_arguments

FIGURES = {
    "f1": {"value": 0.9, "low": 0.85, "high": 0.95, "n": 40},
    "ham_blocked_percent": {"value": 1.5, "n": 30},
    "roc_auc": {"value": None, "n": 40},
    "baseline.f1": {"value": 0.8, "n": 40},
    "difference.f1": {"value": 0.1, "n": 40},
    "slices.long.recall": {"value": 0.5, "n": 4},
}


class Project:
    """The files of an evaluated model, in a folder with an MLflow of its own."""

    def __init__(self, folder, store):
        self.folder, self.store = folder, store
        shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
        set_params(folder, {"register": {"criteria": {"f1": {"min": 0.5}}, "parity": []}})
        rows = pd.read_csv(MESSAGES)
        ids = [f"{i:016x}" for i in range(len(rows))]
        label = np.where(rows["kind"] == 1, "spam", "ham")
        messages = pd.DataFrame(
            {"message_id": ids, "text": rows["body"], "label": label, "source": "sms", "row": 1}
        )
        messages["received_at"] = pd.Series(pd.NaT, index=rows.index, dtype="datetime64[us, UTC]")
        split = np.array(["train", "val", "test", "train", "val", "train", "test"])[rows.index % 7]
        splits = pd.DataFrame(
            {"message_id": ids, "split": split, "campaign_key": ids, "left_out": rows.index < 9}
        )
        for name, table, schema in (
            ("messages", messages, schemas.MESSAGES),
            ("splits", splits, SPLITS),
        ):
            batches = pa.Table.from_pandas(table, schema, preserve_index=False).to_batches()
            write_parquet(folder / f"{name}.parquet", batches, schema)
        tokenizer = fit_tokenizer(
            rows["body"], vocabulary_size=400, sequence_length=30
        )
        (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
        network = small_network(tokenizer.get_vocab_size(), seed=1)
        keras_files.save(network, folder / "model.keras")
        self.decide(threshold=0.5)
        write_csv(folder / "curves.csv", ("epoch", "loss"), [(1, 0.5), (2, 0.25)])
        figures = {name: Figure(**figure) for name, figure in FIGURES.items()}
        write_report(folder / "reports" / "evaluate.json", 13, figures, "f1 0.900")
        plot = {"x": "epoch", "y": {"curves.csv": "loss"}, "template": "simple"}
        names = {"title": "Loss", "x_label": "epoch", "y_label": "loss"}
        write_json(folder / "dvc.yaml", {"plots": [{"loss": plot | names}]})  # JSON is YAML
        write_text(folder / "docs" / "index.html", "docs")

    def newest(self, rows):
        """The rows whose number the function takes came last: of test they stay, all others are newest."""
        splits, messages = (
            pd.read_parquet(self.folder / f"{name}.parquet") for name in ("splits", "messages")
        )
        late = rows(splits.index)
        splits["split"] = splits["split"].mask(late & (splits["split"] != "test"), "newest")
        messages["received_at"] = pd.Timestamp("2026-11-01", tz="UTC") + pd.to_timedelta(
            late * 20, "D"
        )
        splits.to_parquet(self.folder / "splits.parquet")
        messages.to_parquet(self.folder / "messages.parquet")

    def criteria(self, **criteria):
        set_params(self.folder, {"register": {"criteria": criteria}})

    def decide(self, threshold):
        """Another model: at 0 all is spam, above 1 nothing, which is surely worse."""
        decision = {"slope": 1.0, "intercept": 0.0, "threshold": threshold}
        write_json(self.folder / "decision.json", decision)

    def register(self, *flags):
        """The bytes of the report."""
        parts = (
            "tokenizer.json",
            "model.keras",
            "decision.json",
            "curves.csv",
            "reports/evaluate.json",
            "docs",
        )
        paths = ["dvc.yaml", "messages.parquet", "splits.parquet", *parts, "register.json"]
        register.main([*stage_arguments("register", *paths), *flags])
        return (self.folder / "register.json").read_bytes()

    def verdict(self):
        return json.loads((self.folder / "register.json").read_bytes())["verdict"]

    def runs(self):
        return self.store.search_runs(["1"], order_by=["attributes.start_time ASC"])

    def aliases(self):
        held = self.store.get_registered_model(mlflow_client.MODEL_NAME).aliases
        return {alias: str(version) for alias, version in held.items()}

    def entries(self):
        """Verdict, version and the one before, of each line of the ledger."""
        return [(entry.verdict, entry.version, entry.previous) for entry in ledger.read_entries()]

    def artifacts(self, version):
        """Where the registry keeps the files of this version."""
        source = self.store.get_model_version(mlflow_client.MODEL_NAME, version).source.removeprefix(
            "models:/"
        )
        return self.folder / "mlartifacts" / "models" / source / "artifacts" / "artifacts"

    def versions(self):
        found = self.store.search_model_versions(f"name = '{mlflow_client.MODEL_NAME}'")
        return sorted(str(version.version) for version in found)
