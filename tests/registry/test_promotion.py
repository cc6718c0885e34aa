"""Which model becomes the champion."""

import json
import re
import shutil
from dataclasses import replace

import pandas as pd
import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params, read_yaml
from pipeline.evaluation.champion_challenger import Outcome, PromotionRule
from pipeline.registry import parity
from pipeline.registry.model_package import ModelHashes
from pipeline.registry.promotion import Bound, Candidate, Params, decide, missed_criteria
from pipeline.registry.versions import Version
from tests.harness.evaluated_project import FIGURES
from tests.harness.small_project import ROOT, set_params

DUEL = read_yaml(ROOT / "params.yaml")["register"]["duel"]

# ---- criteria


@pytest.mark.parametrize(
    ("name", "bound", "reasons"),
    [
        ("f1", Bound(min=0.9), []),
        ("f1", Bound(min=0.901), ["f1 0.9 is below 0.901"]),
        ("ham_blocked_percent", Bound(max=1.5), []),
        ("ham_blocked_percent", Bound(max=0), ["ham_blocked_percent 1.5 is above 0"]),
        ("slices.long.recall", Bound(max=0.25), ["slices.long.recall 0.5 is above 0.25"]),
        ("roc_auc", Bound(min=0), ["roc_auc is undefined on this test set"]),
        ("roc_auc", Bound(max=1), ["roc_auc is undefined on this test set"]),
    ],
)
def test_figure_beyond_its_bound_is_a_reason(name, bound, reasons):
    assert missed_criteria({name: bound}, FIGURES) == reasons


def test_reasons_have_the_order_of_the_criteria():
    criteria = {"ham_blocked_percent": Bound(max=1), "f1": Bound(min=1)}
    reasons = ["ham_blocked_percent 1.5 is above 1", "f1 0.9 is below 1"]
    assert missed_criteria(criteria, FIGURES) == reasons


def test_criterion_on_an_unknown_figure_is_refused():
    with pytest.raises(PipelineError) as refused:
        missed_criteria({"f2": Bound(min=0.9)}, FIGURES)
    assert str(refused.value) == (
        "params.yaml: register.criteria: unknown 'f2'; choose from "
        "f1, ham_blocked_percent, roc_auc, baseline.f1, difference.f1, slices.long.recall"
    )


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({"criteria": {"f1": {}}}, "criteria.f1: a criterion has either min or max"),
        ({"criteria": {"f1": {"min": 0.5, "max": 0.9}}}, "criteria.f1: a criterion has either"),
        ({"criteria": {"f1": {"mim": 0.5}}}, "criteria.f1.mim: unknown key; remove it"),
        ({"criteria": {"f1": {"min": "high"}}}, "criteria.f1.min: input should be a valid number"),
        (
            {"parity": ["telephone"]},
            "parity: unknown 'telephone'; choose from DataFrame, Series, batch file, HTTP",
        ),
        ({"latency_budget": -1.0}, "latency_budget: input should be greater than or equal to 0"),
    ],
)
def test_wrong_params_are_refused_in_one_line(section, line, tmp_path):
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    set_params(tmp_path, {"register": section})
    with pytest.raises(PipelineError) as refused:
        read_params(Params, "register", tmp_path / "params.yaml")
    assert str(refused.value).startswith(f"{tmp_path}/params.yaml: register.{line}")


# ---- the decision without a comparison

CHAMPION = Version(number="1", tags={})
CANDIDATE = Candidate(
    package=None,
    hashes=ModelHashes(model="m2", network="n2", md5s={}),
    rows=pd.DataFrame(),
    missed_criteria=[],
    rule=PromotionRule(**DUEL),
    version=Version(number="2", tags={}),
    champion=CHAMPION,
)


@pytest.mark.parametrize(
    ("changes", "verdict", "sentence"),
    [
        (
            {"missed_criteria": ["f1 is below 1", "recall is undefined"], "version": CHAMPION},
            "criteria missed",
            "f1 is below 1; recall is undefined",
        ),
        ({"version": CHAMPION}, "nothing new", "this model is the champion already"),
        (
            {"version": Version(number="2", tags={"rolled_back": "loses ham"}), "champion": None},
            "nothing new",
            "this model was rolled back: loses ham",
        ),
        (
            {"version": None, "champion": None},
            "first",
            "it meets the criteria, and there is no champion",
        ),
    ],
)
def test_decision_without_a_comparison(changes, verdict, sentence):
    assert decide(replace(CANDIDATE, **changes)) == Outcome(verdict, sentence, {})


def test_comparison_rows_are_test_and_the_newest_span():
    rows = pd.DataFrame({"split": ["train", "test", "newest", "newest", "test", "val"]})
    rows["left_out"] = [False, False, False, True, True, False]
    days = ["2026-01-01", "2026-01-01", "2026-03-01", "2026-03-01", "2026-03-01", "2026-01-01"]
    rows["received_at"] = pd.to_datetime(days, utc=True)
    compared = replace(CANDIDATE, rows=rows).comparison_rows
    assert compared["split"].tolist() == ["test", "newest"]
    assert compared["newest"].tolist() == [False, True]


# ---- against a champion


@pytest.mark.slow
def test_worse_challenger_is_kept_out(evaluated):
    evaluated.register_thresholds(0.0, 2.0)
    assert evaluated.verdict().startswith("keep: f1 -0.")
    assert evaluated.aliases() == {"champion": "1", "challenger": "2"}


@pytest.mark.slow
def test_tie_leaves_the_champion_and_is_decided_once(champion, monkeypatch):
    champion.set_threshold(3.0)
    report = champion.register()
    assert champion.verdict().startswith(
        "tie: f1 +0.0000 [+0.0000, +0.0000] against the champion's 0.0000 on "
    )
    assert champion.aliases() == {"champion": "1", "challenger": "2"}
    assert champion.entries() == [("first", "1", None)]
    monkeypatch.setattr(parity, "score_in_child", None)  # a second comparison would fail
    assert champion.register() == report


@pytest.mark.slow
def test_missed_criteria_move_no_alias_until_lowered(champion):
    champion.set_threshold(0.0)
    champion.set_criteria(f1={"min": 0.95}, ham_blocked_percent={"max": 1})
    champion.register()
    reasons = "criteria missed: f1 0.9 is below 0.95; ham_blocked_percent 1.5 is above 1"
    assert champion.verdict() == reasons == champion.runs()[-1].data.tags["verdict"]
    assert champion.aliases() == {"champion": "1", "challenger": "2"}
    assert champion.entries() == [("first", "1", None)]
    champion.set_criteria(f1={"min": 0.9})
    champion.register()
    assert champion.versions() == ["1", "2"]
    assert champion.aliases() == {"champion": "2", "previous": "1"}
    assert champion.tags("2")["verdict"] == champion.verdict()


@pytest.mark.slow
def test_rows_that_the_champion_has_seen_are_not_compared(champion):
    seen = pd.read_parquet(champion.artifacts("1") / "seen.parquet")
    rows = pd.read_parquet("splits.parquet")
    used = rows[(rows["split"] != "test") & ~rows["left_out"]]
    assert sorted(seen["message_id"]) == sorted(used["message_id"])
    other = {"train": "test", "test": "train", "val": "test"}  # as with another salt
    rows["split"] = rows["split"].map(other)
    rows.loc[rows["message_id"] == seen["message_id"][0], "split"] = "train"
    rows.to_parquet("splits.parquet")
    champion.register_thresholds(0.0)
    assert champion.verdict() == "tie: there is no test message that neither has seen"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ("seen.parquet", "the list of messages that it has seen is missing"),
        ("network/saved_model.pb", "OSError: SavedModel file does not exist at: .*"),
    ],
)
def test_unscorable_champion_stays_and_is_asked_again(part, problem, champion):
    file = champion.artifacts("1") / part
    content = file.read_bytes()
    file.unlink()
    champion.register_thresholds(0.0)
    assert re.fullmatch(
        f"champion unscorable: version 1: {problem}; it stays the champion, "
        "unless --force replaces it",
        champion.verdict(),
    )
    assert champion.aliases() == {"champion": "1", "challenger": "2"}
    assert champion.entries() == [("first", "1", None)]
    file.write_bytes(content)
    champion.register()
    assert champion.verdict().startswith("promote: f1 +0.")


@pytest.mark.slow
def test_champion_is_nothing_new_on_other_rows(champion):
    rows = pd.read_parquet("splits.parquet")
    is_test = rows["split"] == "test"
    rows.loc[is_test, "left_out"] = rows.index[is_test] % 2 == 0
    rows.to_parquet("splits.parquet")
    champion.register()
    assert champion.verdict() == "nothing new: this model is the champion already"
    assert champion.aliases() == {"champion": "1"}
    assert champion.entries() == [("first", "1", None)]


@pytest.mark.slow
def test_newest_rows_decide_until_they_are_learned(evaluated):
    evaluated.set_newest(lambda row: row % 7 > 4)  # some that would be train, and half of test
    set_params(evaluated.folder, {"register": {"duel": DUEL | {"newest_rows": 3}}})
    evaluated.register_thresholds(2.0)
    seen = pd.read_parquet(evaluated.artifacts("1") / "seen.parquet")
    splits = pd.read_parquet("splits.parquet")
    assert not set(seen["message_id"]) & set(splits["message_id"][splits["split"] == "newest"])
    evaluated.set_threshold(3.0)
    first = json.loads(evaluated.register())
    assert first["verdict"].startswith("tie: ")
    late = splits[~splits["left_out"] & (splits.index % 7 > 4)]
    assert first["figures"]["duel.newest.difference.f1"]["n"] == len(late)
    test_rows = (late["split"] == "test").sum() + 12
    assert first["figures"]["duel.difference.f1"]["n"] == test_rows
    splits["split"] = splits["split"].replace("newest", "train")
    splits.to_parquet("splits.parquet")
    then = json.loads(evaluated.register())["figures"]  # decided anew, on the same rows of test
    assert "duel.newest.difference.f1" not in then
    assert then["duel.difference.f1"] == first["figures"]["duel.difference.f1"]
