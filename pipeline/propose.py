"""Brings a retraining to a person: a commit on a branch, and a pull request with figures and pictures.

`python -m pipeline.propose` follows `python -m pipeline.retrain run`; with `--issue` it opens an issue about
data that the guard refused, or that looks tampered with. `retrain.auto_merge` puts a winner on the default
branch itself.
"""

import argparse
import logging
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import cache, github, ledger, plots, restore, stage
from pipeline.reasons import Params
from pipeline.retrain import MARK, REFUSED, REPORT, git
from pipeline.stage import PipelineError

log = logging.getLogger(__name__)

REGISTERED = Path("reports/register.json")
PICTURES = Path("reports/retrain")
SHOWN = (
    "precision_recall",
    "roc",
    "calibration",
)  # of the plots in dvc.yaml: the champion's and the challenger's
INBOX = "data/inbox"
MADE = ("dvc.lock", "reports", "ledger.jsonl", "data/sources.lock.json", INBOX, "data/inbox.dvc")
TRIES = 3  # of a push that lost a race


# ---- what a person sees


def pictures(definitions: Sequence[Mapping[str, Any]]) -> list[Path]:
    """The plots of SHOWN before and after, as PNG."""
    with tempfile.TemporaryDirectory() as folder:
        both: list[Mapping[str, Mapping[str, Any]]] = [
            {name: _before_and_after(entry, Path(folder) / name)}
            for one in definitions
            for name, entry in one.items()
            if name in SHOWN
        ]
        drawn = plots.draw(both)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        figure.savefig(PICTURES / f"{name}.png", dpi=80)
    return [PICTURES / f"{name}.png" for name in drawn]


def _before_and_after(entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The entry of dvc.yaml with our file as the last commit has it and as it is now."""
    ours, column = next(iter(entry["y"].items()))
    folder.mkdir()
    files = {"before": git("show", f"HEAD:{ours}"), "now": Path(ours).read_text(encoding="utf-8")}
    there = {folder / f"{name}.csv": content for name, content in files.items() if content is not None}
    for path, content in there.items():
        path.write_text(content, encoding="utf-8")
    x = entry["x"][ours]
    return {**entry, "x": {str(path): x for path in there}, "y": {str(path): column for path in there}}


def words(verdict: str, version: str | None, champion: ledger.Entry | None) -> str:
    """The pull request's text, without its pictures."""
    why = stage.read_json(REPORT)["verdict"] if REPORT.exists() else ""
    offer = (
        f"Merging this makes version {version} the champion. Closing it changes nothing."
        if version
        else "The champion stays. There is nothing to merge."
    )
    tables = difference("metrics", "HEAD"), difference("params", champion.commit if champion else "HEAD")
    return "\n\n".join([f"**{verdict}**", *filter(None, [why, offer, *tables])])


def difference(kind: str, since: str) -> str:
    """What DVC says has changed since that commit, in Markdown; empty where nothing has."""
    head, *rows = cache.dvc(kind, "diff", "--md", "--no-path", since).stdout.strip().splitlines() or [""]
    head = re.sub(r"[^|]+\| *workspace ", " before | now ", head)  # where it has a commit, and the files here
    return "\n".join([head, *rows]) if len(rows) > 1 else ""


# ---- the commit


def winner_of(verdict: str) -> ledger.Entry | None:
    """The line that register wrote with this verdict, and that the last commit does not have."""
    told = (git("show", f"HEAD:{ledger.LEDGER}") or "").splitlines()
    added = (entry for entry in ledger.read() if entry.line() not in told)
    return next((entry for entry in added if f"{entry.verdict}: {entry.reason}" == verdict), None)


def commit(*paragraphs: str) -> str:
    """A commit of what a retraining makes, on no branch; its hash. Files and branch here stay as they are.

    Raises: PipelineError.
    """
    there = [path for path in MADE if Path(path).exists() and git("check-ignore", "--quiet", path) is None]
    if set((git("ls-files", INBOX) or "").split()) <= {f"{INBOX}/.gitkeep"}:
        there = [path for path in there if path != INBOX]  # no message goes to a Git that has none yet
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        _must("read-tree", "HEAD", **index)
        _must("add", "--all", "--", *there, **index)
        tree = _must("write-tree", **index).strip()
    return _commit(tree, "HEAD", "\n\n".join(paragraphs))


def _commit(tree: str, parent: str, message: str) -> str:
    return _must("commit-tree", tree, "-p", parent, "-m", message).strip()


def merge(made: str, branch: str) -> bool:
    """Puts a commit on that branch at origin; False where what came meanwhile cannot be joined with it."""
    message = _must("log", "-1", "--format=%B", made)
    for _ in range(TRIES):
        if git("push", "--quiet", "origin", f"{made}:refs/heads/{branch}") is not None:
            return True
        _must("fetch", "--quiet", "origin", branch)
        tree = git("merge-tree", "--write-tree", "FETCH_HEAD", made)
        if tree is None:
            return False
        made = _commit(tree.split()[0], "FETCH_HEAD", message.strip())
    return False


def _must(*command: str, **environment: str) -> str:
    done = subprocess.run(
        ["git", *command], capture_output=True, text=True, env={**os.environ, **environment}
    )
    if done.returncode:
        said = " ".join(done.stderr.split())[-300:]
        raise PipelineError(f"git {command[0]}: {said}; nothing was promoted, run it again")
    return done.stdout


# ---- the commands


def propose() -> None:
    """Commits, pushes, and asks a person, or merges where the owner said so. Raises: PipelineError."""
    params = stage.read_params(Params, "retrain")
    verdict = stage.read_json(REGISTERED)["verdict"]
    winner = winner_of(verdict)
    base = os.environ.get("GITHUB_REF_NAME") or _must("rev-parse", "--abbrev-ref", "HEAD").strip()
    drawn = pictures(stage.read_yaml(stage.DEFINITIONS)["plots"])
    subject = f"Retrain: {verdict.partition(' on ')[0]}"[:100]
    champion = next((entry for entry in reversed(ledger.read()) if entry != winner), None)
    body = words(verdict, winner.version if winner else None, champion)
    made = commit(subject, body, f"{MARK}: {ledger.clock():%Y-%m-%dT%H:%M:%SZ}")
    if winner and params.auto_merge and merge(made, base):
        with stage.one_at_a_time():
            log.info("propose: %s is on %s; %s", subject, base, restore.follow())
        return
    branch = f"retrain/{ledger.clock():%Y-%m-%d}-{made[:8]}"
    _must("push", "--quiet", "--force", "origin", f"{made}:refs/heads/{branch}")
    log.info("propose: %s: branch %s", subject, branch)
    if winner and github.there():
        shown = [f"![{path.stem}]({github.raw(made, str(path))})" for path in drawn]
        github.pull_request(branch, base, subject, "\n\n".join([body, *shown]))
    elif winner:
        log.info("propose: without `gh` and GH_TOKEN: open the pull request of that branch yourself")


def issue() -> None:
    """Opens an issue, or adds to the one that is open, about what decide was stopped by."""
    told = stage.read_json(REPORT)["verdict"]
    refused = REFUSED.read_text(encoding="utf-8").splitlines() if REFUSED.exists() else []
    body = "\n".join([told, "", *(f"- `{line}`" for line in refused), "", github.run()])
    if not github.there():
        log.info("propose: without `gh` and GH_TOKEN no issue is opened: %s", told)
        return
    github.issue("The guard refuses the data" if refused else "New labels look tampered with", body)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--issue", action="store_true", help="about data that a person must look at")
    if parser.parse_args(argv).issue:
        issue()
    else:
        propose()


if __name__ == "__main__":
    stage.command(main)
