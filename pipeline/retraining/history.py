"""Reads from Git what earlier retraining runs left there, and what has changed since."""

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
from pipeline.core.git import COMMIT, try_git
from pipeline.core.params import DVC_FILE, PARAMS_FILE, read_yaml
from pipeline.core.tables import read_parquet
from pipeline.registry import ledger
from pipeline.registry.ledger import LEDGER
from pipeline.tracking import runs

log = logging.getLogger(__name__)

MESSAGES_FILE = Path("data/validated/messages.parquet")
SPLITS_FILE = Path("data/vectorized/splits.parquet")
DVC_LOCK = Path("dvc.lock")
RETRAINING_OUTPUTS = (  # what a retraining commits besides the ledger
    "dvc.lock",
    "reports",
    "data/sources.lock.json",
    "data/inbox.lock.json",
)
TRAILER = "Retrained-at"  # in the commit of a retraining: its time, and the commit it started from
MODEL_STAGES = ("ingest", "validate", "vectorize", "train", "evaluate")  # a model depends on these
UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)  # before every other
NO_IDS = pd.Series([], dtype="str")


# ---- changes


def changed_since(commit: str) -> list[str]:
    """Code files and params keys that a model depends on and that differ from a commit.

    Code is every dependency of the MODEL_STAGES in dvc.yaml under pipeline/, a file or a folder.
    """
    params_before = file_at_commit(commit, PARAMS_FILE)
    if params_before is None:
        log.warning(
            "retrain: commit %s is not in this clone: changes since then are unknown",
            commit[:8] or "?",
        )
        return []
    code = (*code_dependencies(), ":(exclude)*.md")
    files = (try_git("diff", "--name-only", commit, "--", *code) or "").split()
    return [*files, *_different_keys(params_before, read_yaml())]


def code_dependencies() -> list[str]:
    """The files and folders of code in the dependencies of the MODEL_STAGES, from dvc.yaml."""
    stages = read_yaml(DVC_FILE)["stages"]
    paths = {path for name in MODEL_STAGES for path in stages[name]["deps"]}
    return sorted(path for path in paths if path.startswith("pipeline/"))


def _different_keys(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The dotted keys of the MODEL_STAGES' params that differ."""
    old = runs.flatten_params({name: before.get(name, {}) for name in MODEL_STAGES})
    new = runs.flatten_params({name: now.get(name, {}) for name in MODEL_STAGES})
    return [key for key in sorted(old | new) if old.get(key) != new.get(key)]


def file_at_commit(commit: str, path: Path) -> dict[str, Any] | None:
    """The content of a YAML or JSON file in a commit; None if the commit or file is not here."""
    content = try_git("show", f"{commit}:{path}") if commit else None
    if content is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_text(content, encoding="utf-8")
        return read_yaml(copy)


# ---- past runs


@dataclass(frozen=True, eq=False)
class PastRun:
    """A finished retraining, known by the commit that it left on some branch."""

    time: datetime  # UTC
    commit: str  # the commit that it left
    source: str  # the commit that it started from

    @property
    def lock(self) -> dict[str, Any]:
        """Its dvc.lock."""
        return file_at_commit(self.commit, DVC_LOCK) or {}

    @cached_property
    def changed(self) -> list[str]:
        """Code files and params keys that differ from its own."""
        return changed_since(self.source)

    @property
    def same_inputs(self) -> bool:
        """Whether it had today's data, code and params."""
        before = locked_md5(self.lock, MESSAGES_FILE)
        return before is not None and before == _current_messages_md5() and not self.changed

    def seen_ids(self) -> "pd.Series[Any]":
        """message_id of all its messages; none if its files are lost."""
        try:
            md5 = locked_md5(self.lock, SPLITS_FILE)
            return seen_ids(md5) if md5 else NO_IDS
        except NotCachedError:
            return NO_IDS


def seen_ids(splits_md5: str) -> "pd.Series[Any]":
    """message_id of all messages that a model was trained or evaluated on.

    Args:
        splits_md5: the MD5 of the model's splits.parquet, as in dvc.lock.

    Raises: NotCachedError.
    """
    with restored_files({"splits.parquet": splits_md5}) as folder:
        return read_parquet(folder / "splits.parquet", ["message_id"]).to_pandas()["message_id"]


def locked_md5(lock: dict[str, Any], path: Path) -> str | None:
    """The MD5 of an output in a dvc.lock; None if it is not there."""
    for stage in lock.get("stages", {}).values():
        for out in stage.get("outs", []):
            if out["path"] == str(path):
                return str(out["md5"])
    return None


def _current_messages_md5() -> str | None:
    return locked_md5(read_yaml(DVC_LOCK), MESSAGES_FILE)


def past_runs() -> list[PastRun]:
    """The retrainings that left a commit on any branch, by `past_time`, each once."""
    line_format = f"%H %(trailers:key={TRAILER},valueonly,separator=%x20)"
    runs_by_time = {}
    for line in (try_git("log", "--all", f"--format={line_format}") or "").splitlines():
        commit, *words = line.split()
        with suppress(ValueError, OverflowError):  # a commit without the trailer, or another one
            time, source = words
            if COMMIT.fullmatch(source):
                runs_by_time[datetime.fromisoformat(time).astimezone(UTC)] = commit, source
    runs = [
        PastRun(past_time(time, source), commit, source)
        for time, (commit, source) in sorted(runs_by_time.items())
    ]
    return sorted(runs, key=lambda run: run.time)


def past_time(time: datetime, source: str) -> datetime:
    """The time of a run; if it is in the future, that of the commit that the run started from.

    A clock that was ahead would otherwise stop all runs until its time has come.
    """
    now = ledger.utc_now()
    if time <= now:
        return time
    log.warning(
        "warning: retrain: the run from commit %s is dated %s, which is in the future; the date of "
        "that commit counts instead; set the clock of the machine that ran it",
        source[:8],
        time.isoformat(),
    )
    committed = try_git("show", "--no-patch", "--format=%cI", "--end-of-options", source)
    commit_time = datetime.fromisoformat(committed.strip()) if committed else UNKNOWN_TIME
    return commit_time.astimezone(UTC) if commit_time <= now else UNKNOWN_TIME


def trailer_line() -> str:
    """The trailer for the commit of this run, as `past_runs` reads it."""
    head = (try_git("rev-parse", "HEAD") or "").strip()
    return f"{TRAILER}: {ledger.utc_now():%Y-%m-%dT%H:%M:%SZ} {head}"


# ---- the branch that proposals go to


def default_branch() -> str:
    """The branch that proposals go to: GitHub's, else origin's, else this clone's.

    Raises: PipelineError.
    """
    names = [
        os.environ.get("GITHUB_REF_NAME"),
        try_git("symbolic-ref", "--short", "refs/remotes/origin/HEAD"),
        try_git("symbolic-ref", "--short", "HEAD"),
    ]
    for name in filter(None, names):
        return name.strip().removeprefix("origin/")
    raise PipelineError(
        "retrain: this clone is on no branch; `git switch` to the branch that proposals go to"
    )


def require_published(base: str) -> None:
    """Raises: PipelineError, if a retraining here would use commits or files unknown to origin."""
    if try_git("merge-base", "--is-ancestor", "HEAD", f"origin/{base}") is None:
        raise PipelineError(
            f"retrain: origin's {base} lacks commits of this clone; push them, then run it again"
        )
    outputs = [f":(exclude){path}" for path in (*RETRAINING_OUTPUTS, LEDGER)]
    if changed := try_git("diff", "--name-only", "HEAD", "--", ".", *outputs):
        path = changed.split()[0]
        raise PipelineError(
            f"retrain: {path}: differs from the last commit; commit it, then run it again"
        )
