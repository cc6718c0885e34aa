"""The search reads no test rows, resumes where it stopped, and proposes a patch for Git."""

import shutil
import subprocess
from unittest.mock import Mock

import numpy as np
import pyarrow.compute as pc
import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_json
from pipeline.core.params import read_params
from pipeline.core.tables import read_parquet, write_shards
from pipeline.evaluation.metrics import Predictions
from pipeline.models import checkpoints, training, tune
from pipeline.models.batches import rows_from_table
from tests.harness.errors import error_of
from tests.harness.labelled_messages import write_vectorized
from tests.harness.small_project import ROOT, set_params

SMALL = {"model": "dense", "epochs": 1, "fewest_steps": 0, "patience": 1, "stop_share": 0.3}
SMALL |= {"learning_rate": 0.0006}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """What vectorize makes of the hand-written messages; the working folder."""
    monkeypatch.chdir(tmp_path)
    write_vectorized(tmp_path, SMALL)
    return tmp_path


def search(trials):
    """The trials of the search in the working folder."""
    params = read_params(training.Params, "train")
    spec, table = read_json(tune.TOKENIZER), read_parquet(tune.TRAIN).to_pandas()
    val = rows_from_table(read_parquet(tune.VAL).to_pandas())
    return tune.search(params, spec, table, val, trials, "a study")


def outcomes(trials):
    """The params and the value of each trial of a search."""
    return [(trial.params, trial.value) for trial in search(trials)]


class FakeTraining:
    """Stands for training, with scores of val that depend on the params alone."""

    def __init__(self):
        self.params = []  # of each network
        self.interrupt_at = None  # the number of a training

    def train(self, params, spec, table, val):
        self.params.append(params)
        if len(self.params) == self.interrupt_at:
            raise KeyboardInterrupt
        seed = [int(value * 1e6) for value in tune.searched_values(params).values()]
        y_score = np.random.default_rng(seed).random(len(val.labels))
        return Predictions(y_true=val.labels > 0, y_score=y_score, y_pred=y_score >= 0.5)


@pytest.fixture
def fake(monkeypatch, log):
    fake = FakeTraining()
    monkeypatch.setattr(tune, "train_and_score", fake.train)
    return fake


@pytest.fixture
def log(monkeypatch):
    """Stands for the function that logs trials to MLflow."""
    log = Mock()
    monkeypatch.setattr(tune, "log_tuning_trials", log)
    return log


def test_each_search_range_lies_within_its_params_range():
    space = tune.search_space()
    assert len(space) == 10
    defaults = read_params(training.Params, "train", ROOT / "params.yaml").model_dump()
    for name, distribution in space.items():
        for value in (distribution.low, distribution.high):
            assert getattr(training.Params(**defaults | {name: value}), name) == value


def test_interrupted_search_gives_the_same_trials(project, fake):
    outside_the_space = {"batch_size": 50, "units": 300, "learning_rate": 0.0123456}
    set_params(project, {"train": outside_the_space})
    whole = outcomes(4)
    assert whole[0][0] == tune.searched_values(read_params(training.Params, "train"))
    assert len({value for _, value in whole}) == 4
    for number in (1, 3):
        shutil.rmtree(checkpoints.FOLDER)
        fake.params.clear()
        fake.interrupt_at = number
        with pytest.raises(KeyboardInterrupt):
            search(4)
        assert outcomes(4) == whole
        assert len(fake.params) == 5
        assert fake.params[number] == fake.params[number - 1]  # the trial is repeated


def test_finished_trials_count(project, fake):
    two = outcomes(2)
    with tune.JOURNAL.open("ab") as file:
        file.truncate(tune.JOURNAL.stat().st_size - 20)  # as a kill leaves it
    assert outcomes(2) == two
    assert len(fake.params) == 3  # the second trial is repeated
    assert outcomes(3)[:2] == two
    assert len(fake.params) == 4
    set_params(project, {"train": {"units": 48}})  # a trial beyond the number
    assert len(outcomes(3)) == 4
    assert fake.params[-1].units == 48


def test_trials_that_mlflow_missed_are_logged_later(project, fake, log, caplog):
    log.side_effect = [None, PipelineError("unplugged"), None]
    trials = search(2)
    assert "unplugged; the search continues and logs its trials later" in caplog.messages
    calls = [logged for _, logged in (call.args for call in log.call_args_list)]
    assert [len(logged) for logged in calls] == [0, 1, 2]
    for logged, trial in zip(calls[-1], trials, strict=True):
        assert logged.params == tune.rounded(trial.params)
        assert logged.figures["average_precision"] == pytest.approx(trial.value)
        assert set(logged.figures) == {"average_precision", "log_loss"}


def test_proposal_changes_values_and_keeps_comments_and_layout():
    text = """\
salt: "2026" # quoted
train:
  units: 32           # in each direction
  learning_rate: 0.001   # decays to 0
"""
    after = tune.with_train_values(text, {"units": 48, "learning_rate": 0.00123})
    assert after == text.replace("32", "48").replace("0.001  ", "0.00123")


@pytest.mark.slow
def test_command_prints_a_patch_that_git_applies(store, project, capsys):
    subprocess.run(["git", "init", "--quiet"], check=True)
    before = read_params(training.Params, "train").model_dump()
    tune.main(["--trials", "4"])
    patch = capsys.readouterr().out
    subprocess.run(["git", "apply"], input=patch, text=True, check=True)
    after = read_params(training.Params, "train").model_dump()
    (study,) = tune.journal().get_all_studies()
    best = max(tune.journal().get_all_trials(study._study_id), key=lambda trial: trial.value)
    assert after == before | tune.rounded(best.params) != before
    tune.main(["--trials", "4"])
    assert capsys.readouterr().out == ""  # what it proposed is now in params.yaml


def test_improvement_has_an_interval_and_says_whether_it_is_significant(monkeypatch):
    monkeypatch.setattr(tune, "RESAMPLES", 50)
    labels = np.arange(40) % 4 == 0
    perfect, useless = (
        tune.optuna.trial.create_trial(value=value, user_attrs={"scores": scores})
        for value, scores in ((1.0, labels.astype(float).tolist()), (0.25, [0.5] * 40))
    )
    better = tune.improvement(perfect, useless, labels)
    assert better.startswith("+0.7500 [+0.75")
    assert better.endswith("against params.yaml; not corrected for the number of trials")
    assert tune.improvement(perfect, perfect, labels).endswith("; not significant")


def test_too_few_trials_are_refused():
    message = "--trials: 0 is too small; choose 1 or more"
    assert error_of(tune.main, ["--trials", "0"]) == message


def test_a_second_search_in_the_folder_is_refused(project):
    message = "another search is running; wait until it has ended"
    with tune.search_lock():
        assert error_of(tune.main, []) == f".checkpoints/tune.journal: {message}"


def test_val_of_one_class_is_refused(project):
    table = read_parquet(tune.VAL)
    write_shards(project / tune.VAL, [table.filter(pc.field("label") == 0)])
    assert error_of(tune.main, []) == "data/vectorized/val: no ham or no spam; bring more messages"


def test_without_mlflow_nothing_is_trained(project, fake, log):
    log.side_effect = PipelineError("unplugged")
    assert error_of(tune.main, []) == "unplugged"
    assert fake.params == []
