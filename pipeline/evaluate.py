"""Chooses thresholds on val, and measures the model on test and the newest messages."""

import logging
from dataclasses import asdict, replace

import pyarrow as pa
from pydantic import Field

from pipeline.core.cli import parse_paths, run_stage
from pipeline.core.files import atomic_path, write_json
from pipeline.core.params import read_params
from pipeline.core.reports import round_figures, write_report
from pipeline.core.schemas import MESSAGES, MISTAKES, SPLITS
from pipeline.core.tables import read_parquet, write_csv, write_parquet
from pipeline.evaluation import report
from pipeline.evaluation.attacks import attack_figures
from pipeline.evaluation.behavioural_tests import OF_TODAY, pass_rates
from pipeline.evaluation.curves import plot_tables
from pipeline.evaluation.metrics import METRICS, is_spam
from pipeline.models import keras_files
from pipeline.models.baseline import DEFAULT_FOLDS, baseline_scorer, out_of_fold_scores
from pipeline.models.calibration import Budgets
from pipeline.models.scoring import calibrated_model, network_scorer
from pipeline.preprocessing.time_windows import newest_rows
from pipeline.preprocessing.tokenizer import read_spec

log = logging.getLogger(__name__)


class Params(Budgets):
    """The section `evaluate` of params.yaml."""

    resamples: int = Field(
        ge=1, le=1_000_000, description="of the bootstrap behind each 95 % interval"
    )
    seed: int = Field(
        ge=0, description="of the bootstrap, the attacks and the choice of messages for them"
    )


def main(argv: list[str] | None = None) -> None:
    inputs = ("messages", "calibration", "splits", "tokenizer", "evaluated", "network")
    outputs = ("out-of-fold", "decision", "mistakes", "report", "metrics", "plots")
    paths = parse_paths(argv, __doc__, *inputs, *outputs)
    params = read_params(Params, "evaluate")
    messages = read_parquet(paths.messages, MESSAGES.names).to_pandas()
    calibration = read_parquet(paths.calibration, MESSAGES.names).to_pandas()
    splits = read_parquet(paths.splits, SPLITS.names).to_pandas()
    tokenizer = read_spec(paths.tokenizer)
    evaluated, served = (
        network_scorer(tokenizer, keras_files.load(path))
        for path in (paths.evaluated, paths.network)
    )

    rows = messages.merge(splits, on="message_id")
    train, val, test = (
        rows[(rows["split"] == name) & ~rows["left_out"]].reset_index(drop=True)
        for name in ("train", "val", "test")
    )
    out_of_fold = train.merge(read_parquet(paths.out_of_fold).to_pandas(), on="message_id")
    newest = rows[newest_rows(rows) & ~rows["left_out"]]

    train_texts, test_texts = train["text"].tolist(), test["text"].tolist()
    svm = baseline_scorer(train_texts, is_spam(train))
    of_svm = out_of_fold.assign(score=0.0)
    if len(out_of_fold) and train["campaign_key"].nunique() > DEFAULT_FOLDS:
        keys = train["campaign_key"]
        of_svm = train.assign(score=out_of_fold_scores(train_texts, is_spam(train), keys))
    baseline = calibrated_model(svm, val, calibration, params, of_svm)
    ours = calibrated_model(evaluated, val, calibration, params, out_of_fold, served)
    ours_on_test, baseline_on_test = ours.predictions(test), baseline.predictions(test)

    bootstrap = {"resamples": params.resamples, "seed": params.seed}
    figures = report.comparison_figures(ours_on_test, baseline_on_test, **bootstrap)
    figures |= report.slice_figures(ours_on_test, test, **bootstrap)
    figures |= ours.decision_figures()
    figures |= report.confident_figures(ours_on_test, ours.confident(test), **bootstrap)
    figures |= report.newest_figures(
        ours.predictions(newest), baseline.predictions(newest), **bootstrap
    )
    for prefix, model in (("", ours), ("baseline.", baseline)):
        threshold = model.decisions.threshold  # attackers choose their source
        attacked = attack_figures(model.probabilities, threshold, test, params.seed)
        behaviours = pass_rates(model.probabilities, threshold, test_texts, params.seed)
        figures |= report.prefixed(f"{prefix}attacks", attacked)
        figures |= report.prefixed(f"{prefix}behaviours", behaviours)
    serving = replace(ours, score=served)
    figures |= report.served_figures(serving.predictions(test), ours_on_test, **bootstrap)
    figures |= report.served_newest_figures(serving.predictions(newest), **bootstrap)
    threshold = serving.decisions.threshold
    of_today = pass_rates(serving.probabilities, threshold, [], params.seed, OF_TODAY)
    figures |= report.prefixed("served.behaviours", of_today)
    summary = report.evaluation_summary(figures)
    mistakes = report.worst_mistakes(test, ours_on_test)

    write_json(paths.decision, asdict(ours.decisions))
    mistakes_table = pa.Table.from_pandas(mistakes, MISTAKES, preserve_index=False)
    write_parquet(paths.mistakes, mistakes_table.to_batches(), MISTAKES)
    with atomic_path(paths.plots) as folder:
        tables = plot_tables(ours_on_test) | plot_tables(baseline_on_test, suffix="_baseline")
        for name, (columns, points) in tables.items():
            write_csv(folder / f"{name}.csv", columns, points)
    write_report(paths.report, len(test), figures, summary)
    flat = round_figures({name: figures[name] for name in METRICS})
    write_json(paths.metrics, {name: figure["value"] for name, figure in flat.items()})
    log.info("evaluate: %s", summary)


if __name__ == "__main__":
    run_stage(main)
