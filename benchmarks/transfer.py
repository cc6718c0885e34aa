"""Measures models on messages of sources and kinds that they have not seen.

default           trained on the sources of `ingest.sources`; measured on every other collection
refitted          the same, trained again with val when the thresholds were chosen (`train.refit`)
retrained 500     trained on 500 messages of each other collection as well; measured on the rest
without NAME      trained on all collections but NAME; measured on NAME
pooled            trained on train of all collections; measured on test of each
kinds 1 to 5      trained on the sources of `ingest.sources` without a fifth of the kinds of written
                  messages; measured on these kinds
languages 1 to 5  the same with a fifth of the languages

Near-copies of measured messages are not trained on. Calibration and threshold are those of val, of
the sources trained on. Where a source was not trained on, further figures are those of a threshold
that so many of its labelled messages give, as `python -m pipeline calibrate` fits it, in the mean
of DRAWS draws; the other messages are measured.

First run `python -m pipeline fetch india smishing youtube thai telegram`. Results are kept for the
same params and code.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.peers import MODELS, OURS
from benchmarks.quality import RESULTS, calibrated_on, complete, markdown, recall_within
from pipeline import vectorize
from pipeline.core.cli import argument_parser, project_root, run_stage
from pipeline.core.hashing import file_sha256, files_sha256, unit_hash
from pipeline.core.params import read_params
from pipeline.core.schemas import MESSAGES
from pipeline.evaluation.metrics import METRICS, Predictions, is_spam
from pipeline.evaluation.slices import source_name
from pipeline.models.calibration import Scored, fit_decision, read_budgets
from pipeline.models.served_model import answers
from pipeline.preprocessing.near_duplicates import NearCopies
from pipeline.preprocessing.splits import assign_splits, left_out_wordings
from pipeline.sources.catalogue import Params, Places, read_sources
from pipeline.sources.fetch import DOWNLOADS_FOLDER, LOCK_FILE
from pipeline.sources.inbox_copies import InboxPlaces, read_copies

EXAMPLE = "python -m benchmarks.transfer --settings default --models bilstm 'linear SVM'"
WRITTEN = Path("data/written")
PUBLIC = ("india", "smishing", "youtube", "thai", "telegram")
PEER_NAMES = [OURS, "linear SVM", "logistic regression, corrupted", "fastText", "naive Bayes"]
PEER_NAMES += ["bilstm_article"]
GROUP_FOLDS = 5
GROUPS = {"kinds": "kind", "languages": "language"}  # columns of MESSAGES that `written` has
RETRAINED = (100, 500, 2_000)  # messages of each other collection
CALIBRATED = (100, 500, 2_000)  # messages of the measured collection
DRAWS = 20
SETTINGS = ["default", "refitted", *(f"retrained {number}" for number in RETRAINED)]
SETTINGS += [*(f"without {name}" for name in PUBLIC), "pooled"]
SETTINGS += [f"{group} {number}" for group in GROUPS for number in range(1, GROUP_FOLDS + 1)]
HAM_LOST = 0.01  # of the measured ham, at which the recall of all models is compared
AT_ONE = "spam caught at 1 % of its ham lost, %"
BLOCKED = ("spam_caught_percent", "ham_blocked_percent")
FIGURES = [AT_ONE, "average_precision", "spam_caught_percent", "ham_blocked_percent"]


@dataclass(frozen=True)
class Pool:
    """All messages, once each, with the columns of `assign_splits` and `name`, their source."""

    rows: pd.DataFrame
    near_copies: NearCopies

    def near(self, chosen: np.ndarray) -> np.ndarray:
        """(n,): the rows that are near-copies of chosen ones (n,), without these."""
        first_row = np.unique(self.rows["wording"], return_index=True)[1]
        by_wording = np.zeros(len(first_row), np.int64)
        np.maximum.at(by_wording, self.rows["wording"], chosen.astype(np.int64))
        near = left_out_wordings(by_wording, self.near_copies) | (by_wording > 0)
        return near[self.rows["wording"]] & ~chosen


def read_pool(sources: Sequence[str]) -> Pool:
    """The messages of the sources; of equal texts the first, without those that are damaged."""
    params = read_params(Params, "ingest").model_copy(update={"sources": list(sources)})
    inbox = read_copies(InboxPlaces())
    places = Places(LOCK_FILE, inbox, WRITTEN, project_root() / DOWNLOADS_FOLDER)
    table = pa.Table.from_batches(read_sources(params, places, {}), MESSAGES).to_pandas()
    valid = table["label"].isin(["ham", "spam"]) & ~table["text"].str.contains("\ufffd", na=True)
    messages = table[valid].drop_duplicates("message_id").reset_index(drop=True)
    messages["received_at"] = pd.Series(pd.NaT, index=messages.index, dtype="datetime64[us, UTC]")
    rows, near_copies = assign_splits(messages, read_params(vectorize.Params, "vectorize"))
    return Pool(rows.assign(name=source_name(rows)), near_copies)


def measured_rows(setting: str, pool: Pool, trained_on: Sequence[str]) -> np.ndarray:
    """(n,): the rows that are measured in a setting; see the module's docstring."""
    names = pool.rows["name"]
    match setting.split():
        case ["default" | "refitted"]:
            return (~names.isin(trained_on)).to_numpy()
        case ["retrained", number]:
            order = pd.Series([unit_hash("retrained", id) for id in pool.rows["message_id"]])
            rank = order.groupby(names.to_numpy()).rank().to_numpy()
            return (~names.isin(trained_on)).to_numpy() & (rank > int(number))
        case ["without", name]:
            return (names == name).to_numpy()
        case ["pooled"]:
            return (pool.rows["split"] == "test").to_numpy() & ~pool.rows["left_out"].to_numpy()
        case ["kinds" | "languages" as group, number]:
            groups = pool.rows[GROUPS[group]].fillna("")
            folds = {name: int(GROUP_FOLDS * unit_hash(group, name)) for name in set(groups)}
            return (groups.map(folds).eq(int(number) - 1) & groups.ne("")).to_numpy()
    raise ValueError(f"unknown setting {setting!r}")


def measure_setting(
    name: str, setting: str, pool: Pool, trained_on: Sequence[str]
) -> dict[str, float]:
    """Figures of a model by measured source: `SOURCE.FIGURE`."""
    rows = pool.rows
    measured = measured_rows(setting, pool, trained_on)
    usable = ~measured & ~pool.near(measured) & ~rows["left_out"].to_numpy()
    if setting.split()[0] in ("default", "refitted", *GROUPS):
        usable &= rows["name"].isin(trained_on).to_numpy()
    is_val = (rows["split"] == "val").to_numpy()
    val = rows[usable & is_val]
    score = MODELS[name](rows[usable & ~is_val])
    model = calibrated_on(score, val)
    if setting == "refitted":
        model = replace(model, score=MODELS[name](rows[usable]))
    figures: dict[str, float] = {}
    for source, part in rows[measured].groupby("name"):
        predictions = model.predictions(part)
        at_one = recall_within(is_spam(part), predictions.y_score, HAM_LOST)
        values = {name: METRICS[name].function(predictions) for name in FIGURES[1:]}
        values |= {AT_ONE: at_one}
        if source not in model.decisions.sources:
            confident = replace(predictions, y_pred=predictions.y_pred & model.confident(part))
            values |= {f"confident.{name}": METRICS[name].function(confident) for name in BLOCKED}
            values |= calibrated_figures(model.score(part["text"].tolist()), is_spam(part))
        figures |= {f"{source}.{key}": value for key, value in values.items()}
    return figures


def calibrated_figures(score: np.ndarray, spam: np.ndarray) -> dict[str, float]:
    """BLOCKED at the threshold of so many drawn messages, on the others, in the mean of DRAWS.

    The budget is `evaluate.lost_ham_budget`; with too little ham, the smallest that it allows.
    """
    everything = Scored(spam, score)
    figures: dict[str, list[float]] = {}
    for number in CALIBRATED:
        for seed in range(DRAWS if number < len(spam) / 2 else 0):
            drawn = np.zeros(len(spam), bool)
            drawn[np.random.default_rng(seed).choice(len(spam), number, replace=False)] = True
            given, rest = everything.part(drawn), everything.part(~drawn)
            if not given.y_true.any():
                continue
            budget = max(read_budgets().lost_ham_budget, math.ceil(1e6 / (1 + given.ham)) / 1e6)
            rule = asdict(fit_decision(given, budget))
            labels = answers(rest.score, [None] * len(rest.score), rule)["label"] == "spam"
            predictions = Predictions(rest.y_true, rest.score, labels.to_numpy())
            for name in BLOCKED:
                value = METRICS[name].function(predictions)
                figures.setdefault(f"calibrated {number}.{name}", []).append(value)
    return {name: statistics.mean(values) for name, values in figures.items()}


def setting_table(setting: str, names: Sequence[str], results: dict) -> str:
    """Markdown: a row a source and figure, a column a model."""
    columns = {name: results[f"{name} {setting}"] for name in names}
    table = pd.DataFrame(columns).map(lambda value: f"{value:.3g}")
    return markdown(setting, table)


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=SETTINGS)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=PEER_NAMES)
    options = parser.parse_args(argv)
    trained_on = read_params(Params, "ingest").sources
    pool = read_pool([*trained_on, *PUBLIC])
    measure = partial(measure_setting, pool=pool, trained_on=trained_on)
    tasks = [(name, setting) for setting in options.settings for name in options.models]
    key = {"sources": file_sha256(LOCK_FILE), "written": files_sha256(*sorted(WRITTEN.iterdir()))}
    results = complete(RESULTS / "transfer.json", tasks, measure, **key)
    tables = [setting_table(setting, options.models, results) for setting in options.settings]
    print("\n\n".join(tables))


if __name__ == "__main__":
    run_stage(main)
