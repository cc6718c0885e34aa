"""Searches for better params of train, and prints them as a patch of params.yaml.

Each trial trains on train and is measured on val; the test split is never read. The first trial
uses params.yaml as it is. Finished trials on the same data and code count, also after an
interruption. Each search uses val a little more, on which the threshold is chosen too.

Apply the patch with `python -m pipeline tune > tuned.patch && git apply tuned.patch`.
"""

import difflib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
import pandas as pd
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from ruamel.yaml import YAML

from pipeline.core.cli import argument_parser
from pipeline.core.errors import PipelineError
from pipeline.core.params import PARAMS_FILE, read_params
from pipeline.core.tables import read_parquet
from pipeline.evaluation import bootstrap, metrics
from pipeline.evaluation.metrics import Predictions
from pipeline.models import checkpoints, training
from pipeline.models.batches import Rows, rows_from_table
from pipeline.preprocessing.tokenizer import read_spec
from pipeline.tracking.tuning_runs import TuningTrial, log_tuning_trials

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline tune --trials 40 > tuned.patch"
TOKENIZER = Path("models/tokenizer.json")
TRAIN = Path("data/vectorized/train")
VAL = Path("data/vectorized/val")
JOURNAL = checkpoints.FOLDER / "tune.journal"
OBJECTIVE = "average_precision"  # on val, to be maximised
RESAMPLES = 1000  # of the bootstrap that compares the best trial with params.yaml


def search_space() -> dict[str, BaseDistribution]:
    """The range of each param that is searched, as its field in training.Params states it."""
    space: dict[str, BaseDistribution] = {}
    for name, field in training.Params.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "search" in extra:
            distribution = IntDistribution if field.annotation is int else FloatDistribution
            space[name] = distribution(**cast(dict[str, Any], extra["search"]))
    return space


def search(
    params: training.Params,
    spec: dict[str, Any],
    table: pd.DataFrame,
    val: Rows,
    trials: int,
    key: str,
) -> list[FrozenTrial]:
    """At least `trials` finished trials of the study `key`, among them that of `params`.

    The params of a trial depend on the trials before it alone, so that an interrupted search
    gives the same result.

    Args:
        spec: the content of tokenizer.json.
        table: the rows of train, with the columns of SHARD.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns about each trial's functions
    study = _open_study(key, params)
    done = finished_trials(study)
    log_tuning_trials(key, trial_records(done))
    while len(done) < trials or study.get_trials(states=[TrialState.WAITING]):
        study.sampler = optuna.samplers.TPESampler(seed=params.seed + len(done))
        trial = study.ask(search_space())
        trial_params = params.model_copy(update=rounded(trial.params))
        predictions = train_and_score(trial_params, spec, table, val)
        figures = {
            "average_precision": metrics.average_precision(predictions),
            "log_loss": metrics.log_loss(predictions),
        }
        trial.set_user_attr("scores", predictions.y_score.tolist())
        trial.set_user_attr("figures", figures)
        study.tell(trial, figures[OBJECTIVE])
        done = finished_trials(study)
        log.info("trial %d of %d: %s", len(done), trials, trial_summary(done[-1]))
        try:
            log_tuning_trials(key, trial_records(done))
        except PipelineError as error:
            log.warning("%s; the search continues and logs its trials later", error)
    return done


def _open_study(key: str, params: training.Params) -> optuna.Study:
    """The study, in which killed trials and the trial of `params` wait to be run."""
    study = optuna.create_study(
        study_name=key, storage=journal(), direction="maximize", load_if_exists=True
    )
    for killed in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(killed.number, state=TrialState.FAIL)
        study.enqueue_trial(killed.system_attrs.get("fixed_params", killed.params))
    study.enqueue_trial(searched_values(params), skip_if_exists=True)
    return study


def journal() -> JournalStorage:
    """The file of all trials; a last line that a kill or a full disk cut off is removed first."""
    checkpoints.FOLDER.mkdir(exist_ok=True)
    with JOURNAL.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
    return JournalStorage(JournalFileBackend(str(JOURNAL)))


@contextmanager
def search_lock() -> Iterator[None]:
    """Refuses a second search in this folder: it would take a running trial for a killed one.

    Raises: PipelineError.
    """
    checkpoints.FOLDER.mkdir(exist_ok=True)
    lock = FileLock(JOURNAL.with_suffix(".lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        problem = "another search is running; wait until it has ended"
        raise PipelineError(f"{JOURNAL}: {problem}") from None
    try:
        yield
    finally:
        lock.release()


def train_and_score(
    params: training.Params, spec: dict[str, Any], table: pd.DataFrame, val: Rows
) -> Predictions:
    """Trains a network as the stage does, and scores val."""
    rows, stop = training.split_rows(table, params)
    trainer = training.Trainer(spec, params)
    trainer.train(rows, stop)
    return training.score_rows(val, trainer.score, params.batch_size)


def searched_values(params: training.Params) -> dict[str, Any]:
    """The values of the params that are searched."""
    return params.model_dump(include=set(search_space()))


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have a result, in order."""
    return study.get_trials(states=[TrialState.COMPLETE])


def trial_records(trials: Sequence[FrozenTrial]) -> list[TuningTrial]:
    """The trials as MLflow shows them."""
    return [TuningTrial(rounded(trial.params), trial.user_attrs["figures"]) for trial in trials]


def rounded(params: Mapping[str, Any]) -> dict[str, Any]:
    """The values with floats of 6 digits: 0.3 for the search's 0.30000000000000004."""
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) else value
        for name, value in params.items()
    }


def trial_summary(trial: FrozenTrial) -> str:
    """The objective and the params of a trial, in a line."""
    values = ", ".join(f"{name} {value}" for name, value in rounded(trial.params).items())
    return f"{OBJECTIVE.replace('_', ' ')} {trial.value:.4f} with {values}"


# ---- the proposal


def improvement(best: FrozenTrial, current: FrozenTrial, labels: metrics.Labels) -> str:
    """The difference of two trials with its 95 % interval, and whether it is significant.

    Args:
        labels: (n,), True for the spam of val.
    """

    def predictions(trial: FrozenTrial) -> Predictions:
        scores = np.array(trial.user_attrs["scores"])
        return Predictions(y_true=labels, y_score=scores, y_pred=scores >= 0.5)

    compared = predictions(best), predictions(current)
    figures = bootstrap.measure_difference(*compared, [OBJECTIVE], resamples=RESAMPLES, seed=0)
    figure = figures[OBJECTIVE]
    value, low, high = (number or 0.0 for number in (figure.value, figure.low, figure.high))
    note = "not significant" if low <= 0 else "not corrected for the number of trials"
    return f"{value:+.4f} [{low:+.4f}, {high:+.4f}] against params.yaml; {note}"


def with_train_values(text: str, changes: Mapping[str, Any]) -> str:
    """The text of params.yaml with these values in the section `train`; comments stay."""
    yaml = YAML()  # the round trip keeps comments, quotes and the order of keys
    yaml.preserve_quotes = True
    yaml.width = 4096  # no line is wrapped
    params = yaml.load(text)
    params["train"].update(changes)
    changed = io.StringIO()
    yaml.dump(params, changed)
    return changed.getvalue()


def main(argv: list[str] | None = None) -> None:
    """Runs the search and prints the patch; prints nothing when params.yaml is the best."""
    parser = argument_parser(__doc__, EXAMPLE)
    trials_help = "number of trials, earlier ones included (default: 20)"
    parser.add_argument("--trials", type=int, default=20, metavar="N", help=trials_help)
    trials = parser.parse_args(argv).trials
    if trials < 1:
        raise PipelineError(f"--trials: {trials} is too small; choose 1 or more")
    params = read_params(training.Params, "train")
    spec = read_spec(TOKENIZER)
    table = read_parquet(TRAIN).to_pandas()
    val = rows_from_table(read_parquet(VAL).to_pandas())
    if len(np.unique(val.labels)) < 2:
        raise PipelineError(f"{VAL}: no ham or no spam; bring more messages")

    fixed = params.model_dump(exclude=set(search_space()))
    key = checkpoints.training_key(fixed, TOKENIZER, *sorted([*TRAIN.iterdir(), *VAL.iterdir()]))
    with search_lock():
        done = search(params, spec, table, val, trials, key)
    best = max(done, key=lambda trial: trial.value or 0.0)
    own_values = rounded(searched_values(params))
    current = next(trial for trial in done if rounded(trial.params) == own_values)
    if best.value == current.value:
        log.info("tune: params.yaml is the best of %d trials", len(done))
        return
    log.info("tune: the best of %d trials: %s", len(done), trial_summary(best))
    log.info("tune: %s", improvement(best, current, val.labels > 0))
    print(patch(PARAMS_FILE.read_text(encoding="utf-8"), rounded(best.params)), end="")


def patch(text: str, changes: Mapping[str, Any]) -> str:
    """The unified diff that gives params.yaml, whose text this is, these values of train."""
    before = text.splitlines(keepends=True)
    after = with_train_values(text, changes).splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, "a/params.yaml", "b/params.yaml"))
