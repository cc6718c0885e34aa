"""Searches for better params of train: `python -m pipeline tune --trials 20` proposes a params.yaml.

Each trial trains on train and is judged on val; test is in no file that it reads. (Val also sets the
threshold, whose promise about ham weakens a little with each choice made on it.) The first trial is
params.yaml as it is. Whatever was tried on the same data and code counts, also after an interruption. The
proposal is written as a patch: `python -m pipeline tune > tuned.patch`, then `git apply tuned.patch`.
"""

import argparse
import difflib
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from ruamel.yaml import YAML

from pipeline.core.cli import run_command
from pipeline.core.errors import PipelineError
from pipeline.core.files import read_json
from pipeline.core.params import read_params
from pipeline.core.tables import read_parquet
from pipeline.evaluation import bootstrap
from pipeline.evaluation.metrics import METRICS, Scored
from pipeline.models import batches, checkpoints, training
from pipeline.tracking import runs

log = logging.getLogger(__name__)

TOKENIZER = Path("models/tokenizer.json")
TRAIN, VAL = Path("data/vectorized/train"), Path("data/vectorized/val")
PARAMS = Path("params.yaml")
JOURNAL = checkpoints.FOLDER / "tune.journal"
OBJECTIVE = "average_precision"  # on val, of METRICS; as large as can be
SHOWN = (OBJECTIVE, "log_loss")  # of a trial, in MLflow
RESAMPLES = 1000  # of the bootstrap behind the difference between the proposal and params.yaml
SPACE: dict[str, BaseDistribution] = {  # what is searched: fields of train.Params
    "embedding_dim": IntDistribution(16, 64, step=16),
    "units": IntDistribution(16, 64, step=16),
    "dropout": FloatDistribution(0.0, 0.7, step=0.1),
    "token_dropout": FloatDistribution(0.0, 0.5, step=0.1),
    "wide_share": FloatDistribution(0.0, 1.0, step=0.1),
    "corrupted": FloatDistribution(0.0, 1.0, step=0.1),
    "copies": IntDistribution(0, 16, step=2),
    "learning_rate": FloatDistribution(5e-4, 1e-2, log=True),
    "batch_size": IntDistribution(32, 128, step=32),
}


def search(
    params: training.Params, spec: dict[str, Any], table: pd.DataFrame, val: batches.Rows, trials: int, key: str
) -> list[FrozenTrial]:
    """The finished trials of the study `key`, `trials` of them and params.yaml's own among them.

    What a trial draws follows from the trials before it, so that an interrupted search comes to the same.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of each trial's own functions
    study = optuna.create_study(study_name=key, storage=journal(), direction="maximize", load_if_exists=True)
    for killed in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(killed.number, state=TrialState.FAIL)
        study.enqueue_trial(killed.system_attrs.get("fixed_params", killed.params))
    study.enqueue_trial(as_they_are(params), skip_if_exists=True)
    runs.log_tuning_trials(key, told(done := finished(study)))
    while len(done) < trials or study.get_trials(states=[TrialState.WAITING]):
        study.sampler = optuna.samplers.TPESampler(seed=params.seed + len(done))
        trial = study.ask(SPACE)
        scored = tried(replace(params, **rounded(trial.params)), spec, table, val)
        trial.set_user_attr("scores", scored.y_score.tolist())
        trial.set_user_attr("figures", {name: METRICS[name](scored) for name in SHOWN})
        study.tell(trial, METRICS[OBJECTIVE](scored))
        done = finished(study)
        log.info("trial %d of %d: %s", len(done), trials, sentence(done[-1]))
        try:
            runs.log_tuning_trials(key, told(done))
        except PipelineError as error:
            log.warning("%s; the search goes on, its runs follow", error)
    return done


def journal() -> JournalStorage:
    """What was tried, without the line that a kill or a full disk cut off: it would spoil the next one."""
    checkpoints.FOLDER.mkdir(exist_ok=True)
    with JOURNAL.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
    return JournalStorage(JournalFileBackend(str(JOURNAL)))


@contextmanager
def alone() -> Iterator[None]:
    """Refuses a second search in this folder: either would take the other's trial for a killed one."""
    checkpoints.FOLDER.mkdir(exist_ok=True)
    lock = FileLock(JOURNAL.with_suffix(".lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise PipelineError(f"{JOURNAL}: another search is at work; wait until it has ended") from None
    try:
        yield
    finally:
        lock.release()


def tried(params: training.Params, spec: dict[str, Any], table: pd.DataFrame, val: batches.Rows) -> Scored:
    """A network trained as the stage trains it, judged on val."""
    rows, stop = training.split_rows(table, params)
    model, _ = training.fit(rows, stop, spec, params, lambda curves: None)
    return training.score_rows(val, training.scorer(model), params.batch_size)


def as_they_are(params: training.Params) -> dict[str, Any]:
    return {name: getattr(params, name) for name in SPACE}


def finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(states=[TrialState.COMPLETE])


def told(trials: list[FrozenTrial]) -> list[runs.TuningTrial]:
    """The trials as MLflow shows them."""
    return [runs.TuningTrial(rounded(trial.params), trial.user_attrs["figures"]) for trial in trials]


def rounded(params: Mapping[str, Any]) -> dict[str, Any]:
    """As params.yaml writes them: 0.3, where a step of the search is 0.30000000000000004."""
    return {n: float(f"{value:.6g}") if isinstance(value, float) else value for n, value in params.items()}


def sentence(trial: FrozenTrial) -> str:
    values = ", ".join(f"{name} {value}" for name, value in rounded(trial.params).items())
    return f"{OBJECTIVE.replace('_', ' ')} {trial.value:.4f} with {values}"


# ---- the proposal


def difference(best: FrozenTrial, now: FrozenTrial, val: batches.Rows) -> str:
    """How much better the best is than params.yaml, and whether val can tell."""
    both = [np.array(trial.user_attrs["scores"]) for trial in (best, now)]
    scored = [Scored(val.labels > 0, scores, scores >= 0.5) for scores in both]
    found = bootstrap.compare(*scored, resamples=RESAMPLES, seed=0)[OBJECTIVE]
    value, low, high = (each or 0.0 for each in (found.value, found.low, found.high))
    within = "; val cannot tell them apart" if low <= 0 else ", chance of the search not counted"
    return f"{value:+.4f} [{low:+.4f}, {high:+.4f}] against params.yaml{within}"


def patched(text: str, changes: Mapping[str, Any]) -> str:
    """params.yaml with these values under `train`; comments and all else stay.

    Raises: PipelineError, for a layout in which they do not stand a line each, two spaces in.
    """
    before, head, section = text.partition("\ntrain:\n")
    section, gap, after = section.partition("\n\n")
    for name, value in changes.items():
        section = _set(section, name, str(value))
    proposed = before + head + section + gap + after
    yaml = YAML(typ="safe")
    wanted = yaml.load(text)
    wanted["train"] |= changes
    if yaml.load(proposed) != wanted:
        values = ", ".join(f"{name} {value}" for name, value in changes.items())
        raise PipelineError(f"{PARAMS}: train is laid out in another way; set by hand: {values}")
    return proposed


def _set(section: str, name: str, value: str) -> str:
    """The section with this value; the comment behind it stays in its column."""

    def as_wide(old: re.Match[str]) -> str:
        return f"{value} ".ljust(len(old[0])) if old[1] else value

    return re.sub(rf"(?m)(?<=^  {name}: )\S+( +(?=#))?", as_wide, section)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--trials", type=int, default=20, metavar="N", help="in all, with those of before (default: 20)"
    )
    trials = parser.parse_args(argv).trials
    if trials < 1:
        raise PipelineError(f"--trials: {trials} is not at least 1")
    params = read_params(training.Params, "train")
    spec, table = read_json(TOKENIZER), read_parquet(TRAIN).to_pandas()
    val = batches.read_rows(read_parquet(VAL).to_pandas())
    if len(np.unique(val.labels)) < 2:
        raise PipelineError(f"{VAL}: no ham or no spam; bring more messages")

    fixed = {name: value for name, value in asdict(params).items() if name not in SPACE}
    key = checkpoints.key_of(fixed, TOKENIZER, *sorted([*TRAIN.iterdir(), *VAL.iterdir()]))
    with alone():
        done = search(params, spec, table, val, trials, key)
    best = max(done, key=lambda trial: trial.value or 0.0)
    own = rounded(as_they_are(params))
    now = next(trial for trial in done if rounded(trial.params) == own)
    if best.value == now.value:
        log.info("tune: params.yaml is the best of %d trials", len(done))
        return
    log.info("tune: the best of %d trials: %s", len(done), sentence(best))
    log.info("tune: %s", difference(best, now, val))
    text = PARAMS.read_text(encoding="utf-8")
    lines = text.splitlines(True), patched(text, rounded(best.params)).splitlines(True)
    print(*difflib.unified_diff(*lines, "a/params.yaml", "b/params.yaml"), sep="", end="")
