"""The search sees no test row, goes on where it stopped, and proposes a params.yaml that Git can apply."""

import re
import shutil
import subprocess
from dataclasses import asdict

import pandas as pd
import pyarrow as pa
import pytest
import ruamel.yaml
from mlflow.exceptions import MlflowException

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_json
from pipeline.core.params import read_params
from pipeline.core.schemas import SHARD
from pipeline.core.tables import read_parquet, write_shards
from pipeline.models import batches, checkpoints, training, tune
from pipeline.preprocessing.tokenizer import fit_tokenizer, shard_tables
from pipeline.tracking import mlflow_client
from tests.harness.small_project import MESSAGES, ROOT, set_params

SMALL = {"model": "dense", "epochs": 1, "patience": 1, "stop_share": 0.3, "learning_rate": 0.0006}


@pytest.fixture
def project(store, tmp_path):
    """What vectorize made of the hand-written messages, with no test in it."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    set_params(tmp_path, {"train": SMALL})
    rows = pd.read_csv(MESSAGES)
    rows = pd.DataFrame(
        {
            "message_id": [f"{i:064x}" for i in range(len(rows))],
            "campaign_key": [f"{i:016x}" for i in range(len(rows))],
            "text": rows["body"],
            "label": rows["kind"].map({0: "ham", 1: "spam"}),
        }
    )
    tokenizer = fit_tokenizer(
        rows["text"], vocabulary_size=300, sequence_length=50
    )
    (tmp_path / "models").mkdir()
    tokenizer.save(str(tmp_path / tune.TOKENIZER))
    for folder, part in ((tune.TRAIN, rows[rows.index % 3 > 0]), (tune.VAL, rows[rows.index % 3 == 0])):
        write_shards(tmp_path / folder, shard_tables(part, tokenizer, 90))
    return tmp_path


def search(trials):
    """The search of the command on the project in the working directory: params and figures of each trial."""
    params = read_params(training.Params, "train")
    val = batches.rows_from_table(read_parquet(tune.VAL).to_pandas())
    table = read_parquet(tune.TRAIN).to_pandas()
    done = tune.search(params, read_json(tune.TOKENIZER), table, val, trials, "a study")
    return [(trial.params, trial.value) for trial in done]


def counted(monkeypatch):
    """The params of each network that is trained."""
    asked, fit = [], training.train_network
    monkeypatch.setattr(training, "train_network", lambda *given: asked.append(given[3]) or fit(*given))
    return asked


def test_the_first_trial_is_params_yaml_and_all_are_within_the_space(project):
    (first, _), *others = search(3)
    assert first == tune.searched_values(read_params(training.Params, "train"))
    assert len(others) == 2
    for params, value in others:
        assert 0 <= value <= 1
        assert all(
            tune.SEARCH_SPACE[name]._contains(tune.SEARCH_SPACE[name].to_internal_repr(value))
            for name, value in params.items()
        )
    assert others[0][0] != others[1][0]


def test_an_interrupted_search_comes_to_the_same_and_repeats_nothing(project, monkeypatch):
    whole = search(4)
    shutil.rmtree(checkpoints.FOLDER)
    fit, asked = training.train_network, []

    def until_the_third(*given):
        asked.append(given[3])
        if len(asked) == 3:
            raise KeyboardInterrupt
        return fit(*given)

    monkeypatch.setattr(training, "train_network", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        search(4)
    assert search(4) == whole
    assert len(asked) == 5
    assert asdict(asked[3]) == asdict(asked[2])  # what was killed is tried again


def test_a_line_of_the_journal_that_was_cut_off_spoils_nothing(project):
    two = search(2)
    with tune.JOURNAL.open("ab") as file:
        file.truncate(tune.JOURNAL.stat().st_size - 20)
    assert search(2) == two  # the second was cut off, and is tried again


def test_a_second_search_in_the_folder_is_refused(project):
    with tune.search_lock(), pytest.raises(PipelineError, match="another search is at work; wait"):
        tune.main([])


def test_params_that_no_trial_would_draw_are_the_first_trial_all_the_same(project, monkeypatch):
    set_params(project, {"train": SMALL | {"batch_size": 50, "units": 300, "learning_rate": 0.0123456}})
    fit = training.train_network
    monkeypatch.setattr(training, "train_network", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        search(2)
    monkeypatch.setattr(training, "train_network", fit)
    asked = counted(monkeypatch)
    (first, _), _ = search(2)
    assert first == tune.searched_values(asked[0])
    assert (asked[0].batch_size, asked[0].units, asked[0].learning_rate) == (50, 300, 0.0123456)


def test_what_was_tried_before_counts(project, monkeypatch):
    two = search(2)
    asked = counted(monkeypatch)
    assert search(2) == two
    assert asked == []
    assert search(3)[:2] == two
    assert len(asked) == 1


def test_other_params_than_before_become_a_trial_beyond_the_number(project, monkeypatch):
    search(2)
    asked = counted(monkeypatch)
    set_params(project, {"train": {"units": 48}})
    assert len(search(2)) == 3
    assert [params.units for params in asked] == [48]


def test_mlflow_has_a_run_of_the_search_and_a_child_for_each_trial(project, store):
    done = search(2)
    search(2)  # adds none
    experiment = store.get_experiment_by_name(mlflow_client.MODEL_NAME).experiment_id
    runs = store.search_runs([experiment])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    by_name = {run.info.run_name: run for run in children}
    assert sorted(by_name) == ["trial 1", "trial 2"]
    for number, (params, value) in enumerate(done, 1):
        shown = by_name[f"trial {number}"].data
        assert shown.params == {f"train.{n}": str(v) for n, v in tune.rounded(params).items()}
        assert shown.metrics[f"val/{tune.OBJECTIVE}"] == pytest.approx(value)
        assert set(shown.metrics) == {f"val/{name}" for name in tune.TRIAL_METRICS}
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}


def test_trials_that_mlflow_missed_follow(project, store, monkeypatch, caplog):
    create, calls = type(store).create_run, []

    def second_call_fails(*given, **named):
        calls.append(1)
        if len(calls) == 2:
            raise MlflowException("unplugged")
        return create(*given, **named)

    monkeypatch.setattr(type(store), "create_run", second_call_fails)
    search(2)
    assert "unplugged" in caplog.text
    assert "the search goes on" in caplog.text
    experiment = store.get_experiment_by_name(mlflow_client.MODEL_NAME).experiment_id
    names = [run.info.run_name for run in store.search_runs([experiment])]
    assert sorted(names) == ["trial 1", "trial 2", "tune"]


# ---- the proposal


def test_patch_changes_these_values_alone_and_keeps_every_comment(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    after = tune.with_train_values(text, {"units": 48, "learning_rate": 0.00123, "seed": 7})
    yaml = ruamel.yaml.YAML(typ="safe")
    wanted = yaml.load(text)
    wanted["train"] |= {"units": 48, "learning_rate": 0.00123, "seed": 7}
    assert yaml.load(after) == wanted
    assert re.findall("#.*", after) == re.findall("#.*", text)
    assert [line.find("#") for line in after.split("\n")] == [line.find("#") for line in text.split("\n")]


@pytest.mark.parametrize(
    "layout",
    [
        lambda text: text[text.index("\ntrain:") + 1 :],
        lambda text: text.replace("train:\n", "train:  # mine\n"),
        lambda text: text.replace("  units:", "\n  units:"),
    ],
)
def test_another_layout_is_refused_with_the_values_to_set(layout):
    text = layout((ROOT / "params.yaml").read_text())
    with pytest.raises(PipelineError, match=r"laid out in another way; set by hand: units 48, seed 7$"):
        tune.with_train_values(text, {"units": 48, "seed": 7})


def test_command_writes_a_patch_that_git_applies(project, capsys):
    subprocess.run(["git", "init", "--quiet"], check=True)
    before = read_params(training.Params, "train")
    tune.main(["--trials", "4"])
    patch = capsys.readouterr().out
    subprocess.run(["git", "apply"], input=patch, text=True, check=True)
    after = read_params(training.Params, "train")
    best = max(search_done(), key=lambda trial: trial.value)
    assert asdict(after) == asdict(before) | tune.rounded(best.params) != asdict(before)
    tune.main(["--trials", "4"])
    assert capsys.readouterr().out == ""  # what it proposed is what stands there


def search_done():
    """The trials of the one study in the journal."""
    storage = tune.JournalStorage(tune.JournalFileBackend(str(checkpoints.FOLDER / "tune.journal")))
    return [trial for study in storage.get_all_studies() for trial in storage.get_all_trials(study._study_id)]


def test_difference_that_val_cannot_tell_is_called_so(project):
    val = batches.rows_from_table(read_parquet(tune.VAL).to_pandas())
    sure, unsure = ([0.5 + (label - 0.5) * by for label in val.labels] for by in (0.9, 0.0))
    trials = [tune.optuna.trial.create_trial(value=0.0, user_attrs={"scores": s}) for s in (sure, unsure)]
    assert "val cannot tell" not in tune.improvement(*trials, val)
    assert "val cannot tell them apart" in tune.improvement(trials[0], trials[0], val)


def test_difference_is_that_of_the_two_trials(project):
    search(3)
    val = batches.rows_from_table(read_parquet(tune.VAL).to_pandas())
    one, other, _ = search_done()
    assert tune.improvement(one, other, val).startswith(f"{one.value - other.value:+.4f} [")


# ---- what the person at the keyboard can put right


def test_too_few_trials_are_refused(project):
    with pytest.raises(PipelineError, match=r"^--trials: 0 is not at least 1$"):
        tune.main(["--trials", "0"])


def test_what_vectorize_has_not_made_is_asked_for(project):
    shutil.rmtree(project / tune.TRAIN)
    with pytest.raises(PipelineError, match="data/vectorized/train: missing"):
        tune.main([])


def test_val_of_one_class_is_refused_before_anything_is_trained(project, monkeypatch):
    asked = counted(monkeypatch)
    table = read_parquet(tune.VAL).to_pandas()
    one = pa.Table.from_pandas(table[table["label"] == 0], SHARD, preserve_index=False)
    write_shards(project / tune.VAL, [one])
    with pytest.raises(PipelineError, match="data/vectorized/val: no ham or no spam; bring more messages"):
        tune.main([])
    assert asked == []


def test_without_mlflow_nothing_is_trained(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/none.db")
    asked = counted(monkeypatch)
    with pytest.raises(PipelineError, match="MLFLOW_TRACKING_URI"):
        tune.main([])
    assert asked == []
