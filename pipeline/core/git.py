"""Runs Git."""

import os
import subprocess

from pipeline.core.errors import PipelineError


def run_git(*command: str, **environment: str) -> str:
    done = subprocess.run(
        ["git", *command], capture_output=True, text=True, env={**os.environ, **environment}
    )
    if done.returncode:
        raise PipelineError(f"git {command[0]}: {' '.join(done.stderr.split())[-300:]}")
    return done.stdout


def try_git(*command: str) -> str | None:
    """What a command of Git says; None where it fails."""
    done = subprocess.run(["git", *command], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None
