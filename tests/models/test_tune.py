"""The search reads no test rows, resumes where it stopped, and proposes a patch for Git."""

import shutil
import subprocess

import numpy as np
import pyarrow as pa
import pytest
import ruamel.yaml

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_json
from pipeline.core.params import read_params
from pipeline.core.schemas import SHARD
from pipeline.core.tables import read_parquet, write_shards
from pipeline.evaluation.metrics import Predictions
from pipeline.models import checkpoints, training, tune
from pipeline.models.batches import rows_from_table
from pipeline.preprocessing.tokenizer import fit_tokenizer, shard_tables
from tests.harness.errors import error_of
from tests.harness.labelled_messages import TABLE, TEXTS
from tests.harness.small_project import ROOT, set_params

SMALL = {"model": "dense", "epochs": 1, "patience": 1, "stop_share": 0.3, "learning_rate": 0.0006}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """What vectorize makes of the hand-written messages, without test; the working folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    set_params(tmp_path, {"train": SMALL})
    tokenizer = fit_tokenizer(TEXTS, vocabulary_size=300, sequence_length=50)
    tune.TOKENIZER.parent.mkdir()
    tokenizer.save(str(tune.TOKENIZER))
    in_val = TABLE.index % 3 == 0
    for folder, part in ((tune.TRAIN, TABLE[~in_val]), (tune.VAL, TABLE[in_val])):
        write_shards(folder, shard_tables(part, tokenizer, 90))
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
    """Stands for training, with scores of val that depend on the params alone, and for MLflow."""

    def __init__(self):
        self.params = []  # of each network
        self.interrupt_at = None  # the number of a training
        self.logged = []  # the trials of each call of MLflow
        self.mlflow_fails_at = None  # the number of a call

    def train(self, params, spec, table, val):
        self.params.append(params)
        if len(self.params) == self.interrupt_at:
            raise KeyboardInterrupt
        seed = [int(value * 1e6) for value in tune.searched_values(params).values()]
        y_score = np.random.default_rng(seed).random(len(val.labels))
        return Predictions(y_true=val.labels > 0, y_score=y_score, y_pred=y_score >= 0.5)

    def log(self, study, trials):
        self.logged.append(trials)
        if len(self.logged) == self.mlflow_fails_at:
            raise PipelineError("unplugged")


@pytest.fixture
def fake(monkeypatch):
    fake = FakeTraining()
    monkeypatch.setattr(tune, "train_and_score", fake.train)
    monkeypatch.setattr(tune, "log_tuning_trials", fake.log)
    return fake


def test_each_search_range_lies_within_its_params_range():
    space = tune.search_space()
    assert len(space) == 9
    defaults = read_params(training.Params, "train", ROOT / "params.yaml").model_dump()
    for name, distribution in space.items():
        for value in (distribution.low, distribution.high):
            assert getattr(training.Params(**defaults | {name: value}), name) == value


def test_first_trial_is_params_yaml_and_others_are_in_the_space(project, fake):
    first, *others = search(3)
    assert first.params == tune.searched_values(read_params(training.Params, "train"))
    assert len(others) == 2
    assert others[0].params != others[1].params
    for trial in others:
        for name, distribution in tune.search_space().items():
            assert distribution._contains(distribution.to_internal_repr(trial.params[name]))


def test_interrupted_search_gives_the_same_trials(project, fake):
    whole = outcomes(4)
    shutil.rmtree(checkpoints.FOLDER)
    fake.interrupt_at = 4 + 3
    with pytest.raises(KeyboardInterrupt):
        search(4)
    assert outcomes(4) == whole
    assert len(fake.params) == 4 + 5
    assert fake.params[7] == fake.params[6]  # the interrupted trial is repeated


def test_first_trial_survives_an_interruption_outside_the_space(project, fake):
    values = {"batch_size": 50, "units": 300, "learning_rate": 0.0123456}
    set_params(project, {"train": SMALL | values})
    fake.interrupt_at = 1
    with pytest.raises(KeyboardInterrupt):
        search(2)
    first, _ = search(2)
    assert {name: first.params[name] for name in values} == values


def test_finished_trials_count(project, fake):
    two = outcomes(2)
    assert outcomes(2) == two
    assert len(fake.params) == 2
    assert outcomes(3)[:2] == two
    set_params(project, {"train": {"units": 48}})  # a trial beyond the number
    assert len(outcomes(3)) == 4
    assert fake.params[-1].units == 48


def test_trial_that_was_cut_off_in_the_journal_is_repeated(project, fake):
    two = outcomes(2)
    with tune.JOURNAL.open("ab") as file:
        file.truncate(tune.JOURNAL.stat().st_size - 20)
    assert outcomes(2) == two
    assert len(fake.params) == 3


def test_trials_that_mlflow_missed_are_logged_later(project, fake, caplog):
    fake.mlflow_fails_at = 2
    trials = search(2)
    assert "unplugged; the search continues and logs its trials later" in caplog.messages
    assert [len(logged) for logged in fake.logged] == [0, 1, 2]
    for logged, trial in zip(fake.logged[-1], trials, strict=True):
        assert logged.params == tune.rounded(trial.params)
        assert logged.figures["average_precision"] == pytest.approx(trial.value)
        assert set(logged.figures) == {"average_precision", "log_loss"}


def test_proposal_changes_values_and_keeps_comments_and_layout():
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    changes = {"units": 48, "learning_rate": 0.00123, "dropout": 0.0, "seed": 7}
    after = tune.with_train_values(text, changes)
    pairs = zip(text.splitlines(), after.splitlines(), strict=True)
    changed = [(old, new) for old, new in pairs if old != new]
    assert len(changed) == 4
    for old, new in changed:
        assert old.find("#") == new.find("#")
        assert old.partition("#")[2] == new.partition("#")[2]
    yaml = ruamel.yaml.YAML(typ="safe")
    expected = yaml.load(text)
    expected["train"] |= changes
    assert yaml.load(after) == expected


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


def trial_with(value, scores):
    return tune.optuna.trial.create_trial(value=value, user_attrs={"scores": scores})


def test_improvement_has_an_interval_and_says_whether_it_is_significant(monkeypatch):
    monkeypatch.setattr(tune, "RESAMPLES", 50)
    labels = np.arange(40) % 4 == 0
    perfect = trial_with(1.0, (0.1 + 0.8 * labels).tolist())
    useless = trial_with(0.25, [0.5] * 40)
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


def test_val_of_one_class_is_refused_before_training(project, fake):
    table = read_parquet(tune.VAL).to_pandas()
    ham = pa.Table.from_pandas(table[table["label"] == 0], SHARD, preserve_index=False)
    write_shards(project / tune.VAL, [ham])
    assert error_of(tune.main, []) == "data/vectorized/val: no ham or no spam; bring more messages"
    assert fake.params == []


def test_without_mlflow_nothing_is_trained(project, fake):
    fake.mlflow_fails_at = 1
    assert error_of(tune.main, []) == "unplugged"
    assert fake.params == []
