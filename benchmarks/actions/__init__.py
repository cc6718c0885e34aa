"""Runs the project's own workflows of GitHub Actions without GitHub, and refuses whatever it does not model."""

from benchmarks.actions.expressions import WorkflowError
from benchmarks.actions.triggers import Event
from benchmarks.actions.workflow import check, starts

__all__ = ["Event", "WorkflowError", "check", "starts"]
