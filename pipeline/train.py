"""Trains the network on token ids, stops early on campaigns it never trained on, keeps the best weights."""

import logging

import keras

from pipeline.core.cli import parse_paths, run_stage
from pipeline.core.files import read_json
from pipeline.core.hashing import combined_sha256
from pipeline.core.params import read_params, read_yaml
from pipeline.core.reports import Figure, write_report
from pipeline.core.schemas import TRAINING_CURVES
from pipeline.core.tables import read_parquet, write_csv
from pipeline.models import checkpoints, keras_files
from pipeline.models.batches import Rows
from pipeline.models.checkpoints import Checkpoint
from pipeline.models.training import Epoch, Params, best_epoch, fit, split_rows
from pipeline.tracking import runs

log = logging.getLogger(__name__)


def figures_of(
    curves: list[Epoch], model: keras.Model, rows: Rows, stop: Rows
) -> dict[str, Figure]:
    best = best_epoch(curves)
    return {
        "epochs": Figure(len(curves)),
        "best_epoch": Figure(best.epoch),
        "weights": Figure(model.count_params()),
        "loss": Figure(best.loss, n=len(rows.labels)),
        "accuracy": Figure(best.accuracy, n=len(rows.labels)),
        "stop_average_precision": Figure(best.stop_average_precision, n=len(stop.labels)),
    }


def main(argv: list[str] | None = None) -> None:
    names = "tokenizer", "shards", "network", "curves", "report"
    tokenizer, shards, network, curves_path, report = vars(
        parse_paths(argv, __doc__, *names)
    ).values()
    params = read_params(Params, "train")

    table = read_parquet(shards).to_pandas()
    rows, stop = split_rows(table, params)
    spec = read_json(tokenizer)
    as_written = {"train": read_yaml()["train"]}  # 0, where params say 0.0: register logs it again
    key = checkpoints.key_of(as_written, tokenizer, *sorted(shards.iterdir()))
    saved = Checkpoint(key)
    with runs.live_run(params.model, as_written, key) as live:

        def told(curves: list[Epoch]) -> None:
            live.log_curves([vars(epoch) for epoch in curves])
            log.info(
                "epoch %d: loss %.4f, accuracy %.4f, held out: average precision %.4f",
                *(
                    curves[-1].epoch,
                    curves[-1].loss,
                    curves[-1].accuracy,
                    curves[-1].stop_average_precision,
                ),
            )

        model, curves = fit(rows, stop, spec, params, told, saved)
        keras_files.save(model, network)
        live.finish(combined_sha256(network))

    write_csv(curves_path, TRAINING_CURVES.names, [tuple(vars(e).values()) for e in curves])
    best = best_epoch(curves)
    verdict = (
        f"{params.model}: epoch {best.epoch} of {len(curves)} is the best, "
        f"average precision {best.stop_average_precision:.4f} on {len(stop.labels)} held-out messages"
    )
    write_report(report, len(table), figures_of(curves, model, rows, stop), verdict)
    saved.finish()
    log.info("train: %s", verdict)


if __name__ == "__main__":
    run_stage(main)
