"""Retrains when there is a reason: `python -m pipeline retrain decide`, then `run`.

decide brings what is new, holds it to the guard, and says in reports/retrain.json whether to retrain and why;
run retrains, and leaves a winner proposed: it serves once a line of the ledger that says so is merged.
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.core.dvc_cache import run_dvc
from pipeline.core.errors import OS_ERROR_REMEDIES, PipelineError
from pipeline.core.files import read_json, write_text
from pipeline.core.params import read_params
from pipeline.core.reports import Figure, write_report
from pipeline.registry.promotion import PROPOSES
from pipeline.retraining import github
from pipeline.retraining.history import default_branch, see_that_it_is_published
from pipeline.retraining.state import collect_state, follow
from pipeline.retraining.triggers import Decision, Params, decide

__all__ = ["Params"]

log = logging.getLogger(__name__)

REPORT = Path("reports/retrain.json")
REVIEW = Path("data/review")  # pages for a person
GUARDED = (
    "data/inbox",
    "data/ingested",
    ".downloads",
)  # where a line of the guard begins: the data's places
REFUSED = REVIEW / "refused.txt"  # what the guard said, a line each
ACTIONS = {"retrain": 0, "wait": 3, "blocked": 4, "refused": 5}  # and the exit code of `decide`
REVIEWED = "blocked", "refused"  # those that a person must look at


# ---- what is there


def prepare() -> list[str]:
    """Brings what is new and holds it to the guard; the lines in which the guard refuses it, if it does.

    Raises: PipelineError, where it is not the data that is at fault.
    """
    done = subprocess.run([sys.executable, "-m", "pipeline", "fetch", "--update"])
    if done.returncode:
        raise PipelineError(
            "retrain: a source could not be fetched, as said above; nothing was decided"
        )
    said = repro("validate")
    if others := [line for line in said if not of_data(line)]:
        raise PipelineError(f"{others[0]}; nothing was decided")
    return said


def of_data(line: str) -> bool:
    """Whether an error is about the messages, and not about params, pins or this machine."""
    machine = any(os.strerror(number) in line for number in OS_ERROR_REMEDIES)
    return line.startswith(GUARDED) and not machine


def repro(*targets: str, **environment: str) -> list[str]:
    """Runs `dvc repro`, and shows what it says; the lines that begin with `error:`, where it fails.

    Raises: PipelineError, where it fails without a word.
    """
    command = [sys.executable, "-m", "dvc", "repro", *targets]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as done:
        said = []
        for line in done.stderr or ():
            sys.stderr.write(line)
            said.append(line.rstrip("\n"))
    errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    if done.returncode and not errors:
        raise PipelineError("retrain: `dvc repro` failed, as it says above")
    return errors if done.returncode else []


# ---- the commands


def decision(request: str, force: bool, dry: bool) -> Decision:
    """What to do. Raises: PipelineError."""
    params = read_params(Params, "retrain")
    if dry:
        with tempfile.TemporaryDirectory() as pages:
            return decide(collect_state(request, force, params, "", Path(pages)), params)
    gone = follow()
    REFUSED.unlink(missing_ok=True)
    if refused := prepare():
        write_text(REFUSED, "".join(f"{line}\n" for line in refused))
        return Decision("refused", f"did not retrain: the guard refuses the data: {refused[0]}", {})
    return decide(collect_state(request, force, params, gone, REVIEW), params)


def tell(made: Decision, dry: bool) -> None:
    """Says it to the person, to programs, and to GitHub."""
    log.info("retrain: %s", made.sentence)
    if dry:
        return
    rows, figures = (
        made.answers.get("new_rows"),
        made.figures() | {"exit_code": Figure(ACTIONS[made.action])},
    )
    write_report(REPORT, int(rows.value or 0) if rows else 0, figures, made.sentence)
    github.output("decision", made.action)
    github.output("review", "yes" if made.action in REVIEWED else "no")
    github.output("sentence", made.sentence)
    listed = [
        f"| {name} | {answer.sentence} |"
        for name, answer in made.answers.items()
        if answer.sentence
    ]
    github.summary("\n".join([f"**{made.sentence}**", "", "| | |", "|---|---|", *listed]))


def run(dry: bool) -> None:
    """Retrains; a winner is proposed. Raises: PipelineError."""
    if dry:
        print(run_dvc("repro", "--dry", "--allow-missing").stdout, end="")
        return
    see_that_it_is_published(default_branch())
    if said := repro(**{PROPOSES: "1"}):
        raise PipelineError(f"retrain: nothing was retrained: {said[0]}")
    verdict = read_json(Path("reports/register.json"))["verdict"]
    github.summary(f"**{verdict}**")
    log.info("retrain: %s", verdict)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    codes = ", ".join(f"{code} {action}" for action, code in ACTIONS.items())
    asks = commands.add_parser(
        "decide",
        help="whether to retrain, and why",
        description=f"Exit codes: {codes}, 1 an error.",
    )
    asks.add_argument(
        "--request", default="", metavar="WHY", help="a person's reason, which needs no other"
    )
    asks.add_argument("--force", action="store_true", help="somebody has looked at what blocks")
    runs_it = commands.add_parser("run", help="retrains, and leaves a winner proposed")
    for one, dry in (
        (asks, "looks at what is here as it is, and tells nobody else"),
        (runs_it, "says which stages would run"),
    ):
        one.add_argument("--dry-run", action="store_true", help=dry)
    arguments = parser.parse_args(argv)
    if arguments.command == "run":
        run(arguments.dry_run)
        return
    made = decision(arguments.request.strip(), arguments.force, arguments.dry_run)
    tell(made, arguments.dry_run)
    sys.exit(ACTIONS[made.action])
