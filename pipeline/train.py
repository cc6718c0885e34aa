"""Trains a network on train for evaluate to judge, then on all splits the one that serves.

Early stopping of both is on held-out campaigns of train. The newest messages are in neither.
"""

import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, astuple
from itertools import chain

import pyarrow as pa

from pipeline.core.cli import parse_paths, run_stage, stage_options
from pipeline.core.hashing import files_sha256
from pipeline.core.params import read_params, read_yaml
from pipeline.core.reports import Figure, write_report
from pipeline.core.schemas import OUT_OF_FOLD, TRAINING_CURVES
from pipeline.core.tables import read_parquet, write_csv, write_parquet
from pipeline.models import keras_files
from pipeline.models.batches import rows_from_table
from pipeline.models.checkpoints import Checkpoint, training_key
from pipeline.models.training import (
    Epoch,
    Params,
    Trainer,
    best_epoch,
    out_of_fold_scores,
    split_rows,
)
from pipeline.models.workers import Workers, count_workers, is_chief, meet_workers
from pipeline.preprocessing.tokenizer import read_spec
from pipeline.tracking.live_runs import live_run

log = logging.getLogger(__name__)


INPUTS = ("tokenizer", "train", "val", "test")
OUTPUTS = ("evaluated", "network", "out-of-fold", "curves", "report")


def training_figures(
    curves: list[Epoch], weights: int, rows: int, stop_rows: int, served_rows: int
) -> dict[str, Figure]:
    """The figures of the report, those of the best epoch among them.

    Args:
        curves: of the network that evaluate judges.
        weights: number of weights of each network.
        rows: number of its training rows.
        stop_rows: number of rows held out for early stopping.
        served_rows: number of rows that the network that serves has learned from.
    """
    best = best_epoch(curves)
    return {
        "epochs": Figure(len(curves)),
        "best_epoch": Figure(best.epoch),
        "weights": Figure(weights),
        "loss": Figure(best.loss, n=rows),
        "accuracy": Figure(best.accuracy, n=rows),
        "stop_average_precision": Figure(best.stop_average_precision, n=stop_rows),
        "served_rows": Figure(served_rows),
    }


def training_verdict(model: str, curves: list[Epoch], stop_rows: int) -> str:
    """The best epoch, in a sentence. Args: stop_rows: held out for early stopping."""
    best = best_epoch(curves)
    return (
        f"{model}: epoch {best.epoch} of {len(curves)} is the best, average precision "
        f"{best.stop_average_precision:.4f} on {stop_rows} held-out messages"
    )


def log_last_epoch(curves: list[Epoch]) -> None:
    """Logs the figures of the last epoch."""
    epoch = curves[-1]
    log.info(
        "epoch %d: loss %.4f, accuracy %.4f, held-out average precision %.4f",
        epoch.epoch,
        epoch.loss,
        epoch.accuracy,
        epoch.stop_average_precision,
    )


def open_checkpoint(key: str, workers: Workers) -> Checkpoint:
    """The checkpoint of a training; every worker has the state of the chief's."""
    checkpoint = Checkpoint(key, "" if workers.is_chief else f"worker{workers.index}")
    content = workers.from_chief(checkpoint.read_bytes() if workers.is_chief else b"")
    if not workers.is_chief:
        checkpoint.replace(content)
    return checkpoint


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the stage, or helps the chief to run it: TF_CONFIG says which worker this is.

    Args:
        argv: the named paths; those of dvc.yaml if there are none.
    """
    options = sys.argv[1:] if argv is None else argv
    paths = parse_paths(options or stage_options("train"), __doc__, *INPUTS, *OUTPUTS)
    params = read_params(Params, "train")
    as_written = {"train": read_yaml()["train"]}  # 1 stays 1, not 1.0: register logs it again
    folders = (paths.train, paths.val, paths.test)
    table, *other_tables = (read_parquet(folder).to_pandas() for folder in folders)
    spec = read_spec(paths.tokenizer)
    shards, *other_shards = (sorted(folder.iterdir()) for folder in folders)
    count = count_workers()
    identity = as_written if count == 1 else [as_written, count]  # each worker drops other units
    key = training_key(identity, paths.tokenizer, *shards)
    refit_key = training_key([key, "refit"], *chain(*other_shards))
    rows, stop = split_rows(table, params)
    everything = sum(map(rows_from_table, other_tables), start=rows) if params.refit else rows

    workers = meet_workers()
    run = live_run(params.model, as_written, key) if workers.is_chief else nullcontext()
    with workers.failures_in_one_line(), run as live:
        workers.require_equal(refit_key)
        checkpoints = [open_checkpoint(name, workers) for name in (key, refit_key)]

        def report(curves: list[Epoch]) -> None:
            if live:
                live.log_curves([asdict(epoch) for epoch in curves])
            log_last_epoch(curves)

        trainer = Trainer(spec, params, workers)
        curves = trainer.train(rows, stop, report, checkpoints[0])
        weights = trainer.model.count_params()
        if workers.is_chief:
            keras_files.save(trainer.model, paths.evaluated)
        served_rows = len(everything.labels) + len(stop.labels)
        if params.refit:
            log.info("the network that serves is trained on %s messages", f"{served_rows:,}")
            trainer.train(everything, stop, log_last_epoch, checkpoints[1])
        if live:
            keras_files.save(trainer.model, paths.network)
            live.finish(files_sha256(paths.network))
        few = table if len(table) <= params.out_of_fold_rows else table.iloc[:0]
        scored = few.assign(score=out_of_fold_scores(few, trainer)).dropna(subset="score")

    if not workers.is_chief:
        log.info("train: the chief writes the outputs")
        return
    scores = pa.Table.from_pandas(scored[OUT_OF_FOLD.names], OUT_OF_FOLD, preserve_index=False)
    write_parquet(paths.out_of_fold, scores.to_batches(), OUT_OF_FOLD)
    verdict = training_verdict(params.model, curves, len(stop.labels))
    figures = training_figures(
        curves, weights, len(rows.labels), len(stop.labels), served_rows=served_rows
    )
    write_csv(paths.curves, TRAINING_CURVES.names, map(astuple, curves))
    write_report(paths.report, len(table), figures, verdict)
    for checkpoint in checkpoints:
        checkpoint.finish()
    log.info("train: %s", verdict)


if __name__ == "__main__":
    run_stage(main, has_lock=is_chief)
