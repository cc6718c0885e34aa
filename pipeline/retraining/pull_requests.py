"""Publishes the result of `retrain`: a branch, a pull request, or an issue.

Every retraining becomes a commit on its own branch. A winner gets a pull request with figures and
plots; with `retrain.auto_merge: true` it is merged into the default branch instead. With
`retrain.shadow` it has to win in the shadow of the champion first, and a later call does the rest.
If validation refused the data, or new labels look tampered with, an issue is opened.
"""

import logging
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pipeline.core.cli import argument_parser, stage_lock
from pipeline.core.errors import PipelineError, redact_credentials
from pipeline.core.files import write_text
from pipeline.core.git import run_git, try_git
from pipeline.core.params import read_params
from pipeline.core.reports import read_report
from pipeline.registry import ledger, recovery
from pipeline.registry.ledger import LedgerEntry
from pipeline.registry.pages.report import PAGE_NAME
from pipeline.retraining import github, history, proposal_text
from pipeline.retraining.retrain import ACTIONS, REFUSED_FILE, REGISTER_REPORT, REPORT, Action
from pipeline.retraining.shadow_trial import NO_TRIAL, ShadowRule, judge_trial, needs_trial
from pipeline.retraining.triggers import Params

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline propose"
BRANCH_FOLDER = "retrain"  # every proposal is a branch in it
REPORT_PAGE = f"reports/{PAGE_NAME}"  # register writes it
PUSH_ATTEMPTS = 3  # when others push at the same time


# ---- the commit


def find_winner(verdict: str, entries: Sequence[LedgerEntry]) -> LedgerEntry | None:
    """The entry with this verdict of register, if it is not merged yet."""
    merged = ledger.merged_entries()
    for entry in entries:
        if entry not in merged and entry.verdict_text == verdict:
            return entry
    return None


def write_tree(entries: Sequence[LedgerEntry]) -> str:
    """Writes a Git tree: the last commit, a retraining's outputs, and a ledger of these entries.

    The files and the index of this clone stay as they are. Raises: PipelineError.
    """
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        run_git("read-tree", "HEAD", **index)
        run_git("add", "--all", "--", *_paths_to_commit(), **index)
        if entries:
            copy = Path(folder) / ledger.LEDGER.name
            write_text(copy, ledger.ledger_text(entries))
            blob = run_git("hash-object", "-w", str(copy)).strip()
            added = f"100644,{blob},{ledger.LEDGER}"
            run_git("update-index", "--add", "--cacheinfo", added, **index)
        return run_git("write-tree", **index).strip()


def _paths_to_commit() -> list[str]:
    """The outputs of a retraining that exist and are not ignored by Git."""
    return [
        path
        for path in history.RETRAINING_OUTPUTS
        if Path(path).exists() and try_git("check-ignore", "--quiet", path) is None
    ]


def create_commit(tree: str, parent: str, message: str) -> str:
    """Creates a commit on no branch; returns its hash. Raises: PipelineError."""
    return run_git("commit-tree", tree, "-p", parent, "-m", redact_credentials(message)).strip()


def push_winner(commit: str, winner: LedgerEntry, base: str) -> bool:
    """Pushes a winner's commit to the branch `base` of origin, on top of what came meanwhile.

    Returns: false if that conflicts, or if another champion came meanwhile.
    """
    message = run_git("log", "-1", "--format=%B", commit).strip()
    for _ in range(PUSH_ATTEMPTS):
        if not succeeds_champion(winner, ledger.entries_at(f"origin/{base}")):
            return False
        if try_git("push", "--quiet", "origin", f"{commit}:refs/heads/{base}") is not None:
            return True
        run_git("fetch", "--quiet", "origin", base)
        tree = try_git("merge-tree", "--write-tree", f"origin/{base}", commit)
        if tree is None:
            return False
        commit = create_commit(tree.split()[0], f"origin/{base}", message)
    return False


def merge_winner(commit: str, winner: LedgerEntry, base: str) -> bool:
    """Pushes a winner's commit to `base`, and the registry follows, if auto_merge allows it.

    Returns: whether it did.
    """
    if not read_params(Params, "retrain").auto_merge or not push_winner(commit, winner, base):
        return False
    subject = _subject(winner.verdict_text)
    log.info("propose: %s: merged into %s; %s", subject, base, _follow_ledger())
    return True


def succeeds_champion(winner: LedgerEntry, entries: Sequence[LedgerEntry]) -> bool:
    """Whether the winner was compared with the champion of these entries, and after its line."""
    champion = ledger.champion_entry(entries)
    is_later = all(winner.time >= entry.time for entry in entries[-1:])
    return is_later and winner.previous == (champion.version if champion else None)


# ---- branches


def push_proposal(base: str) -> None:
    """Commits the retraining and pushes it to a new branch, or a winner to `base` with auto_merge.

    A winner that needs a trial in the shadow goes to a branch.
    What origin has already is not pushed again. Raises: PipelineError.
    """
    history.require_published(base)
    verdict = read_report(REGISTER_REPORT)["verdict"]
    branches = fetch_proposals(base)
    if verdict in {entry.verdict_text for entry in ledger.merged_entries()}:
        log.info("propose: this winner is already on %s; %s", base, _follow_ledger())
        return
    proposed = ledger.proposed_entry()
    winner = find_winner(verdict, [proposed] if proposed else [])
    commit = commit_retraining(verdict, winner, [f"origin/{base}", *branches])
    if commit is None:
        log.info("propose: origin already has this retraining")
        return
    if winner and not needs_trial(*champion_and_rule()) and merge_winner(commit, winner, base):
        return
    branch = f"{BRANCH_FOLDER}/{ledger.utc_now():%Y-%m-%d}-{commit[:8]}"
    run_git("push", "--quiet", "--force", "origin", f"{commit}:refs/heads/{branch}")
    log.info("propose: %s: branch %s", _subject(verdict), branch)
    if winner and not succeeds_champion(winner, ledger.merged_entries()):
        log.warning("warning: no pull request: the champion of %s is another one", base)


def commit_retraining(
    verdict: str, winner: LedgerEntry | None, branches: Sequence[str]
) -> str | None:
    """Commits the retraining on no branch; returns the commit, None if a branch has its tree."""
    entries = ledger.read_entries()
    proposal_text.write_images()
    tree = write_tree([*entries, winner] if winner else entries)
    if tree in run_git("log", "--format=%T", *branches).split():
        return None
    body = proposal_text.body_text(verdict, winner, ledger.champion_entry(entries))
    message = "\n\n".join([_subject(verdict), body, history.trailer_line()])
    return create_commit(tree, "HEAD", message)


def _subject(verdict: str) -> str:
    return f"Retrain: {verdict.partition(' on ')[0]}"[:100]


def _follow_ledger() -> str:
    with stage_lock():
        return recovery.follow_ledger()


def fetch_proposals(base: str) -> list[str]:
    """Fetches `base` and all proposals of origin; returns the proposals' branches, newest last."""
    proposals = f"refs/remotes/origin/{BRANCH_FOLDER}/"
    refs = (
        f"+refs/heads/{base}:refs/remotes/origin/{base}",
        f"+refs/heads/{BRANCH_FOLDER}/*:{proposals}*",
    )
    run_git("fetch", "--quiet", "--prune", "origin", *refs)
    order = ("--sort=committerdate", "--format=%(refname:lstrip=2)")
    return run_git("for-each-ref", *order, proposals).split()


def waiting_winners(base: str) -> dict[str, LedgerEntry]:
    """The winners that were compared with today's champion, by branch, the newest last."""
    merged = ledger.merged_entries()
    winners = {}
    for branch in fetch_proposals(base):
        report = history.file_at_commit(branch, REGISTER_REPORT) or {}
        winner = find_winner(report.get("verdict", ""), ledger.entries_at(branch))
        if winner and succeeds_champion(winner, merged):
            winners[branch.removeprefix("origin/")] = winner
    return winners


def champion_and_rule() -> tuple[LedgerEntry | None, ShadowRule]:
    """Today's champion, and the rule of a trial in its shadow. Raises: PipelineError."""
    champion = ledger.champion_entry(ledger.merged_entries())
    return champion, read_params(Params, "retrain").shadow


def ready_winners(waiting: Mapping[str, LedgerEntry], requested: Collection[str]) -> dict[str, str]:
    """The branches that may be proposed, the newest last, each with the result of its trial.

    Args:
        waiting: as from `waiting_winners`.
        requested: branches with a pull request, open or closed, which need no trial any more.
    """
    ready = {}
    for branch, winner in waiting.items():
        trial = NO_TRIAL if branch in requested else judge_trial(winner, *champion_and_rule())
        if trial.sentence:
            result = f"{trial.verdict}: {trial.sentence}"
            log.info("propose: version %s in the shadow: %s", winner.version, result)
        if trial.verdict == "won":
            ready[branch] = trial.sentence
    return ready


# ---- pull requests and issues


def update_pull_requests(base: str) -> None:
    """Proposes the newest winner that is ready, and closes pull requests that are outdated.

    A pull request that a person closed is not opened again, and closes no other one.
    Raises: PipelineError.
    """
    listed = github.list_pull_requests() if github.is_available() else []
    requests = [one for one in listed if one.branch.startswith(f"{BRANCH_FOLDER}/")]
    requested = {request.branch for request in requests}
    waiting = waiting_winners(base)
    ready = ready_winners(waiting, requested)
    newest = next(reversed(ready), None)
    if newest and newest not in requested:
        if ready[newest] and merge_winner(f"origin/{newest}", waiting[newest], base):
            waiting = {}  # they were compared with another champion
        else:
            open_pull_request_of(newest, base, ready[newest])
    newest_is_closed = newest in {request.branch for request in requests if not request.open}
    for request in requests:
        if request.open and request.branch not in waiting:
            github.close_pull_request(request.number, "Another model became the champion.")
        elif request.open and request.branch != newest and not newest_is_closed:
            github.close_pull_request(request.number, f"{newest} is newer.")


def open_pull_request_of(branch: str, base: str, trial: str) -> None:
    """Opens the pull request of a winner's branch, or asks for it where `gh` is missing.

    Args:
        trial: the result of the winner's trial in the shadow, if any.
    """
    if github.is_available():
        title, body = pull_request_text(f"origin/{branch}", trial)
        github.open_pull_request(branch, base, title, body)
    else:
        problem = "`gh` or GH_TOKEN is missing"
        log.info("propose: %s: open the pull request of %s yourself", problem, branch)


def pull_request_text(ref: str, trial: str = "") -> tuple[str, str]:
    """The title and the body, with images, of the pull request for a commit.

    Args:
        trial: as of `open_pull_request_of`.
    """
    title = run_git("log", "-1", "--format=%s", ref).strip()
    body = run_git("log", "-1", "--format=%b", ref).partition(f"{history.TRAILER}: ")[0].strip()
    commit = run_git("rev-parse", ref).strip()
    folder = f"{proposal_text.IMAGE_FOLDER}/"
    paths = run_git("ls-tree", "--name-only", commit, folder).split()
    images = [f"![{Path(path).stem}]({github.raw_url(commit, path)})" for path in paths]
    in_shadow = [f"It won in the shadow of the champion: {trial}"] if trial else []
    return title, "\n\n".join([body, *in_shadow, *_report_link(commit), *images])


def _report_link(commit: str) -> list[str]:
    """A line with the address of the decision report, if the commit has one."""
    if not run_git("ls-tree", "--name-only", commit, REPORT_PAGE):
        return []
    url = github.raw_url(commit, REPORT_PAGE)
    return [f"[Decision report]({url}): save it and open it in a browser."]


def report_problem() -> None:
    """Opens an issue, or comments on the open one, about what stopped the retraining."""
    report = read_report(REPORT)
    decision = report["verdict"]
    if not github.is_available():
        log.info("propose: no issue is opened without `gh` and GH_TOKEN: %s", decision)
        return
    errors = REFUSED_FILE.read_text(encoding="utf-8") if REFUSED_FILE.exists() else ""
    block = f"```\n{errors}```" if errors else ""
    title = "Validation refuses the new data" if errors else "New labels look tampered with"
    if report["figures"].get("gone", {}).get("value"):
        title = "The champion cannot be loaded"
    github.open_issue(title, "\n\n".join(filter(None, [decision, block, github.job_url()])))


def _reported_action() -> Action:
    """The action that `retrain decide` reported. Raises: PipelineError."""
    figures = read_report(REPORT)["figures"]
    exit_code = figures.get("exit_code", {}).get("value")
    for action in ACTIONS.values():
        if action.exit_code == exit_code:
            return action
    raise PipelineError(f"{REPORT}: no decision; run `python -m pipeline retrain decide`")


def main(argv: Sequence[str] | None = None) -> None:
    """Publishes what reports/retrain.json tells."""
    argument_parser(__doc__, EXAMPLE).parse_args(argv)
    action = _reported_action()
    base = history.default_branch()
    if action.needs_review:
        report_problem()
    is_retrained = action is ACTIONS["retrain"]
    if is_retrained:
        push_proposal(base)
    if is_retrained or github.is_available() or read_params(Params, "retrain").shadow.days:
        update_pull_requests(base)
