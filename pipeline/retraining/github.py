"""Talks to GitHub: outputs of a step, the summary of a job, pull requests and issues."""

import json
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import PipelineError, redact_credentials, shorten

log = logging.getLogger(__name__)

LABEL = "retrain"  # of every pull request and issue that is opened here
MAX_BODY = 60_000  # characters of a pull request, issue or comment; GitHub takes 65,536


# ---- the running job


def write_output(name: str, value: str) -> None:
    """Sets an output of the running step, on one line. Does nothing outside GitHub Actions."""
    _append("GITHUB_OUTPUT", f"{name}={' '.join(value.split())}\n")


def write_summary(markdown: str) -> None:
    """Adds a paragraph to the page of the running job. Does nothing outside GitHub Actions."""
    _append("GITHUB_STEP_SUMMARY", f"{markdown}\n\n")


def _append(variable: str, text: str) -> None:
    if path := os.environ.get(variable):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(redact_credentials(text))


def raw_url(commit: str, path: str) -> str:
    """The address of a file in a commit, for images in a pull request; the path outside GitHub."""
    repository = _repository_url()
    return f"{repository}/raw/{commit}/{path}" if repository else path


def job_url() -> str:
    """The address of the running job, which lists its artifacts; empty outside GitHub."""
    repository, run_id = _repository_url(), os.environ.get("GITHUB_RUN_ID")
    return f"{repository}/actions/runs/{run_id}" if repository and run_id else ""


def _repository_url() -> str:
    server = os.environ.get("GITHUB_SERVER_URL")
    repository = os.environ.get("GITHUB_REPOSITORY")
    return f"{server}/{repository}" if server and repository else ""


# ---- pull requests and issues


def is_available() -> bool:
    """Whether pull requests and issues can be opened: `gh` and GH_TOKEN are there."""
    return bool(shutil.which("gh") and os.environ.get("GH_TOKEN"))


@dataclass(frozen=True)
class PullRequest:
    """A pull request; `open` is false once it is merged or closed."""

    number: int
    branch: str
    open: bool


def list_pull_requests() -> list[PullRequest]:
    """All pull requests for own branches, the newest first. Raises: PipelineError."""
    fields = "number,headRefName,state,isCrossRepository"
    listed = json.loads(_gh("pr", "list", "--state", "all", "--limit", "1000", "--json", fields))
    return [
        PullRequest(request["number"], request["headRefName"], request["state"] == "OPEN")
        for request in listed
        if not request["isCrossRepository"]
    ]


def open_pull_request(branch: str, base: str, title: str, body: str) -> None:
    """Opens a pull request for the branch, unless another run just did. Raises: PipelineError."""
    _create_label()
    with _body_file(body) as path:
        content = ("--title", title, "--body-file", path, "--label", LABEL)
        try:
            _gh("pr", "create", "--head", branch, "--base", base, *content)
        except PipelineError as error:
            if "already exists" not in str(error):
                raise
            log.info("%s: its pull request is open already", branch)


def close_pull_request(number: int, reason: str) -> None:
    """Closes a pull request with a comment. Raises: PipelineError."""
    _gh("pr", "close", str(number), "--comment", reason)


def open_issue(title: str, body: str) -> None:
    """Opens an issue, or adds a comment to the open issue with this title.

    Logs a warning where issues are disabled, as in most forks. Raises: PipelineError.
    """
    try:
        listed = _gh("issue", "list", "--state", "open", "--label", LABEL, "--json", "number,title")
    except PipelineError as error:
        if "has disabled issues" not in str(error):
            raise
        log.warning("warning: issues are disabled in this repository; not reported: %s", title)
        return
    numbers = {issue["title"]: str(issue["number"]) for issue in json.loads(listed)}
    with _body_file(body) as path:
        if title in numbers:
            _gh("issue", "comment", numbers[title], "--body-file", path)
            return
        _create_label()
        _gh("issue", "create", "--title", title, "--body-file", path, "--label", LABEL)


def _create_label() -> None:
    _gh("label", "create", LABEL, "--force")


@contextmanager
def _body_file(body: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.md"
        path.write_text(shorten(redact_credentials(body), MAX_BODY), encoding="utf-8")
        yield str(path)


def _gh(*arguments: str) -> str:
    process = subprocess.run(["gh", *arguments], capture_output=True, text=True)
    if process.returncode:
        problem = " ".join(process.stderr.split())
        raise PipelineError(
            f"gh {' '.join(arguments[:2])}: {problem}; check the token and the job's permissions"
        )
    return process.stdout
