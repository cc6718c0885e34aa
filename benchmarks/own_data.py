"""Measures models that are trained on few messages of one collection, as an owner of few would.

Each split draws so many messages of the collection and splits them anew. Test is measured at two
thresholds for the budget of params.yaml: that of val alone, and that of val and the out-of-fold
scores of train, as `dvc repro` chooses it. Where there is too little ham for the budget, the
smallest that it allows counts.

First run `python -m pipeline fetch india smishing youtube thai telegram`. Results are kept for the
same params and code.
"""

from collections.abc import Callable
from functools import partial

import pandas as pd

from benchmarks.peers import MODELS, OURS, training_input
from benchmarks.quality import RESULTS, calibrated_on, complete, markdown, spread
from benchmarks.transfer import PUBLIC, Pool, read_pool
from pipeline import vectorize
from pipeline.core.cli import argument_parser, run_stage
from pipeline.core.hashing import file_sha256
from pipeline.core.params import read_params
from pipeline.evaluation.metrics import METRICS, is_spam
from pipeline.models import baseline, training
from pipeline.preprocessing.splits import assign_splits
from pipeline.sources.fetch import LOCK_FILE

EXAMPLE = "python -m benchmarks.own_data --sources telegram --rows 600 2000 --splits 10"
FIGURES = ("average_precision", "spam_caught_percent", "ham_blocked_percent")


def out_of_fold_network(rows: pd.DataFrame) -> pd.Series:
    """(n,): the out-of-fold score of each row, as the stage train writes it."""
    given = training_input(OURS, rows)
    return pd.Series(
        training.out_of_fold_scores(given.table, training.Trainer(given.spec, given.params))
    )


def out_of_fold_svm(rows: pd.DataFrame) -> pd.Series:
    """(n,): the out-of-fold score of each row, as the stage evaluate computes it."""
    texts, keys = rows["text"].tolist(), rows["campaign_key"]
    return pd.Series(baseline.out_of_fold_scores(texts, is_spam(rows), keys))


OUT_OF_FOLD: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    OURS: out_of_fold_network,
    "linear SVM": out_of_fold_svm,
}


def measure_split(name: str, part: str, pool: Pool) -> dict[str, float]:
    """Figures of a model on test of one split, by both thresholds. Args: part: SOURCE ROWS SPLIT"""
    source, size, number = part.split()
    own = pool.rows[pool.rows["name"] == source]
    own = own.sample(min(int(size), len(own)), random_state=int(number)).reset_index(drop=True)
    params = read_params(vectorize.Params, "vectorize")
    rows, _ = assign_splits(own, params.model_copy(update={"salt": f"own data {number}"}))
    train, val, test = (
        rows[(rows["split"] == split) & ~rows["left_out"]].reset_index(drop=True)
        for split in ("train", "val", "test")
    )
    score = MODELS[name](train)
    out_of_fold = train.assign(score=OUT_OF_FOLD[name](train)).dropna(subset="score")
    figures = {}
    for threshold, more in (("val", None), ("val and train", out_of_fold)):
        predictions = calibrated_on(score, val, more).predictions(test)
        values = {figure: METRICS[figure].function(predictions) for figure in FIGURES}
        figures |= {f"{figure}, {threshold}": value for figure, value in values.items()}
    return figures


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--sources", nargs="+", choices=PUBLIC, default=PUBLIC)
    parser.add_argument("--rows", nargs="+", type=int, default=[600, 2_000, 5_000])
    parser.add_argument("--splits", type=int, default=10, help="number of splits (default: 10)")
    parser.add_argument("--models", nargs="+", choices=OUT_OF_FOLD, default=[*OUT_OF_FOLD])
    options = parser.parse_args(argv)
    settings = [f"{name} {size}" for size in options.rows for name in options.sources]
    parts = [f"{setting} {n}" for n in range(options.splits) for setting in settings]
    tasks = [(model, part) for part in parts for model in options.models]
    measure = partial(measure_split, pool=read_pool(options.sources))
    key = {"sources": file_sha256(LOCK_FILE)}
    results = complete(RESULTS / "own_data.json", tasks, measure, **key)
    for setting in settings:
        columns = {}
        for model in options.models:
            splits = [results[f"{model} {setting} {n}"] for n in range(options.splits)]
            columns[model] = pd.DataFrame(splits).apply(spread)
        print(markdown(setting, pd.DataFrame(columns)), end="\n\n")


if __name__ == "__main__":
    run_stage(main)
