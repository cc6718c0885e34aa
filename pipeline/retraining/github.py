"""What GitHub is told: a step's outputs, a job's summary, pull requests and issues."""

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

from pipeline.core.errors import PipelineError, redact_credentials

log = logging.getLogger(__name__)

LABEL = "retrain"  # of all that is opened here


def output(name: str, value: str) -> None:
    """An output of the step, where one is running."""
    _append("GITHUB_OUTPUT", f"{name}={' '.join(value.split())}\n")


def summary(markdown: str) -> None:
    """A paragraph of the job's page, where one is running."""
    _append("GITHUB_STEP_SUMMARY", f"{markdown}\n\n")


def _append(variable: str, text: str) -> None:
    if path := os.environ.get(variable):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(redact_credentials(text))


def raw(commit: str, path: str) -> str:
    """The address of a file of a commit, as pictures in a pull request need it; the path outside GitHub."""
    server, repository = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
    return f"{server}/{repository}/raw/{commit}/{path}" if server and repository else path


def run() -> str:
    """The address of the job that is running, where its artifacts are; empty outside GitHub."""
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    server, repository, number = (os.environ.get(name) for name in names)
    return f"{server}/{repository}/actions/runs/{number}" if number else ""


def there() -> bool:
    """Whether pull requests and issues can be opened from here."""
    return bool(shutil.which("gh") and os.environ.get("GH_TOKEN"))


@dataclass(frozen=True)
class PullRequest:
    """One that was opened once, whatever has become of it."""

    number: int
    branch: str
    open: bool


def pull_requests() -> list[PullRequest]:
    """All of this repository's own branches, by whomever, the newest first. Raises: PipelineError."""
    fields = "number,headRefName,state,isCrossRepository"
    told = json.loads(_gh("pr", "list", "--state", "all", "--limit", "1000", "--json", fields))
    ours = (one for one in told if not one["isCrossRepository"])
    return [PullRequest(one["number"], one["headRefName"], one["state"] == "OPEN") for one in ours]


def pull_request(branch: str, base: str, title: str, body: str) -> None:
    """Opens a pull request for the branch. Raises: PipelineError."""
    _label()
    with _file(body) as path:
        wanted = ("--title", title, "--body-file", path, "--label", LABEL)
        _gh("pr", "create", "--head", branch, "--base", base, *wanted)


def close_pull_request(number: int, why: str) -> None:
    """Closes it with a comment. Raises: PipelineError."""
    _gh("pr", "close", str(number), "--comment", why)


def issue(title: str, body: str) -> None:
    """Opens an issue, or says it below the one of this title that is open; in a fork issues may be off.

    Raises: PipelineError.
    """
    try:
        listed = _gh("issue", "list", "--state", "open", "--label", LABEL, "--json", "number,title")
    except PipelineError as error:
        if "has disabled issues" not in str(error):
            raise
        log.warning("warning: issues are off in this repository, so nobody is told: %s", title)
        return
    known = json.loads(listed)
    number = next((str(one["number"]) for one in known if one["title"] == title), None)
    with _file(body) as path:
        if number:
            _gh("issue", "comment", number, "--body-file", path)
            return
        _label()
        _gh("issue", "create", "--title", title, "--body-file", path, "--label", LABEL)


def _label() -> None:
    _gh("label", "create", LABEL, "--force")


@contextmanager
def _file(body: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.md"
        path.write_text(redact_credentials(body), encoding="utf-8")
        yield str(path)


def _gh(*arguments: str) -> str:
    done = subprocess.run(["gh", *arguments], capture_output=True, text=True)
    if done.returncode:
        said = " ".join(done.stderr.split())[-300:]
        raise PipelineError(
            f"gh {' '.join(arguments[:2])}: {said}; see the job's permissions and token"
        )
    return done.stdout
