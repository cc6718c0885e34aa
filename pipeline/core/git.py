"""Runs Git in the current folder."""

import os
import re
import subprocess

from pipeline.core.errors import PipelineError

COMMIT = re.compile(r"[0-9a-f]{40,64}")  # the full hash of a commit


def run_git(*command: str, **environment: str) -> str:
    """The output of a Git command, with these environment variables added.

    Raises: PipelineError, with Git's error message.
    """
    process = subprocess.run(
        ["git", *command], capture_output=True, text=True, env={**os.environ, **environment}
    )
    if process.returncode:
        raise PipelineError(f"git {command[0]}: {' '.join(process.stderr.split())}")
    return process.stdout


def try_git(*command: str) -> str | None:
    """The output of a Git command; None if it fails."""
    process = subprocess.run(["git", *command], capture_output=True, text=True)
    return process.stdout if process.returncode == 0 else None
