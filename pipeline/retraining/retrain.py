"""Decides whether to retrain, and retrains.

`decide` fetches new data, validates it, and writes the decision and its reasons to
reports/retrain.json. `run` retrains with `dvc repro`. A new model that wins is only proposed: it
becomes the champion when its line of ledger.jsonl is merged.
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.cli import argument_parser
from pipeline.core.dvc_cache import remove_torn_locks, run_dvc
from pipeline.core.errors import ERROR_PREFIX, OS_ERROR_REMEDIES, PipelineError, clean_line
from pipeline.core.files import write_text
from pipeline.core.params import read_params
from pipeline.core.reports import Figure, read_report, write_report
from pipeline.registry.registration import PROPOSE_VARIABLE
from pipeline.retraining import github
from pipeline.retraining.history import default_branch, require_published
from pipeline.retraining.state import collect_state, try_follow_ledger
from pipeline.retraining.triggers import Params, RetrainingDecision, decide_retraining

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline retrain decide && python -m pipeline retrain run"
DECIDE_EXAMPLE = "python -m pipeline retrain decide --request 'a new spam campaign'"
RUN_EXAMPLE = "python -m pipeline retrain run --dry-run"
REPORT = Path("reports/retrain.json")
REGISTER_REPORT = Path("reports/register.json")
REVIEW_FOLDER = Path("data/review")  # pages for a person
REFUSED_FILE = REVIEW_FOLDER / "refused.txt"  # the errors of validate, one on each line
DATA_PLACES = ("data/inbox", "data/ingested", ".downloads")  # an error in the data starts with one


@dataclass(frozen=True)
class Action:
    """What follows from a decision: the exit code of `decide`, and whether a person must look."""

    exit_code: int
    needs_review: bool = False


ACTIONS = {
    "retrain": Action(0),
    "wait": Action(3),
    "blocked": Action(4, needs_review=True),
    "refused": Action(5, needs_review=True),
}


# ---- new data


def prepare_data() -> list[str]:
    """Fetches and validates new data; returns the errors in the data, if there are any.

    Raises: PipelineError, if something else than the data is wrong.
    """
    fetch = subprocess.run([sys.executable, "-m", "pipeline", "fetch", "--update"])
    if fetch.returncode:
        raise PipelineError(
            "retrain: a source could not be fetched, see the error above; nothing was decided"
        )
    errors = run_repro("validate")
    if other_errors := [line for line in errors if not is_data_error(line)]:
        raise PipelineError(f"{other_errors[0]}; nothing was decided")
    return errors


def is_data_error(line: str) -> bool:
    """Whether an error is about the messages, and not about params, pins or this machine."""
    from_machine = any(os.strerror(number) in line for number in OS_ERROR_REMEDIES)
    return line.startswith(DATA_PLACES) and not from_machine


def run_repro(*targets: str, **environment: str) -> list[str]:
    """Runs `dvc repro` and shows its output; returns its lines that begin with `error:`.

    Returns an empty list if it succeeds. Raises: PipelineError, if it fails without such a line.
    """
    remove_torn_locks()
    command = [sys.executable, "-m", "dvc", "repro", *targets]
    lines = []
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        env={**os.environ, **environment},
    ) as process:
        for line in process.stderr or ():
            lines.append(clean_line(line.rstrip("\n")))
            sys.stderr.write(f"{lines[-1]}\n")
    if process.returncode == 0:
        return []
    errors = [line.removeprefix(ERROR_PREFIX) for line in lines if line.startswith(ERROR_PREFIX)]
    if not errors:
        raise PipelineError("retrain: `dvc repro` failed, see its output above")
    return errors


# ---- the commands


def make_decision(request: str, force: bool, dry_run: bool) -> RetrainingDecision:
    """Decides what to do; a dry run neither fetches nor validates. Raises: PipelineError."""
    params = read_params(Params, "retrain")
    if dry_run:
        with tempfile.TemporaryDirectory() as pages:
            return decide_retraining(collect_state(request, force, params, "", Path(pages)), params)
    champion_error = try_follow_ledger()
    REFUSED_FILE.unlink(missing_ok=True)
    if errors := prepare_data():
        write_text(REFUSED_FILE, "".join(f"{line}\n" for line in errors))
        sentence = f"no retraining: validation refuses the data: {errors[0]}"
        return RetrainingDecision("refused", sentence, {})
    state = collect_state(request, force, params, champion_error, REVIEW_FOLDER)
    return decide_retraining(state, params)


def report_decision(decision: RetrainingDecision) -> None:
    """Writes reports/retrain.json, and the outputs and the summary of a job on GitHub."""
    action = ACTIONS[decision.action]
    new_rows = decision.answers["new_rows"].value if decision.answers else None
    figures = decision.figures() | {"exit_code": Figure(action.exit_code)}
    write_report(REPORT, int(new_rows or 0), figures, decision.sentence)
    github.write_output("decision", decision.action)
    github.write_output("review", "yes" if action.needs_review else "no")
    github.write_output("sentence", decision.sentence)
    table = [
        f"| {name} | {answer.sentence} |"
        for name, answer in decision.answers.items()
        if answer.sentence
    ]
    github.write_summary("\n".join([f"**{decision.sentence}**", "", "| | |", "|---|---|", *table]))


def run_retraining(dry_run: bool) -> None:
    """Retrains; a winner is proposed, not promoted. Raises: PipelineError."""
    if dry_run:
        stages = run_dvc("repro", "--dry", "--allow-missing")
        print(stages.stdout, end="")
        if stages.returncode:
            raise PipelineError(f"retrain: `dvc repro --dry`: {' '.join(stages.stderr.split())}")
        return
    require_published(default_branch())
    if errors := run_repro(**{PROPOSE_VARIABLE: "1"}):
        raise PipelineError(f"retrain: nothing was retrained: {errors[0]}")
    verdict = read_report(REGISTER_REPORT)["verdict"]
    github.write_summary(f"**{verdict}**")
    log.info("retrain: %s", verdict)


def _parser() -> argparse.ArgumentParser:
    parser = argument_parser(__doc__, EXAMPLE)
    commands = parser.add_subparsers(dest="command", required=True)
    codes = ", ".join(f"{action.exit_code} {name}" for name, action in ACTIONS.items())
    decide_parser = commands.add_parser(
        "decide",
        help="decide whether to retrain, and say why",
        description=f"Decides whether to retrain. Exit codes: {codes}, 1 an error.",
        epilog=f"example: {DECIDE_EXAMPLE}",
    )
    decide_parser.add_argument(
        "--request",
        type=clean_line,
        default="",
        metavar="WHY",
        help="retrain for this reason, without waiting",
    )
    decide_parser.add_argument(
        "--force", action="store_true", help="retrain although the new labels raised an alarm"
    )
    decide_parser.add_argument(
        "--dry-run", action="store_true", help="use the data that is here, and write no report"
    )
    run_parser = commands.add_parser(
        "run",
        help="retrain, and propose the new model if it wins",
        description="Retrains with `dvc repro`; a new model that wins is only proposed.",
        epilog=f"example: {RUN_EXAMPLE}",
    )
    run_parser.add_argument(
        "--dry-run", action="store_true", help="only list the stages that would run"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Runs `decide`, whose exit code tells the action, or `run`."""
    arguments = _parser().parse_args(argv)
    if arguments.command == "run":
        run_retraining(arguments.dry_run)
        return
    decision = make_decision(arguments.request.strip(), arguments.force, arguments.dry_run)
    log.info("retrain: %s", decision.sentence)
    if not arguments.dry_run:
        report_decision(decision)
    sys.exit(ACTIONS[decision.action].exit_code)
