"""Only a model that wins takes the alias, once, and run, version and ledger say why or why not."""

import json
import re
import shutil
from pathlib import Path

import keras
import pandas as pd
import pytest

from pipeline import register
from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params, read_yaml
from pipeline.registry import ledger, parity, promotion, recovery, versions
from pipeline.registry.promotion import Bound, Params, missed
from pipeline.tracking import mlflow_client
from tests.harness.evaluated_project import FIGURES, Project
from tests.harness.small_project import ROOT, set_params

# ---- criteria


def test_figure_within_its_bound_is_not_missed():
    assert missed({"f1": Bound(min=0.9), "ham_blocked_percent": Bound(max=1.5)}, FIGURES) == []
    assert missed({}, FIGURES) == []


@pytest.mark.parametrize(
    ("name", "bound", "reason"),
    [
        ("f1", Bound(min=0.901), "f1 0.9 is below 0.901"),
        ("ham_blocked_percent", Bound(max=0), "ham_blocked_percent 1.5 is above 0"),
        ("difference.f1", Bound(min=0.25), "difference.f1 0.1 is below 0.25"),
        ("slices.long.recall", Bound(max=0.25), "slices.long.recall 0.5 is above 0.25"),
        ("roc_auc", Bound(min=0), "roc_auc is undefined on this test set"),
        ("roc_auc", Bound(max=1), "roc_auc is undefined on this test set"),
    ],
)
def test_figure_beyond_its_bound_is_a_reason(name, bound, reason):
    assert missed({name: bound}, FIGURES) == [reason]


def test_reasons_stand_in_the_order_of_the_criteria():
    criteria = {
        "ham_blocked_percent": Bound(max=1),
        "baseline.f1": Bound(min=0),
        "f1": Bound(min=1),
    }
    assert missed(criteria, FIGURES) == ["ham_blocked_percent 1.5 is above 1", "f1 0.9 is below 1"]


def test_criterion_on_a_figure_that_is_not_there_is_refused():
    with pytest.raises(PipelineError) as refused:
        missed({"f2": Bound(min=0.9)}, FIGURES)
    assert str(refused.value) == (
        "params.yaml: register.criteria: unknown 'f2'; choose from "
        "f1, ham_blocked_percent, roc_auc, baseline.f1, difference.f1, slices.long.recall"
    )


@pytest.mark.parametrize(
    ("criterion", "line"),
    [
        ({}, ": a criterion has either min or max"),
        ({"min": 0.5, "max": 0.9}, ": a criterion has either min or max"),
        ({"mim": 0.5}, ".mim: unknown key; remove it or mend its spelling"),
        ({"min": "high"}, ".min: input should be a valid number, not 'high'"),
    ],
)
def test_criterion_needs_exactly_one_of_min_and_max(criterion, line, tmp_path, monkeypatch):
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    set_params(tmp_path, {"register": {"criteria": {"f1": criterion}}})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError) as refused:
        read_params(Params, "register")
    assert str(refused.value) == f"params.yaml: register.criteria.f1{line}"


# ---- the stage

DUEL = read_yaml(ROOT / "params.yaml")["register"]["duel"]
FIRST = "first: it meets the criteria, and there is no champion"


@pytest.fixture
def project(store, tmp_path):
    keras.utils.set_random_seed(7)
    return Project(tmp_path, store)


@pytest.mark.slow
def test_registered_twice_is_one_run_one_version_and_equal_bytes(project):
    first = project.register()
    assert json.loads(first) == {
        "rows": 13,
        "figures": {"f1": FIGURES["f1"]},
        "verdict": FIRST,
    }
    (run,) = project.runs()
    version = project.store.get_model_version(mlflow_client.MODEL_NAME, "1")
    assert project.register() == first
    assert len(project.runs()) == 1
    assert project.versions() == ["1"] == [versions.champion_number()]
    assert project.runs()[0].data.to_dictionary() == run.data.to_dictionary()
    assert project.store.get_model_version(mlflow_client.MODEL_NAME, "1").tags == version.tags


@pytest.mark.slow
def test_run_and_version_show_what_the_files_say(project):
    project.register()
    (run,) = project.runs()
    assert run.info.run_name.startswith("bilstm f1 0.900 ")
    assert run.data.params["register.criteria.f1.min"] == "0.5"
    assert run.data.metrics["test/f1"] == 0.9
    assert "test/roc_auc" not in run.data.metrics  # undefined
    assert run.data.metrics["train/loss"] == 0.25
    datasets = {
        entry.dataset.name: json.loads(entry.dataset.profile) for entry in run.inputs.dataset_inputs
    }
    assert {name: profile["num_rows"] for name, profile in datasets.items()} == {
        "train": 35,
        "val": 23,
        "test": 23,
    }
    version = project.store.get_model_version(mlflow_client.MODEL_NAME, "1")
    assert version.run_id == run.info.run_id
    assert version.tags["threshold"] == "0.5"
    assert version.tags["model_hash"] == run.data.tags["model_hash"]
    assert version.description == run.data.tags["mlflow.note.content"]
    model, number = versions.load_champion()
    assert number == "1"
    assert [column.name for column in model.metadata.signature.inputs] == ["text"]
    answer = model.predict(pd.DataFrame({"text": ["WIN a prize now", "see you at lunch"]}))
    assert list(answer.columns) == ["label", "probability", "threshold"]
    assert answer["label"].tolist() == [
        "spam" if p >= 0.5 else "ham" for p in answer["probability"]
    ]
    named = model.predict(pd.Series(["see you at lunch"], name="text"))
    assert named["probability"][0] == pytest.approx(answer["probability"][1], abs=1e-6)
    shutil.rmtree(project.folder / "mlartifacts")
    with pytest.raises(PipelineError, match=r"^MLflow at sqlite:///.*: .*\S$"):
        versions.load_champion()


@pytest.mark.slow
def test_criteria_missed_is_told_and_moves_no_alias(project):
    project.register()
    project.decide(threshold=0.6)  # another model
    project.criteria(f1={"min": 0.95}, ham_blocked_percent={"max": 1})
    project.register()
    reasons = "criteria missed: f1 0.9 is below 0.95; ham_blocked_percent 1.5 is above 1"
    assert project.verdict() == reasons
    assert project.runs()[-1].data.tags["verdict"] == reasons
    assert project.versions() == ["1", "2"]
    assert project.aliases() == {"champion": "1", "challenger": "2"}
    assert project.entries() == [("first", "1", None)]


@pytest.mark.slow
def test_criteria_that_were_lowered_give_the_same_version_the_alias(project):
    project.criteria(f1={"min": 0.95})
    project.register()
    assert versions.champion_number() is None
    project.criteria(f1={"min": 0.9})
    project.register()
    assert project.versions() == ["1"] == [versions.champion_number()]
    verdicts = [run.data.tags["verdict"] for run in project.runs()]
    assert verdicts == ["criteria missed: f1 0.9 is below 0.95", FIRST]
    assert project.store.get_model_version(mlflow_client.MODEL_NAME, "1").tags["verdict"] == verdicts[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("least", "verdict"),
    [
        (0.5, "criteria met: an experiment, which moves nothing"),
        (0.95, "criteria missed: f1 0.9 is below 0.95"),
    ],
)
def test_experiment_is_recorded_with_its_verdict_and_moves_nothing(
    least, verdict, project, monkeypatch
):
    monkeypatch.setenv("DVC_EXP_NAME", "wider")
    project.criteria(f1={"min": least})
    project.register()
    assert project.verdict() == verdict
    (run,) = project.runs()
    assert run.info.run_name == run.data.tags["dvc_experiment"] == "wider"
    assert run.data.tags["verdict"] == verdict
    assert project.versions() == []
    assert versions.champion_number() is None


@pytest.mark.slow
def test_nothing_is_written_when_the_registry_does_not_answer(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(PipelineError, match=r"^MLflow at http://127.0.0.1:9: Connection refused; "):
        project.register()
    assert not Path("register.json").exists()


# ---- the duel


@pytest.fixture
def champion(project):
    """The project with a champion that is surely worse than one that calls anything spam."""
    project.decide(threshold=2.0)
    project.register()
    return project


@pytest.mark.slow
def test_better_challenger_takes_the_alias_and_the_ledger_says_by_how_much(champion):
    champion.decide(threshold=0.0)
    first = champion.register()
    assert champion.verdict().startswith("promote: f1 +0.")
    assert champion.aliases() == {"champion": "2", "previous": "1"}
    assert champion.entries() == [("first", "1", None), ("promote", "2", "1")]
    figures = json.loads(first)["figures"]
    assert figures["duel.champion.f1"]["value"] == 0
    assert figures["duel.difference.f1"]["low"] > 0
    entry = ledger.read()[1]
    assert entry.figures == figures
    assert f"{entry.verdict}: {entry.reason}" == champion.verdict()
    assert (
        champion.store.get_model_version(mlflow_client.MODEL_NAME, "2").tags["verdict"]
        == champion.verdict()
    )
    assert champion.register() == first
    assert len(champion.entries()) == 2


@pytest.mark.slow
def test_what_neither_wins_stays_as_it_is_and_is_judged_once(champion, monkeypatch):
    champion.decide(threshold=3.0)
    first = champion.register()
    assert champion.verdict().startswith(
        "tie: f1 +0.0000 [+0.0000, +0.0000] against the champion's 0.0000 on "
    )
    assert champion.aliases() == {"champion": "1", "challenger": "2"}
    assert champion.entries() == [("first", "1", None)]
    monkeypatch.setattr(parity, "answers", None)  # a second duel would fail
    assert champion.register() == first


@pytest.mark.slow
def test_worse_challenger_is_kept_out(project):
    project.decide(threshold=0.0)
    project.register()
    project.decide(threshold=2.0)
    project.register()
    assert project.verdict().startswith("keep: f1 -0.")
    assert project.aliases() == {"champion": "1", "challenger": "2"}


@pytest.mark.slow
def test_version_says_what_it_has_seen_and_the_duel_is_on_other_rows(champion):
    seen = pd.read_parquet(champion.artifacts("1") / "seen.parquet")
    rows = pd.read_parquet("splits.parquet")
    used = rows[(rows["split"] != "test") & ~rows["left_out"]]
    assert sorted(seen["message_id"]) == sorted(used["message_id"])
    rows["split"] = rows["split"].map(
        {"train": "test", "test": "train", "val": "test"}
    )  # another salt
    rows.loc[rows["message_id"] == seen["message_id"][0], "split"] = "train"
    rows.to_parquet("splits.parquet")
    champion.decide(threshold=0.0)
    champion.register()
    assert champion.verdict() == "tie: there is no test message that neither has seen"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("seen.parquet", "it does not say what it has seen"),
        ("network/saved_model.pb", "OSError: SavedModel file does not exist at: .*"),
    ],
)
def test_champion_that_cannot_be_asked_is_never_a_win(part, said, champion):
    (champion.artifacts("1") / part).unlink()
    champion.decide(threshold=0.0)
    champion.register()
    line = champion.verdict()
    assert re.fullmatch(
        f"champion unscorable: version 1: {said}; it stays, unless --force replaces it", line
    )
    assert champion.aliases() == {"champion": "1", "challenger": "2"}
    assert champion.entries() == [("first", "1", None)]


@pytest.mark.slow
def test_champion_on_other_rows_is_nothing_new(champion):
    rows = pd.read_parquet("splits.parquet")
    rows.loc[rows["split"] == "test", "left_out"] = rows.index[rows["split"] == "test"] % 2 == 0
    rows.to_parquet("splits.parquet")
    champion.register()
    assert champion.verdict() == "nothing new: this model is the champion already"
    assert champion.aliases() == {"champion": "1"}
    assert champion.entries() == [("first", "1", None)]


@pytest.mark.slow
def test_newest_rows_are_the_ground_until_they_are_learned(project):
    """A champion has not seen them, so that they tell which of two models is better on what comes next."""
    project.newest(lambda row: row % 7 > 4)  # some that would be train, and half of test
    set_params(project.folder, {"register": {"duel": DUEL | {"newest_rows": 3}}})
    project.decide(threshold=2.0)
    project.register()
    seen = pd.read_parquet(project.artifacts("1") / "seen.parquet")
    splits = pd.read_parquet("splits.parquet")
    assert not set(seen["message_id"]) & set(splits["message_id"][splits["split"] == "newest"])
    project.decide(threshold=3.0)
    first = json.loads(project.register())["figures"]
    late = splits[~splits["left_out"] & (splits.index % 7 > 4)]
    assert project.verdict().startswith(
        "tie: of the newest days f1 +0.0000 [+0.0000, +0.0000] against the "
    )
    assert first["duel.newest.difference.f1"]["n"] == len(late)
    assert first["duel.difference.f1"]["n"] == (late["split"] == "test").sum() + 12
    splits.assign(split=splits["split"].replace("newest", "train")).to_parquet("splits.parquet")
    then = json.loads(project.register())["figures"]  # judged anew, of the same messages
    assert "duel.newest.difference.f1" not in then
    assert then["duel.difference.f1"] == first["duel.difference.f1"]


# ---- a person decides


@pytest.mark.slow
def test_forced_model_takes_the_alias_and_says_so_for_ever(champion):
    champion.decide(threshold=3.0)
    champion.register()
    champion.register("--force", "--reason", "the old one loses my mother's messages")
    said = champion.verdict()
    assert said.startswith("forced: the old one loses my mother's messages (tie: f1 ")
    assert champion.runs()[-1].data.tags["verdict"] == said
    assert champion.aliases() == {"champion": "2", "previous": "1"}
    assert champion.entries() == [("first", "1", None), ("forced", "2", "1")]
    champion.register()
    assert champion.verdict() == said


@pytest.mark.slow
def test_rolled_back_model_does_not_climb_back_until_a_person_says_so(champion):
    champion.decide(threshold=0.0)
    champion.register()
    recovery.rollback(None, "it calls anything spam")
    assert champion.aliases() == {"champion": "1", "previous": "2"}
    champion.register()
    assert champion.verdict() == "nothing new: this model was rolled back: it calls anything spam"
    assert champion.aliases()["champion"] == "1"
    champion.register("--force", "--reason", "I was wrong")
    assert champion.aliases() == {"champion": "2", "previous": "1"}
    assert [verdict for verdict, *_ in champion.entries()] == [
        "first",
        "promote",
        "rollback",
        "forced",
    ]
    champion.register()
    assert champion.aliases()["champion"] == "2"


@pytest.mark.parametrize(
    "flags", [["--force"], ["--reason", "because"], ["--force", "--reason", " "]]
)
def test_force_and_reason_go_together(flags):
    with pytest.raises(PipelineError, match=r'^register: --force and --reason "..." go together$'):
        register.main(flags)


def test_paths_are_those_of_dvc_yaml_where_none_is_given(monkeypatch):
    monkeypatch.chdir(ROOT)
    paths, reason = register._parsed(["--force", "--reason", "because"])
    assert [str(path) for path in (paths[0], paths[-1])] == ["dvc.yaml", "reports/register.json"]
    assert reason == "because"


@pytest.mark.slow
def test_model_that_lost_the_alias_to_another_has_to_win_it_anew(champion):
    """Its old judgement was carried out once, and does not count again."""
    worse = champion.folder / "decision.json"
    before = worse.read_bytes()
    champion.decide(threshold=0.0)
    champion.register()
    better = worse.read_bytes()
    worse.write_bytes(before)
    champion.register("--force", "--reason", "I like it")
    worse.write_bytes(better)
    champion.register()
    assert [entry[:2] for entry in champion.entries()] == [
        *(("first", "1"), ("promote", "2"), ("forced", "1"), ("promote", "2"))
    ]
    assert champion.aliases() == {"champion": "2", "previous": "1"}


@pytest.mark.slow
def test_champion_that_could_not_be_asked_is_asked_again(champion, monkeypatch):
    def fails(*_):
        raise parity.Unscorable("killed by SIGKILL")

    champion.decide(threshold=0.0)
    with monkeypatch.context() as once:
        once.setattr(parity, "answers", fails)
        champion.register()
    assert champion.verdict().startswith(
        "champion unscorable: version 1: killed by SIGKILL; it stays"
    )
    champion.register()
    assert champion.verdict().startswith("promote: f1 +0.")


# ---- before the alias moves


@pytest.mark.slow
def test_version_that_answers_otherwise_does_not_get_the_alias(project, monkeypatch):
    set_params(project.folder, {"register": {"parity": ["DataFrame"]}})
    add_version = versions.add_version

    def damaged(*arguments):
        version = add_version(*arguments)
        decision = project.artifacts(version.number) / "decision.json"
        decision.write_text(decision.read_text().replace('"slope": 1.0', '"slope": 2.0'))
        return version

    monkeypatch.setattr(versions, "add_version", damaged)
    for _ in range(2):
        with pytest.raises(
            PipelineError,
            match=r"^models:/spam-detector/1: DataFrame: .* differ.*; the alias stays$",
        ):
            project.register()
    assert project.aliases() == {}
    assert project.entries() == []
    assert not Path("register.json").exists()


def test_unknown_way_to_ask_is_refused(tmp_path, monkeypatch):
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    set_params(tmp_path, {"register": {"parity": ["telephone"]}})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError) as refused:
        read_params(Params, "register")
    assert str(refused.value) == (
        "params.yaml: register: parity: unknown 'telephone'; choose from DataFrame, Series, batch file, HTTP"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "call"),
    [
        (versions, "promote"),
        (versions, "point"),
        (versions, "tidy"),
        (versions, "tag"),
        (ledger, "write"),
        (register, "check_parity"),
    ],
)
def test_register_that_is_killed_before_the_end_is_mended_by_the_next(
    where, call, champion, monkeypatch
):
    champion.decide(threshold=0.0)
    with monkeypatch.context() as killed:
        killed.setattr(where, call, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            champion.register()
    champion.register()
    assert champion.versions() == ["1", "2"]
    assert champion.aliases() == {"champion": "2", "previous": "1"}
    assert champion.entries() == [("first", "1", None), ("promote", "2", "1")]


@pytest.mark.slow
def test_champion_that_changes_during_the_duel_stops_the_promotion(champion, monkeypatch):
    champion.decide(threshold=0.0)
    check_parity = promotion.check_parity

    def meanwhile(*arguments):
        versions.set_alias(
            "champion", champion.store.create_model_version(mlflow_client.MODEL_NAME, "x").version
        )
        check_parity(*arguments)

    monkeypatch.setattr(promotion, "check_parity", meanwhile)
    with pytest.raises(PipelineError) as refused:
        champion.register()
    assert (
        str(refused.value)
        == "models:/spam-detector@champion: version 3 took it meanwhile; run it again"
    )


@pytest.mark.slow
def test_registry_that_lost_its_champion_lets_nothing_in(champion):
    champion.store.delete_registered_model_alias(mlflow_client.MODEL_NAME, "champion")
    champion.decide(threshold=0.0)
    with pytest.raises(PipelineError) as refused:
        champion.register()
    assert str(refused.value) == (
        "ledger.jsonl: version 1 is the champion, and the registry has none; see that MLFLOW_TRACKING_URI is "
        "right; `python -m pipeline ledger restore` rebuilds it, and without ledger.jsonl it begins anew"
    )
