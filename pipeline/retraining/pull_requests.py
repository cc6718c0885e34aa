"""Brings to a person what `python -m pipeline retrain` has left, by its report.

A retraining becomes a commit on a branch of its own, and a winner a pull request with figures and pictures,
also later where it could not be opened at once; `retrain.auto_merge` puts a winner on the default branch
itself. Data that the guard refused, or that looks tampered with, becomes an issue.
"""

import argparse
import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.cli import stage_lock
from pipeline.core.dvc_cache import run_dvc
from pipeline.core.errors import redact_credentials
from pipeline.core.files import read_json, write_text
from pipeline.core.git import run_git, try_git
from pipeline.core.params import DVC_FILE, read_params, read_yaml
from pipeline.registry import ledger, recovery
from pipeline.registry.ledger import Entry
from pipeline.retraining import github, history
from pipeline.retraining.history import INBOX, MADE, MARK
from pipeline.retraining.retrain import ACTIONS, REFUSED, REPORT, REVIEWED
from pipeline.retraining.triggers import Params
from pipeline.tracking import plots

log = logging.getLogger(__name__)

REGISTERED = Path("reports/register.json")
PICTURES = Path("reports/retrain")
SHOWN = (
    "precision_recall",
    "roc",
    "calibration",
)  # of the plots in dvc.yaml: the champion's and the challenger's
BRANCHES = "retrain"  # the folder of all branches of proposals
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
        drawn = plots.render_plots(both)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        figure.savefig(PICTURES / f"{name}.png", dpi=80)
    return [PICTURES / f"{name}.png" for name in drawn]


def _before_and_after(entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The entry of dvc.yaml with our file as the last commit has it and as it is now."""
    ours, column = next(iter(entry["y"].items()))
    folder.mkdir()
    files = {"before": try_git("show", f"HEAD:{ours}"), "now": Path(ours).read_text(encoding="utf-8")}
    there = {
        folder / f"{name}.csv": content for name, content in files.items() if content is not None
    }
    for path, content in there.items():
        path.write_text(content, encoding="utf-8")
    x = entry["x"][ours]
    return {
        **entry,
        "x": {str(path): x for path in there},
        "y": {str(path): column for path in there},
    }


def words(verdict: str, winner: Entry | None, champion: Entry | None) -> str:
    """The pull request's text, without its pictures."""
    why = read_json(REPORT)["verdict"]
    offer = (
        f"Merging this makes version {winner.version} the champion. Closing it changes nothing."
        if winner
        else "The champion stays. There is nothing to merge."
    )
    tables = (
        difference("metrics", "HEAD"),
        difference("params", champion.commit if champion else "HEAD"),
    )
    return "\n\n".join([f"**{verdict}**", *filter(None, [why, offer, *tables])])


def difference(kind: str, since: str) -> str:
    """What DVC says has changed since that commit, in Markdown; empty where nothing has."""
    head, *rows = run_dvc(kind, "diff", "--md", "--no-path", since).stdout.strip().splitlines() or [""]
    head = re.sub(
        r"[^|]+\| *workspace ", " before | now ", head
    )  # where it has a commit, and the files here
    return "\n".join([head, *rows]) if len(rows) > 1 else ""


# ---- the commit


def winner_of(verdict: str, entries: Sequence[Entry]) -> Entry | None:
    """The line that register made with this verdict, and that is not merged yet."""
    told = ledger.merged()
    added = (entry for entry in entries if entry not in told)
    return next((entry for entry in added if entry.told == verdict), None)


def tree_of(entries: Sequence[Entry]) -> str:
    """The last commit's tree, with what a retraining makes and with this ledger; files here stay as they are.

    Raises: PipelineError.
    """
    there = [
        path
        for path in MADE
        if Path(path).exists() and try_git("check-ignore", "--quiet", path) is None
    ]
    if set((try_git("ls-files", INBOX) or "").split()) <= {f"{INBOX}/.gitkeep"}:
        there = [
            path for path in there if path != INBOX
        ]  # no message goes to a Git that has none yet
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        run_git("read-tree", "HEAD", **index)
        run_git("add", "--all", "--", *there, **index)
        if entries:
            copy = Path(folder) / ledger.LEDGER.name
            write_text(copy, ledger.text(entries))
            blob = run_git("hash-object", "-w", str(copy)).strip()
            run_git(
                "update-index", "--add", "--cacheinfo", f"100644,{blob},{ledger.LEDGER}", **index
            )
        return run_git("write-tree", **index).strip()


def commit(tree: str, parent: str, message: str) -> str:
    """A commit, on no branch; its hash. Raises: PipelineError."""
    return run_git(
        "commit-tree", tree, "-p", parent, "-m", redact_credentials(message)
    ).strip()


def merge(made: str, winner: Entry, branch: str) -> bool:
    """Puts a winner's commit on that branch at origin.

    False where what came meanwhile cannot be joined with it, or has another champion than it was judged by.
    """
    message = run_git("log", "-1", "--format=%B", made).strip()
    for _ in range(TRIES):
        if not _next(winner, ledger.at(f"origin/{branch}")):
            return False
        if try_git("push", "--quiet", "origin", f"{made}:refs/heads/{branch}") is not None:
            return True
        run_git("fetch", "--quiet", "origin", branch)
        tree = try_git("merge-tree", "--write-tree", f"origin/{branch}", made)
        if tree is None:
            return False
        made = commit(tree.split()[0], f"origin/{branch}", message)
    return False


def _next(winner: Entry, entries: Sequence[Entry]) -> bool:
    """Whether it was judged by the champion of these entries, and since that is it."""
    if not entries:
        return winner.previous is None
    return winner.previous == entries[-1].version and winner.time >= entries[-1].time


# ---- what reaches a person


def propose(base: str) -> None:
    """Commits a retraining and pushes it: to a branch, or a winner to `base` where the owner said so.

    One that is at origin already is not pushed again. Raises: PipelineError.
    """
    history.see_that_it_is_published(base)
    verdict, entries, fetched = read_json(REGISTERED)["verdict"], ledger.read(), branches(base)
    if verdict in {entry.told for entry in ledger.merged()}:
        log.info("propose: this winner is on %s already; %s", base, followed())
        return
    winner = winner_of(verdict, list(filter(None, [ledger.proposed()])))
    pictures(read_yaml(DVC_FILE)["plots"])
    tree = tree_of([*entries, winner] if winner else entries)
    if tree in run_git("log", "--format=%T", f"origin/{base}", *fetched).split():
        log.info("propose: this retraining is at origin already")
        return
    subject = f"Retrain: {verdict.partition(' on ')[0]}"[:100]
    body = words(verdict, winner, entries[-1] if entries else None)
    made = commit(tree, "HEAD", "\n\n".join([subject, body, history.trailer()]))
    if winner and read_params(Params, "retrain").auto_merge and merge(made, winner, base):
        log.info("propose: %s is on %s; %s", subject, base, followed())
        return
    branch = f"{BRANCHES}/{ledger.clock():%Y-%m-%d}-{made[:8]}"
    run_git("push", "--quiet", "--force", "origin", f"{made}:refs/heads/{branch}")
    log.info("propose: %s: branch %s", subject, branch)
    if winner and not _next(winner, ledger.merged()):
        log.warning(
            "warning: it was not judged by the champion that %s names: it stays a branch", base
        )
    elif winner and not github.there():
        log.info(
            "propose: without `gh` and GH_TOKEN: open the pull request of that branch yourself"
        )


def followed() -> str:
    """Makes the registry follow what is on the default branch now, and says what was done."""
    with stage_lock():
        return recovery.follow()


def branches(base: str) -> list[str]:
    """All proposals at origin, as this clone names them, the newest last; `base` is fetched too."""
    there = f"refs/remotes/origin/{BRANCHES}/"
    tips = f"+refs/heads/{base}:refs/remotes/origin/{base}", f"+refs/heads/{BRANCHES}/*:{there}*"
    run_git("fetch", "--quiet", "--prune", "origin", *tips)
    return run_git(
        "for-each-ref", "--sort=committerdate", "--format=%(refname:lstrip=2)", there
    ).split()


def waiting(base: str) -> list[str]:
    """The proposals whose winner waits, if it was judged by the champion of now; the newest last."""
    found, told = [], ledger.merged()
    for branch in branches(base):
        report, entries = history.at(branch, REGISTERED), ledger.at(branch)
        winner = winner_of((report or {}).get("verdict", ""), entries)
        if winner and _next(winner, told):
            found.append(branch.removeprefix("origin/"))
    return found


def offer(base: str) -> None:
    """Opens the pull request of the newest winner that waits, and closes those that it or others overtook.

    One that a person has closed is not opened again, and closes none. Raises: PipelineError.
    """
    if not github.there():
        return
    found = waiting(base)
    known = [one for one in github.pull_requests() if one.branch.startswith(f"{BRANCHES}/")]
    if found and found[-1] not in {one.branch for one in known}:
        github.pull_request(found[-1], base, *asked(f"origin/{found[-1]}"))
    rejected = bool(found) and found[-1] in {one.branch for one in known if not one.open}
    for one in known:
        if one.open and one.branch not in found:
            github.close_pull_request(one.number, "Another champion serves by now.")
        elif one.open and one.branch != found[-1] and not rejected:
            github.close_pull_request(one.number, f"{found[-1]} is newer.")


def asked(ref: str) -> tuple[str, str]:
    """The title and the text of the pull request for a commit, with its pictures."""
    title, words = (
        run_git("log", "-1", f"--format={part}", ref).strip() for part in ("%s", "%b")
    )
    tip = run_git("rev-parse", ref).strip()
    drawn = map(Path, run_git("ls-tree", "--name-only", tip, f"{PICTURES}/").split())
    shown = [f"![{path.stem}]({github.raw(tip, str(path))})" for path in drawn]
    return title, "\n\n".join([words.partition(f"{MARK}: ")[0].strip(), *shown])


def issue() -> None:
    """Opens an issue, or adds to the one that is open, about what decide was stopped by."""
    told = read_json(REPORT)["verdict"]
    refused = REFUSED.read_text(encoding="utf-8") if REFUSED.exists() else ""
    if not github.there():
        log.info("propose: without `gh` and GH_TOKEN no issue is opened: %s", told)
        return
    body = "\n\n".join(filter(None, [told, refused and f"```\n{refused}```", github.run()]))
    github.issue("The guard refuses the data" if refused else "New labels look tampered with", body)


def main(argv: Sequence[str] | None = None) -> None:
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    code = read_json(REPORT)["figures"]["exit_code"]["value"]
    base = history.default_branch()
    if code in {ACTIONS[action] for action in REVIEWED}:
        issue()
    if code == ACTIONS["retrain"]:
        propose(base)
    offer(base)
