"""Runs a command: `python -m pipeline COMMAND ...`; without a command, lists all of them."""

import importlib
import sys

from pipeline.core.cli import run_command
from pipeline.core.errors import PipelineError

COMMANDS = {  # name: (module whose main(argv) runs it, what it does)
    "fetch": ("pipeline.sources.fetch", "pin and download the data sources"),
    "review": ("pipeline.validation.review", "list quarantined rows, or explain the expectations"),
    "review-page": ("pipeline.serving.review.command", "decide about messages in a browser"),
    "tune": ("pipeline.models.tune", "search for better training params"),
    "calibrate": ("pipeline.retraining.calibrate", "fit a threshold to a stream of one's own"),
    "predict": ("pipeline.serving.predict", "say whether messages are spam, and why"),
    "score": ("pipeline.serving.batch", "label a file of messages with the champion"),
    "serve": ("pipeline.serving.http.server", "serve the champion over HTTP"),
    "ui": ("pipeline.tracking.ui", "browse runs and models in MLflow"),
    "drift": ("pipeline.monitoring.drift", "compare new messages with the training data"),
    "performance": (
        "pipeline.monitoring.performance_estimate",
        "estimate ham lost and recall without labels",
    ),
    "poisoning": ("pipeline.monitoring.poisoning", "look for planted labels in new messages"),
    "label-noise": ("pipeline.monitoring.label_noise", "list labels that a model disputes"),
    "memory-trace": ("pipeline.models.memory_trace", "draw what a dnc network writes and reads"),
    "ledger": ("pipeline.registry.ledger_cli", "show, verify, roll back or restore the champion"),
    "report": ("pipeline.serving.report_command", "write the decision report of the last model"),
    "history": ("pipeline.registry.pages.champion_history", "write a page of all champions"),
    "forget": ("pipeline.retraining.forget", "remove messages from the project's files"),
    "begin-anew": ("pipeline.registry.begin_anew", "end the champion's service, for other data"),
    "retrain": ("pipeline.retraining.retrain", "decide whether to retrain, and retrain"),
    "propose": ("pipeline.retraining.pull_requests", "open a pull request for the new champion"),
}


def usage() -> str:
    """The list of all commands, one line each."""
    lines = [f"  {name:12} {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: python -m pipeline COMMAND ...",
            "",
            *lines,
            "",
            "The six stages run with `dvc repro`. COMMAND --help shows a command's arguments.",
        ]
    )


def main(argv: list[str]) -> None:
    """Runs the command that `argv` names. Raises: PipelineError for an unknown command."""
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return
    name, *arguments = argv
    if name not in COMMANDS:
        choices = ", ".join(COMMANDS)
        raise PipelineError(f"python -m pipeline: unknown command {name!r}; choose from {choices}")
    sys.argv[0] = f"python -m pipeline {name}"  # argparse takes its `usage:` line from here
    importlib.import_module(COMMANDS[name][0]).main(arguments)


if __name__ == "__main__":
    run_command(lambda: main(sys.argv[1:]))
