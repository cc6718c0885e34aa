"""Gives a stream of messages a calibration and a threshold of its own, without training.

FILE has labelled messages of the stream, in a format that ingest reads, with the columns and labels
of ingest.files in params.yaml. They are copied to data/inbox/calibration/, and `dvc repro` fits the
threshold, now and after each retraining. The budget of ham is evaluate.lost_ham_budget, or that of
the stream in evaluate.source_budgets; 1 % needs 99 ham, and 500 messages are a good number.
"""

import logging
import re
import shutil
from collections import Counter
from pathlib import Path

from pipeline.core.cli import argument_parser
from pipeline.core.dvc_cache import run_dvc
from pipeline.core.errors import PipelineError
from pipeline.core.files import atomic_path, read_json
from pipeline.core.params import read_params
from pipeline.core.reports import read_report
from pipeline.models.calibration import MISSED_SHARE, read_budgets
from pipeline.preprocessing.size_checks import budget_problem
from pipeline.registry import versions
from pipeline.registry.ledger import LedgerEntry
from pipeline.registry.model_package import MODEL_FILES, hash_model
from pipeline.registry.restore import FILE_NAMES
from pipeline.retraining.retrain import REGISTER_REPORT, run_repro
from pipeline.sources.catalogue import Params, check_calibration_name, read_labelled
from pipeline.sources.file_formats import INPUT_FORMATS, format_of
from pipeline.sources.kinds import CALIBRATION_FOLDER
from pipeline.sources.readers import SourceFile

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline calibrate labelled.csv --source support_chat"
CALIBRATION_INBOX = Path("data/inbox") / CALIBRATION_FOLDER
MODELS_FOLDER = Path("models")
FEWEST_SPAM = round(1 / MISSED_SHARE) - 1  # below, no label ham is known to be confident
OTHER_STAGES = r"Running stage '(ingest|validate|vectorize|train|evaluate)'"  # DVC's line
PROMOTED = (
    "calibrated: ",
    "refitted: ",
    "nothing new: this model is the champion",
)  # verdicts that serve it


def check_messages(file: Path, source: str) -> None:
    """Raises: PipelineError if the messages cannot be read, or do not suffice for the budget."""
    params = read_params(Params, "ingest")
    check_calibration_name(source, params, "--source")
    labels = dict[str, str]()  # by the text's id
    for batch in read_labelled(SourceFile(file, source, params.files, place=str(file))):
        labels |= zip(batch["message_id"].to_pylist(), batch["label"].to_pylist(), strict=True)
    counts = Counter(labels.values())
    if counts["spam"] < FEWEST_SPAM:
        raise PipelineError(f"{file}: has {counts['spam']} spam; {FEWEST_SPAM} are needed")
    if problem := budget_problem(counts["ham"], read_budgets().of(source)):
        raise PipelineError(f"{file}: {problem}")


def check_project() -> None:
    """Raises: PipelineError unless the outputs are up to date, and are those of the champion."""
    dry_run = run_dvc("repro", "--dry", "--allow-missing")
    stage = re.search(OTHER_STAGES, dry_run.stdout)
    if dry_run.returncode or stage:
        raise PipelineError(
            f"calibrate: {stage[1] if stage else 'dvc repro'} has work to do first; "
            "run `make repro`, then this again"
        )
    files = {name: MODELS_FOLDER / FILE_NAMES[name] for name in MODEL_FILES}
    hashes = hash_model(**files, splits=files["decision"])  # splits are no part of the model
    champion = LedgerEntry.from_version(versions.find_champion())
    ours = {name: hashes.md5s[name] for name in ("tokenizer", "network")}
    if champion is None or not ours.items() <= champion.files.items():
        raise PipelineError(
            "calibrate: models/ has another network than the champion; see "
            "`python -m pipeline ledger show`, and check out the commit of the champion"
        )


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("file", metavar="FILE", type=Path, help="labelled messages of the stream")
    parser.add_argument("--source", required=True, help="a name for the stream")
    arguments = parser.parse_args(argv)
    format_of(arguments.file.name, INPUT_FORMATS)
    check_messages(arguments.file, arguments.source)
    check_project()
    target = CALIBRATION_INBOX / f"{arguments.source}{arguments.file.suffix.lower()}"
    before = {path: path.read_bytes() for path in CALIBRATION_INBOX.glob(f"{arguments.source}.*")}
    with atomic_path(target) as temporary:
        shutil.copyfile(arguments.file, temporary)
    for path in before.keys() - {target}:
        path.unlink()
    if errors := run_repro():
        target.unlink()
        for path, content in before.items():
            path.write_bytes(content)
        raise PipelineError(f"calibrate: nothing was changed in {CALIBRATION_INBOX}: {errors[0]}")
    decision = read_json(MODELS_FOLDER / FILE_NAMES["decision"])["sources"][arguments.source]
    log.info(
        "calibrate: %s: %s of %s ham are labelled spam (of others at most %.2g %%), %s of %s spam",
        *(arguments.source, decision["ham_lost"], decision["ham"]),
        *(100 * decision["lost_ham_upper"], decision["spam_caught"], decision["spam"]),
    )
    verdict = read_report(REGISTER_REPORT)["verdict"]
    if not verdict.startswith(PROMOTED):
        raise PipelineError(f"calibrate: the threshold does not serve: {verdict}")
    log.info("calibrate: %s", verdict)
