"""Gives a stream of messages a calibration and a threshold of its own, without training.

FILE has labelled messages of the stream, in a format that ingest reads, with the columns and labels
of ingest.files in params.yaml. They are copied to data/inbox/calibration/, and `dvc repro` fits the
threshold, now and after each retraining. The budget of ham is evaluate.lost_ham_budget, or that of
the stream in evaluate.source_budgets; 1 % needs 99 ham, and 500 messages are a good number.
"""

import logging
import shutil
from collections import Counter
from pathlib import Path

from pipeline.core.cli import argument_parser
from pipeline.core.errors import PipelineError
from pipeline.core.files import atomic_path, read_json
from pipeline.core.params import read_params
from pipeline.core.reports import read_report
from pipeline.models.calibration import read_budgets
from pipeline.preprocessing.size_checks import budget_problem
from pipeline.retraining.retrain import REGISTER_REPORT, run_repro
from pipeline.sources.catalogue import (
    CALIBRATION_FOLDER,
    Params,
    check_calibration_name,
    read_labelled,
)
from pipeline.sources.file_formats import format_of
from pipeline.sources.readers import SourceFile

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline calibrate labelled.csv --source support_chat"
CALIBRATION_INBOX = Path("data/inbox") / CALIBRATION_FOLDER
DECISION = Path("models/decision.json")


def check_messages(file: Path, source: str) -> None:
    """Raises: PipelineError if the messages cannot be read, or do not suffice for the budget."""
    params = read_params(Params, "ingest")
    check_calibration_name(source, params, "--source")
    labels = dict[str, str]()  # by the text's id
    for batch in read_labelled(SourceFile(file, source, params.files, place=str(file))):
        labels |= zip(batch["message_id"].to_pylist(), batch["label"].to_pylist(), strict=True)
    counts = Counter(labels.values())
    if not counts["spam"]:
        raise PipelineError(f"{file}: has no spam; bring more labelled messages")
    if problem := budget_problem(counts["ham"], read_budgets().of(source)):
        raise PipelineError(f"{file}: {problem}")


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("file", metavar="FILE", type=Path, help="labelled messages of the stream")
    parser.add_argument("--source", required=True, help="a name for the stream")
    arguments = parser.parse_args(argv)
    format_of(arguments.file.name)
    check_messages(arguments.file, arguments.source)
    target = CALIBRATION_INBOX / f"{arguments.source}{arguments.file.suffix.lower()}"
    others = [path for path in CALIBRATION_INBOX.glob(f"{arguments.source}.*") if path != target]
    with atomic_path(target) as temporary:
        shutil.copyfile(arguments.file, temporary)
    for path in others:
        path.unlink()
    if errors := run_repro():
        raise PipelineError(f"calibrate: {target} is there, but: {errors[0]}")
    decision = read_json(DECISION)["sources"][arguments.source]
    log.info(
        "calibrate: %s: %s of %s ham are labelled spam (of others at most %.2g %%), %s of %s spam",
        *(arguments.source, decision["ham_lost"], decision["ham"]),
        *(100 * decision["lost_ham_upper"], decision["spam_caught"], decision["spam"]),
    )
    log.info("calibrate: %s", read_report(REGISTER_REPORT)["verdict"])
