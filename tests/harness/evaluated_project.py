"""An evaluated model, with an MLflow of its own: what register starts from."""

import functools
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline import register
from pipeline.core import schemas
from pipeline.core.files import write_json, write_text
from pipeline.core.reports import Figure, write_report
from pipeline.core.tables import write_csv, write_parquet
from pipeline.models import keras_files
from pipeline.preprocessing.tokenizer import fit_tokenizer, read_spec, tokenizer_json
from pipeline.registry import ledger, parity
from pipeline.tracking.mlflow_client import MODEL_NAME
from tests.harness.small_models import plain_decision
from tests.harness.small_networks import small_network
from tests.harness.small_project import MESSAGES, ROOT, set_params, stage_arguments

REGISTER_ARGUMENTS = stage_arguments(  # of a Project in the working directory
    *("register", "dvc.yaml", "messages.parquet", "splits.parquet"),
    *("tokenizer.json", "evaluated.keras", "model.keras", "decision.json"),
    *("curves.csv", "reports/evaluate.json", "docs", "register.json"),
)
FIGURES = {
    "f1": {"value": 0.9, "low": 0.85, "high": 0.95, "n": 40},
    "ham_blocked_percent": {"value": 1.5, "n": 30},
    "roc_auc": {"value": None, "n": 40},
    "baseline.f1": {"value": 0.8, "n": 40},
    "difference.f1": {"value": 0.1, "n": 40},
    "slices.long.recall": {"value": 0.5, "n": 4},
}


@functools.cache
def _template() -> TemporaryDirectory:
    """A folder with the files, made once in a process."""
    template = TemporaryDirectory()
    folder = Path(template.name)
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    section = {"criteria": {"f1": {"min": 0.5}}, "fewest_rows": 1, "parity": []}
    set_params(folder, {"register": section})
    write_tables(folder)
    tokenizer = fit_tokenizer(
        pd.read_csv(MESSAGES)["body"], vocabulary_size=400, sequence_length=30
    )
    (folder / "tokenizer.json").write_text(
        tokenizer_json(tokenizer, window_length=250), encoding="utf-8"
    )
    keras_files.save(small_network(tokenizer.get_vocab_size(), seed=1), folder / "model.keras")
    shutil.copyfile(folder / "model.keras", folder / "evaluated.keras")
    write_csv(folder / "curves.csv", ("epoch", "loss"), [(1, 0.5), (2, 0.25)])
    figures = {name: Figure(**figure) for name, figure in FIGURES.items()}
    write_report(folder / "reports" / "evaluate.json", 13, figures, "f1 0.900")
    loss = {"x": "epoch", "y": {"curves.csv": "loss"}, "template": "simple"}
    titles = {"title": "Loss", "x_label": "epoch", "y_label": "loss"}
    write_json(folder / "dvc.yaml", {"plots": [{"loss": loss | titles}]})  # JSON is YAML
    write_text(folder / "docs" / "index.html", "docs")
    return template


def write_tables(folder):
    """messages.parquet and splits.parquet of the hand-written messages, each a campaign."""
    rows = pd.read_csv(MESSAGES)
    ids = [f"{i:016x}" for i in range(len(rows))]
    messages = pd.DataFrame({"message_id": ids, "text": rows["body"], "source": "sms", "row": 1})
    messages["label"] = np.where(rows["kind"] == 1, "spam", "ham")
    messages["received_at"] = pd.Series(pd.NaT, index=rows.index, dtype="datetime64[us, UTC]")
    messages[["kind", "language"]] = None
    split = np.array(["train", "val", "test", "train", "val", "train", "test"])[rows.index % 7]
    splits = pd.DataFrame({"message_id": ids, "split": split, "campaign_key": ids})
    splits["left_out"] = rows.index < 9
    tables = [("messages", messages, schemas.MESSAGES), ("splits", splits, schemas.SPLITS)]
    tables += [("calibration", messages.iloc[:0], schemas.MESSAGES)]
    none = pd.DataFrame({"message_id": [], "score": []})
    for name, frame, schema in [*tables, ("out_of_fold", none, schemas.OUT_OF_FOLD)]:
        batches = pa.Table.from_pandas(frame, schema, preserve_index=False).to_batches()
        write_parquet(folder / f"{name}.parquet", batches, schema)


def score_in_process(model, messages):
    """What parity.score_in_child answers, without a process that imports TensorFlow again."""
    try:
        answer = mlflow.pyfunc.load_model(model).predict(messages)
    except OSError as error:
        raise parity.ScoringError(f"OSError: {error}") from error
    return parity.checked_answer(answer, len(messages))


class Project:
    """The files of an evaluated model in a folder, which is the working directory."""

    def __init__(self, folder, store):
        self.folder, self.store = folder, store
        shutil.copytree(_template().name, folder, dirs_exist_ok=True)
        self.set_threshold(0.5)

    def set_criteria(self, **criteria):
        set_params(self.folder, {"register": {"criteria": criteria}})

    def set_threshold(self, threshold):
        """Makes another model: at 0 everything is spam; above 1 nothing is, which is worse."""
        write_json(self.folder / "decision.json", plain_decision(threshold))

    def vocabulary(self):
        """The tokens of the tokenizer."""
        return read_spec(self.folder / "tokenizer.json")["model"]["vocab"]

    def refit(self, seed, scale=1.0):
        """Makes another network serve than the evaluated one, which stays."""
        network = small_network(len(self.vocabulary()), seed=seed, scale=scale)
        keras_files.save(network, self.folder / "model.keras")

    def register(self, *flags):
        """Runs the stage and returns the bytes of its report."""
        register.main([*REGISTER_ARGUMENTS, *flags])
        return (self.folder / "register.json").read_bytes()

    def register_thresholds(self, *thresholds):
        """Registers a model for each threshold, in this order."""
        for threshold in thresholds:
            self.set_threshold(threshold)
            self.register()

    def verdict(self):
        return json.loads((self.folder / "register.json").read_bytes())["verdict"]

    def runs(self):
        return self.store.search_runs(["1"], order_by=["attributes.start_time ASC"])

    def aliases(self):
        aliases = self.store.get_registered_model(MODEL_NAME).aliases
        return {alias: str(version) for alias, version in aliases.items()}

    def entries(self):
        """Verdict, version and previous champion of each line of the ledger."""
        return [(entry.verdict, entry.version, entry.previous) for entry in ledger.read_entries()]

    def tags(self, version):
        return self.store.get_model_version(MODEL_NAME, version).tags

    def artifacts(self, version):
        """The folder in which the registry keeps the files of a version."""
        source = self.store.get_model_version(MODEL_NAME, version).source
        model_id = source.removeprefix("models:/")
        return self.folder / "mlartifacts" / "models" / model_id / "artifacts" / "artifacts"

    def versions(self):
        versions = self.store.search_model_versions(f"name = '{MODEL_NAME}'")
        return sorted(str(version.version) for version in versions)
