"""What earlier retraining runs left in Git."""

import logging
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.dvc_cache import NotCachedError, restored_files
from pipeline.core.errors import PipelineError
from pipeline.core.git import try_git
from pipeline.core.params import DVC_FILE, PARAMS_FILE, read_yaml
from pipeline.core.tables import read_parquet
from pipeline.registry import ledger
from pipeline.registry.ledger import LEDGER
from pipeline.tracking import runs

log = logging.getLogger(__name__)

VALIDATED = Path("data/validated/messages.parquet")
SPLITS = Path("data/vectorized/splits.parquet")
LOCK = Path("dvc.lock")
INBOX = "data/inbox"
MADE = (
    "dvc.lock",
    "reports",
    "data/sources.lock.json",
    INBOX,
    "data/inbox.dvc",
)  # besides the ledger
MARK = "Retrained-at"  # the trailer of what retraining leaves, which a squash keeps: a time, and a commit
NOBODY = pd.Series([], dtype="str")  # no message_id
JUDGED = ("ingest", "validate", "vectorize", "train", "evaluate")  # stages that a model depends on


def known_ids(splits: str) -> "pd.Series[Any]":
    """message_id of all that a model was made of and judged by; splits: its file's MD5. Raises: Gone."""
    with restored_files({"splits.parquet": splits}) as folder:
        return read_parquet(folder / "splits.parquet", ["message_id"]).to_pandas()["message_id"]


def changed(commit: str) -> list[str]:
    """Code and params that a model depends on and that are others than at that commit."""
    stages = read_yaml(DVC_FILE)["stages"]
    code = sorted(
        {path for name in JUDGED for path in stages[name]["deps"] if path.endswith(".py")}
    )
    if (before := at(commit, PARAMS_FILE)) is None:
        log.warning(
            "retrain: commit %s is not in this clone: no word about changes", commit[:8] or "?"
        )
        return []
    old, now = ({name: params.get(name, {}) for name in JUDGED} for params in (before, read_yaml()))
    flat = runs.flatten_params(old), runs.flatten_params(now)
    keys = [key for key in sorted(flat[0] | flat[1]) if flat[0].get(key) != flat[1].get(key)]
    return [*(try_git("diff", "--name-only", commit, "--", *code) or "").split(), *keys]


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
        before, now = (_md5(lock, VALIDATED) for lock in (self.lock, read_yaml(LOCK)))
        return before is not None and before == now and not self.changed

    def known_ids(self) -> "pd.Series[Any]":
        """message_id of all that it was about; none where its files are nowhere any more."""
        try:
            splits = _md5(self.lock, SPLITS)
            return known_ids(splits) if splits else NOBODY
        except NotCachedError:
            return NOBODY


def _md5(lock: dict[str, Any], path: Path) -> str | None:
    """The hash of an output, where the lock has it."""
    outs = [out for one in lock.get("stages", {}).values() for out in one.get("outs", [])]
    return next((str(out["md5"]) for out in outs if out["path"] == str(path)), None)


def past_runs() -> list[Run]:
    """The retrainings that have left a commit on any branch, the newest last; a copy of one is no second."""
    shown = f"%H %(trailers:key={MARK},valueonly,separator=%x20)"
    found = {}
    for line in (try_git("log", "--all", f"--format={shown}") or "").splitlines():
        commit, *words = line.split()
        with suppress(ValueError):  # a commit without the trailer, or with another one
            time, source = words
            found[datetime.fromisoformat(time).astimezone(UTC)] = commit, source
    return [Run(time, *commits) for time, commits in sorted(found.items())]


def trailer() -> str:
    """The trailer for the run of now, as `runs` reads it."""
    return f"{MARK}: {ledger.clock():%Y-%m-%dT%H:%M:%SZ} {(try_git('rev-parse', 'HEAD') or '').strip()}"


def default_branch() -> str:
    """Origin's, where proposals go; else the one that this clone is on. Raises: PipelineError."""
    names = (try_git("symbolic-ref", "--short", name) for name in ("refs/remotes/origin/HEAD", "HEAD"))
    told = next(filter(None, [os.environ.get("GITHUB_REF_NAME"), *names]), None)
    if told is None:
        raise PipelineError(
            "retrain: this clone is on no branch; `git switch` to the one where proposals go"
        )
    return told.strip().removeprefix("origin/")


def see_that_it_is_published(base: str) -> None:
    """Raises: PipelineError, where origin's `base` lacks what a retraining here would come from."""
    if try_git("merge-base", "--is-ancestor", "HEAD", f"origin/{base}") is None:
        raise PipelineError(
            f"retrain: origin's {base} lacks commits that are here; push them, and run it again"
        )
    others = [f":(exclude){path}" for path in (*MADE, LEDGER)]
    if mine := try_git("diff", "--name-only", "HEAD", "--", ".", *others):
        raise PipelineError(
            f"retrain: {mine.split()[0]}: not as in the last commit; commit it, and run it again"
        )


def at(commit: str, path: Path) -> dict[str, Any] | None:
    """A file of a commit; None where this clone has no such commit or file."""
    content = try_git("show", f"{commit}:{path}") if commit else None
    if content is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_text(content, encoding="utf-8")
        return read_yaml(copy)
