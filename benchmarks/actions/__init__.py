"""Runs the project's own workflows of GitHub Actions without GitHub, and refuses whatever it does not model.

    github = GitHub(origin=Path("origin.git"), folder=Path("hub"), secrets={"TOKEN": "s3cret"})
    result = run(Path(".github/workflows/retrain.yml"), Event("schedule"), github, Path("runs/1"))
    assert result.success, [step.log for step in result.jobs["retrain"].steps]

It models what those workflows use, and nothing more: who adds a key, a function or an action to a workflow
is told by one line that names file, job and step, and adds it here too. So a workflow cannot use what a
rehearsal would silently skip. The module `gh` stands in for GitHub's program of that name, and reads the
pull requests and issues that it left.
"""

from benchmarks.actions.expressions import WorkflowError
from benchmarks.actions.machine import GitHub
from benchmarks.actions.runner import Job, Result, Step, run
from benchmarks.actions.workflow import Event, check, starts

__all__ = ["Event", "GitHub", "Job", "Result", "Step", "WorkflowError", "check", "run", "starts"]
