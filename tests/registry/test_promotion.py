"""Which model becomes the champion."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from pipeline.core.files import read_json, write_json
from pipeline.core.params import read_params, read_yaml
from pipeline.evaluation.champion_challenger import Outcome, PromotionRule
from pipeline.models import keras_files
from pipeline.registry import parity, promotion
from pipeline.registry.model_package import ModelHashes
from pipeline.registry.parity import ScoringError
from pipeline.registry.promotion import Bound, Candidate, Params, decide, missed_criteria
from pipeline.registry.versions import REBUILD_ALL, Version
from tests.harness.errors import error_of
from tests.harness.evaluated_project import FIGURES
from tests.harness.small_networks import small_network
from tests.harness.small_project import ROOT, set_params

DUEL = read_yaml(ROOT / "params.yaml")["register"]["duel"]

# ---- criteria


def test_missed_bounds_are_reasons_in_the_order_of_the_criteria():
    kept = {"f1": Bound(min=0.9), "ham_blocked_percent": Bound(max=1.5)}
    assert missed_criteria(kept, FIGURES) == []
    missed = {"roc_auc": Bound(min=0), "ham_blocked_percent": Bound(max=1), "f1": Bound(min=0.91)}
    assert missed_criteria(missed, FIGURES) == [
        "roc_auc is undefined on this test set",
        "ham_blocked_percent 1.5 is above 1",
        "f1 0.9 is below 0.91",
    ]


def test_warnings_are_missed_apart_and_end_the_verdict():
    criteria = {"f1": Bound(min=0.95), "difference.f1": Bound(min=0.2, severity="warning")}
    assert missed_criteria(criteria, FIGURES) == ["f1 0.9 is below 0.95"]
    warnings = missed_criteria(criteria, FIGURES, "warning")
    missed = "difference.f1 (ours minus the linear baseline's) 0.1 is below 0.2"
    assert warnings == [missed]
    first = replace(CANDIDATE, version=None, champion=None, warnings=warnings)
    assert decide(first).sentence == (
        f"it meets the criteria, and there is no champion; warning: {missed}"
    )
    assert decide(replace(first, missed_criteria=["a", "b"])).sentence == f"a; b; warning: {missed}"


def test_linear_baseline_that_wins_is_a_warning_by_default():
    criteria = read_params(Params, "register", ROOT / "params.yaml").criteria
    figures = {name: {"value": rule.min or 0.0} for name, rule in criteria.items()}
    figures["difference.f1"] = {"value": -0.01}
    (warning,) = missed_criteria(criteria, figures, "warning")
    assert warning == "difference.f1 (ours minus the linear baseline's) -0.01 is below 0"
    assert missed_criteria(criteria, figures) == []


def test_criterion_on_an_unknown_figure_is_refused():
    assert error_of(missed_criteria, {"f2": Bound(min=0.9)}, FIGURES) == (
        "params.yaml: register.criteria: unknown 'f2'; choose from "
        "f1, ham_blocked_percent, roc_auc, baseline.f1, difference.f1, slices.long.recall"
    )


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({"criteria": {"f1": {}}}, "criteria.f1: a criterion has either min or max"),
        ({"criteria": {"f1": {"min": 0.5, "max": 0.9}}}, "criteria.f1: a criterion has either"),
        ({"criteria": {"f1": {"min": 0.5, "severity": "mild"}}}, "criteria.f1.severity: input "),
        ({"parity": ["fax"]}, "parity: unknown 'fax'; choose from DataFrame, Series, batch file,"),
        ({"latency_budget": -1.0}, "latency_budget: input should be greater than or equal to 0"),
    ],
)
def test_wrong_params_are_refused_in_one_line(section, line, tmp_path):
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    set_params(tmp_path, {"register": section})
    refused = error_of(read_params, Params, "register", tmp_path / "params.yaml")
    assert refused.startswith(f"{tmp_path}/params.yaml: register.{line}")


# ---- the decision without a comparison

ROLLED_BACK = Version(number="2", tags={"rolled_back": "loses ham"})
CANDIDATE = Candidate(
    package=None,
    hashes=ModelHashes(model="m2", network="n2", md5s={}),
    rows=pd.DataFrame(),
    missed_criteria=[],
    warnings=[],
    rule=PromotionRule(**DUEL),
    version=ROLLED_BACK,
    champion=Version(number="1", tags={}),
)


def test_missed_criteria_and_a_rollback_decide_without_a_comparison():
    rolled_back = Outcome("nothing new", "this model was rolled back: loses ham", {})
    missed = Outcome("criteria missed", "f1 is below 1; recall is undefined", {})
    reasons = ["f1 is below 1", "recall is undefined"]
    for champion in (None, CANDIDATE.champion):
        candidate = replace(CANDIDATE, champion=champion)
        assert decide(candidate) == rolled_back
        assert decide(replace(candidate, missed_criteria=reasons)) == missed
    assert decide(replace(CANDIDATE, champion=ROLLED_BACK, missed_criteria=reasons)) == missed


def test_comparison_rows_are_test_and_the_newest_span():
    rows = pd.DataFrame({"split": ["train", "test", "newest", "newest", "test", "val"]})
    rows["left_out"] = [False, False, False, True, True, False]
    days = ["2026-01-01", "2026-01-01", "2026-03-01", "2026-03-01", "2026-03-01", "2026-01-01"]
    rows["received_at"] = pd.to_datetime(days, utc=True)
    compared = replace(CANDIDATE, rows=rows).comparison_rows
    assert compared["split"].tolist() == ["test", "newest"]
    assert compared["newest"].tolist() == [False, True]


# ---- against a champion


def test_champion_without_its_seen_messages_is_unscorable(tmp_path):
    with pytest.raises(ScoringError, match=r"^the list of messages that it has seen is missing$"):
        promotion.read_seen_rows(tmp_path)


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
    champion.register("--force", "--reason", "I like it")
    assert champion.verdict().startswith("forced: I like it (tie: f1 +0.0000 ")
    assert champion.aliases() == {"champion": "2", "previous": "1"}


@pytest.mark.slow
def test_networks_that_serve_do_not_take_part_in_the_comparison(evaluated):
    evaluated.refit(seed=2)
    evaluated.register()
    evaluated.refit(seed=3, scale=50.0)  # it has learned from test, so its answers prove nothing
    evaluated.set_threshold(3.0)
    evaluated.register()
    assert evaluated.verdict().startswith("keep: f1 -")
    evaluated.set_threshold(0.5)
    network = small_network(len(evaluated.vocabulary()), seed=1, scale=1.0001)
    keras_files.save(
        network, evaluated.folder / "evaluated.keras"
    )  # other bytes, and nearly the same answers
    evaluated.register()
    assert evaluated.verdict().startswith("tie: f1 +0.0000 [+0.0000, +0.0000] against")
    assert evaluated.aliases()["champion"] == "1"


@pytest.mark.slow
def test_champion_of_which_only_the_network_that_serves_is_new_is_promoted(champion):
    champion.refit(seed=2)
    champion.register()
    assert champion.verdict() == "refitted: the champion's network, which learned from other rows"
    assert champion.aliases() == {"champion": "2", "previous": "1"}
    champion.set_threshold(3.0)
    champion.refit(seed=3)
    champion.register()
    assert champion.verdict().startswith("tie: ")


def test_rows_of_older_versions_count_as_seen_by_the_evaluated_network(tmp_path):
    table = pd.DataFrame({"message_id": ["a" * 32], "campaign_key": ["b" * 16]})
    (tmp_path / "artifacts").mkdir()
    table.to_parquet(tmp_path / "artifacts" / "seen.parquet")
    seen = promotion.read_seen_rows(tmp_path)
    assert seen.to_dict("records") == [{**table.iloc[0], "split": "train"}]


@pytest.mark.slow
def test_threshold_of_a_new_stream_is_promoted_without_a_comparison(champion):
    decision = read_json(Path("decision.json"))
    stream = decision | {"threshold": 0.25, "spam_caught": 5}
    write_json(Path("decision.json"), decision | {"sources": {"chat": stream}})
    champion.register()
    expected = "calibrated: the champion's network, with another threshold for chat"
    assert champion.verdict() == expected
    assert champion.aliases() == {"champion": "2", "previous": "1"}
    assert champion.entries()[-1] == ("calibrated", "2", "1")
    elsewhere = {"slope": 1 + 1e-9, "sources": {"chat": stream | {"threshold": 0.3}}}
    write_json(Path("decision.json"), decision | elsewhere)
    champion.register()
    assert champion.verdict() == expected
    assert champion.aliases()["champion"] == "3"
    of_sms = {"sources": {"sms": decision | {"threshold": 3.0}}}  # sms is among the rows
    useless = {"sources": {"chat": stream, "mail": stream | {"spam_caught": 0}}}
    for changes in (of_sms, useless, {"sources": {"chat": stream}, "slope": 2.0}):
        write_json(Path("decision.json"), decision | changes)
        champion.register()
        assert not champion.verdict().startswith("calibrated")
    write_json(Path("decision.json"), decision)
    champion.register()
    assert champion.verdict() == expected


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
def test_other_rows_are_compared_unless_the_champion_has_seen_them(champion):
    seen = pd.read_parquet(champion.artifacts("1") / "seen.parquet")
    rows = pd.read_parquet("splits.parquet")
    used = rows[(rows["split"] != "test") & ~rows["left_out"]]
    assert sorted(seen["message_id"]) == sorted(used["message_id"])
    other = {"train": "test", "test": "train", "val": "test"}  # as with another salt
    rows["split"] = rows["split"].map(other)
    rows.loc[rows["message_id"] == seen["message_id"][0], "split"] = "train"
    rows.to_parquet("splits.parquet")
    champion.register()
    assert champion.verdict() == "nothing new: this model is the champion already"
    assert champion.aliases() == {"champion": "1"}
    assert champion.entries() == [("first", "1", None)]
    champion.register_thresholds(0.0)
    assert champion.verdict() == "tie: there is no test message that neither has seen"


@pytest.mark.slow
def test_champion_of_other_data_is_named_with_the_next_step(champion):
    for table in ("messages.parquet", "splits.parquet"):
        rows = pd.read_parquet(table)
        rows.assign(message_id="f" + rows["message_id"].str[1:]).to_parquet(table)
    splits = pd.read_parquet("splits.parquet")
    splits.assign(campaign_key=splits["message_id"]).to_parquet("splits.parquet")
    champion.register_thresholds(3.0)
    assert champion.verdict().startswith("tie: f1 +0.0000 ")
    assert champion.verdict().endswith(f"; {promotion.OTHER_DATA}")


@pytest.mark.slow
def test_unscorable_champion_stays_and_is_asked_again(champion):
    file = champion.artifacts("1") / "seen.parquet"
    content = file.read_bytes()
    file.unlink()
    champion.register_thresholds(0.0)
    assert champion.verdict() == (
        "champion unscorable: version 1: its files are not those that were registered; "
        f"{REBUILD_ALL}; it stays the champion, unless --force replaces it"
    )
    assert champion.aliases() == {"champion": "1", "challenger": "2"}
    assert champion.entries() == [("first", "1", None)]
    file.write_bytes(content)
    champion.register()
    assert champion.verdict().startswith("promote: f1 +0.")


@pytest.mark.slow
def test_newest_rows_decide(evaluated):
    splits = pd.read_parquet("splits.parquet")
    is_late = splits.index % 7 > 4  # some that would be train, and half of test
    messages = pd.read_parquet("messages.parquet")
    days = pd.to_timedelta(is_late * 20, "D")
    messages["received_at"] = pd.Timestamp("2026-11-01", tz="UTC") + days
    messages.to_parquet("messages.parquet")
    splits["split"] = splits["split"].mask(is_late & (splits["split"] != "test"), "newest")
    splits.to_parquet("splits.parquet")
    set_params(evaluated.folder, {"register": {"duel": DUEL | {"newest_rows": 3}}})
    evaluated.register_thresholds(2.0, 3.0)
    first = json.loads(evaluated.register())
    assert first["verdict"].startswith("tie: ")
    late = splits[~splits["left_out"] & is_late]
    assert first["figures"]["duel.newest.difference.f1"]["n"] == len(late)
    test_rows = (late["split"] == "test").sum() + 12
    assert first["figures"]["duel.difference.f1"]["n"] == test_rows
