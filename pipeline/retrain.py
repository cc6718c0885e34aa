"""Retrains when there is a reason: `python -m pipeline.retrain decide`, then `run`.

decide brings what is new, holds it to the guard, and says in reports/retrain.json whether to retrain and why;
run retrains, and leaves a winner proposed: it serves once a line of the ledger that says so is merged.
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import cache, drift, github, ledger, poisoning, registry, restore, spans, stage, tracking
from pipeline.formats import MESSAGES
from pipeline.ledger import LEDGER, Entry
from pipeline.reasons import Decision, Params, State, decide
from pipeline.register import PROPOSES
from pipeline.stage import Figure, PipelineError

__all__ = ["Params"]

log = logging.getLogger(__name__)

REPORT = Path("reports/retrain.json")
REVIEW = Path("data/review")  # pages for a person
GUARDED = "data/inbox", "data/ingested", ".downloads"  # where a line of the guard begins: the data's places
REFUSED = REVIEW / "refused.txt"  # what the guard said, a line each
VALIDATED = Path("data/validated/messages.parquet")
SPLITS = Path("data/vectorized/splits.parquet")
LOCK = Path("dvc.lock")
INBOX = "data/inbox"
MADE = ("dvc.lock", "reports", "data/sources.lock.json", INBOX, "data/inbox.dvc")  # besides the ledger
MARK = "Retrained-at"  # the trailer of what retraining leaves, which a squash keeps: a time, and a commit
ACTIONS = {"retrain": 0, "wait": 3, "blocked": 4, "refused": 5}  # and the exit code of `decide`
NOBODY = pd.Series([], dtype="str")  # no message_id
REVIEWED = "blocked", "refused"  # those that a person must look at
JUDGED = ("ingest", "validate", "vectorize", "train", "evaluate")  # stages that a model depends on


# ---- what is there


def prepare() -> list[str]:
    """Brings what is new and holds it to the guard; the lines in which the guard refuses it, if it does.

    Raises: PipelineError, where it is not the data that is at fault.
    """
    done = subprocess.run([sys.executable, "-m", "pipeline.fetch", "--update"])
    if done.returncode:
        raise PipelineError("retrain: a source could not be fetched, as said above; nothing was decided")
    said = repro("validate")
    if others := [line for line in said if not of_data(line)]:
        raise PipelineError(f"{others[0]}; nothing was decided")
    return said


def of_data(line: str) -> bool:
    """Whether an error is about the messages, and not about params, pins or this machine."""
    machine = any(os.strerror(number) in line for number in stage.MACHINE)
    return line.startswith(GUARDED) and not machine


def repro(*targets: str, **environment: str) -> list[str]:
    """Runs `dvc repro`, and shows what it says; the lines that begin with `error:`, where it fails.

    Raises: PipelineError, where it fails without a word.
    """
    command = [sys.executable, "-m", "dvc", "repro", *targets]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as done:
        said = []
        for line in done.stderr or ():
            sys.stderr.write(line)
            said.append(line.rstrip("\n"))
    errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    if done.returncode and not errors:
        raise PipelineError("retrain: `dvc repro` failed, as it says above")
    return errors if done.returncode else []


def known_ids(splits: str) -> "pd.Series[Any]":
    """message_id of all that a model was made of and judged by; splits: its file's MD5. Raises: Gone."""
    with cache.files({"splits.parquet": splits}) as folder:
        return stage.read_parquet(folder / "splits.parquet", ["message_id"]).to_pandas()["message_id"]


def windows(new: pd.DataFrame, days: float, most: int) -> Iterator[pd.DataFrame]:
    """The messages of the last spans of so many days, the newest last; undated ones are of the newest."""
    age = (spans.end(new["received_at"]) - new["received_at"]) / pd.Timedelta(days=days)
    age = age.fillna(0).clip(lower=0)  # what is dated beyond the end is of the newest window too
    for back in reversed(range(most)):
        yield new[(age >= back) & (age < back + 1)].reset_index(drop=True)


def drifted(known: pd.DataFrame, new: pd.DataFrame, params: Params, pages: Path) -> list[bool]:
    """Of each window with messages enough, whether it drifted from what the champion knows."""
    by = stage.read_params(drift.Params, "drift")
    if len(known) < by.fewest_rows:
        return []
    large = [one for one in windows(new, params.window_days, params.windows) if len(one) >= by.fewest_rows]
    return [any(check.alarm for check in drift.ask(known, one, pages, by)) for one in large]


def poisoned(known: pd.DataFrame, new: pd.DataFrame, untried: pd.DataFrame, pages: Path) -> str:
    """What in the new labels looks tampered with; empty where nothing does, or too few are there to ask."""
    by = stage.read_params(poisoning.Params, "poisoning")
    new = untried if poisoning.enough(untried, by) else new  # small portions are asked about together
    if not (poisoning.enough(known, by) and poisoning.enough(new, by)):
        return ""
    checks = poisoning.ask(poisoning.judge_by_reference(known, new), new, pages, by)
    return ", ".join(f"{check.name} (p {check.corrected:.0e})" for check in checks if check.alarm)


def changed(commit: str) -> list[str]:
    """Code and params that a model depends on and that are others than at that commit."""
    stages = stage.read_yaml(stage.DEFINITIONS)["stages"]
    code = sorted({path for name in JUDGED for path in stages[name]["deps"] if path.endswith(".py")})
    if (before := at(commit, stage.PARAMS_FILE)) is None:
        log.warning("retrain: commit %s is not in this clone: no word about changes", commit[:8] or "?")
        return []
    old, now = ({name: params.get(name, {}) for name in JUDGED} for params in (before, stage.read_yaml()))
    flat = tracking.flat(old), tracking.flat(now)
    keys = [key for key in sorted(flat[0] | flat[1]) if flat[0].get(key) != flat[1].get(key)]
    return [*(git("diff", "--name-only", commit, "--", *code) or "").split(), *keys]


@dataclass(frozen=True, eq=False)
class Run:
    """A retraining that has been, as the commit that it left on some branch tells of it."""

    time: datetime
    commit: str  # that it left
    source: str  # that it started from

    @property
    def lock(self) -> dict[str, Any]:
        return at(self.commit, LOCK) or {}

    @cached_property
    def changed(self) -> list[str]:
        """Code and params that are others than its own."""
        return changed(self.source)

    @property
    def same(self) -> bool:
        """Whether it had the data, code and params of now."""
        before, now = (_md5(lock, VALIDATED) for lock in (self.lock, stage.read_yaml(LOCK)))
        return before is not None and before == now and not self.changed

    def known_ids(self) -> "pd.Series[Any]":
        """message_id of all that it was about; none where its files are nowhere any more."""
        try:
            splits = _md5(self.lock, SPLITS)
            return known_ids(splits) if splits else NOBODY
        except cache.Gone:
            return NOBODY


def _md5(lock: dict[str, Any], path: Path) -> str | None:
    """The hash of an output, where the lock has it."""
    outs = [out for one in lock.get("stages", {}).values() for out in one.get("outs", [])]
    return next((str(out["md5"]) for out in outs if out["path"] == str(path)), None)


def runs() -> list[Run]:
    """The retrainings that have left a commit on any branch, the newest last; a copy of one is no second."""
    shown = f"%H %(trailers:key={MARK},valueonly,separator=%x20)"
    found = {}
    for line in (git("log", "--all", f"--format={shown}") or "").splitlines():
        commit, *words = line.split()
        with suppress(ValueError):  # a commit without the trailer, or with another one
            time, source = words
            found[datetime.fromisoformat(time).astimezone(UTC)] = commit, source
    return [Run(time, *commits) for time, commits in sorted(found.items())]


def trailer() -> str:
    """The trailer for the run of now, as `runs` reads it."""
    return f"{MARK}: {ledger.clock():%Y-%m-%dT%H:%M:%SZ} {(git('rev-parse', 'HEAD') or '').strip()}"


def git(*command: str) -> str | None:
    """What a command of Git says; None where it fails."""
    done = subprocess.run(["git", *command], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def default_branch() -> str:
    """Origin's, where proposals go; else the one that this clone is on. Raises: PipelineError."""
    names = (git("symbolic-ref", "--short", name) for name in ("refs/remotes/origin/HEAD", "HEAD"))
    told = next(filter(None, [os.environ.get("GITHUB_REF_NAME"), *names]), None)
    if told is None:
        raise PipelineError("retrain: this clone is on no branch; `git switch` to the one where proposals go")
    return told.strip().removeprefix("origin/")


def see_that_it_is_published(base: str) -> None:
    """Raises: PipelineError, where origin's `base` lacks what a retraining here would come from."""
    if git("merge-base", "--is-ancestor", "HEAD", f"origin/{base}") is None:
        raise PipelineError(
            f"retrain: origin's {base} lacks commits that are here; push them, and run it again"
        )
    others = [f":(exclude){path}" for path in (*MADE, LEDGER)]
    if mine := git("diff", "--name-only", "HEAD", "--", ".", *others):
        raise PipelineError(
            f"retrain: {mine.split()[0]}: not as in the last commit; commit it, and run it again"
        )


def at(commit: str, path: Path) -> dict[str, Any] | None:
    """A file of a commit; None where this clone has no such commit or file."""
    content = git("show", f"{commit}:{path}") if commit else None
    if content is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_text(content, encoding="utf-8")
        return stage.read_yaml(copy)


def follow() -> str:
    """Makes the registry follow the ledger; why it cannot, where the champion cannot be rebuilt as it was."""
    try:
        with stage.one_at_a_time():
            log.info("ledger: %s", restore.follow())
    except (cache.Gone, ledger.Otherwise) as missing:
        return str(missing)
    return ""


def state(request: str, force: bool, params: Params, gone: str, pages: Path) -> State:
    """How things stand now; the pages of the checks go to that folder."""
    known, champion = NOBODY, None
    try:
        champion = Entry.of(registry.versions().get(registry.champion() or ""))
        known = known_ids(champion.files["splits"]) if champion else known
    except cache.Gone as missing:
        gone = gone or str(missing)
    if champion is None and not gone and ledger.merged():
        gone = f"{LEDGER} names one, and the registry has none"
    now, ran = ledger.clock(), runs()
    last = ran[-1] if ran else None
    hours = (now - last.time) / timedelta(hours=1) if last else None
    days = (now - datetime.fromisoformat(champion.time)) / timedelta(days=1) if champion else 0.0
    messages = stage.read_parquet(VALIDATED, MESSAGES.names).to_pandas()
    old = messages["message_id"].isin(known)
    tried = messages["message_id"].isin(last.known_ids() if last else NOBODY)
    reference, new, untried = (messages[rows].reset_index(drop=True) for rows in (old, ~old, ~(old | tried)))
    others = changed(champion.commit) if champion else []
    return State(
        champion=champion.version if champion else None,
        gone=gone,
        days=days if hours is None else min(days, hours / 24),
        new_rows=len(untried),
        drifted=drifted(reference, new, params, pages) if champion else [],
        poisoned=poisoned(reference, new, untried, pages) if champion else "",
        changed=[name for name in others if last is None or name in last.changed],
        hours=hours,
        runs=sum(now - one.time < timedelta(days=7) for one in ran),
        same=last is not None and last.same,
        request=request,
        force=force,
    )


# ---- the commands


def decision(request: str, force: bool, dry: bool) -> Decision:
    """What to do. Raises: PipelineError."""
    params = stage.read_params(Params, "retrain")
    if dry:
        with tempfile.TemporaryDirectory() as pages:
            return decide(state(request, force, params, "", Path(pages)), params)
    gone = follow()
    REFUSED.unlink(missing_ok=True)
    if refused := prepare():
        stage.write_text(REFUSED, "".join(f"{line}\n" for line in refused))
        return Decision("refused", f"did not retrain: the guard refuses the data: {refused[0]}", {})
    return decide(state(request, force, params, gone, REVIEW), params)


def tell(made: Decision, dry: bool) -> None:
    """Says it to the person, to programs, and to GitHub."""
    log.info("retrain: %s", made.sentence)
    if dry:
        return
    rows, figures = made.answers.get("new_rows"), made.figures() | {"exit_code": Figure(ACTIONS[made.action])}
    stage.write_report(REPORT, int(rows.value or 0) if rows else 0, figures, made.sentence)
    github.output("decision", made.action)
    github.output("review", "yes" if made.action in REVIEWED else "no")
    github.output("sentence", made.sentence)
    listed = [f"| {name} | {answer.sentence} |" for name, answer in made.answers.items() if answer.sentence]
    github.summary("\n".join([f"**{made.sentence}**", "", "| | |", "|---|---|", *listed]))


def run(dry: bool) -> None:
    """Retrains; a winner is proposed. Raises: PipelineError."""
    if dry:
        print(cache.dvc("repro", "--dry", "--allow-missing").stdout, end="")
        return
    see_that_it_is_published(default_branch())
    if said := repro(**{PROPOSES: "1"}):
        raise PipelineError(f"retrain: nothing was retrained: {said[0]}")
    verdict = stage.read_json(Path("reports/register.json"))["verdict"]
    github.summary(f"**{verdict}**")
    log.info("retrain: %s", verdict)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    codes = ", ".join(f"{code} {action}" for action, code in ACTIONS.items())
    asks = commands.add_parser(
        "decide", help="whether to retrain, and why", description=f"Exit codes: {codes}, 1 an error."
    )
    asks.add_argument("--request", default="", metavar="WHY", help="a person's reason, which needs no other")
    asks.add_argument("--force", action="store_true", help="somebody has looked at what blocks")
    runs_it = commands.add_parser("run", help="retrains, and leaves a winner proposed")
    for one, dry in (
        (asks, "looks at what is here as it is, and tells nobody else"),
        (runs_it, "says which stages would run"),
    ):
        one.add_argument("--dry-run", action="store_true", help=dry)
    arguments = parser.parse_args(argv)
    if arguments.command == "run":
        run(arguments.dry_run)
        return
    made = decision(arguments.request.strip(), arguments.force, arguments.dry_run)
    tell(made, arguments.dry_run)
    sys.exit(ACTIONS[made.action])


if __name__ == "__main__":
    stage.command(main)
