"""The duel takes only what neither saw, and only a surely better challenger wins it."""

import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks import duel
from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params, read_yaml
from pipeline.evaluation import champion_challenger
from pipeline.evaluation.champion_challenger import Rule, compared, fight, mcnemar, unseen
from pipeline.evaluation.metrics import Scored
from pipeline.preprocessing.near_duplicates import campaign_keys
from pipeline.registry import promotion
from tests.harness.small_project import ROOT, set_params

RULE = Rule("f1", margin=0.0, confidence=0.95, newest_rows=10, resamples=500, seed=3)
PRIZE = "You have won a prize of {} pounds, call {} now to claim it before Friday"


def scored(missed, lost, spam=40, ham=160):
    """A model that misses the first so many spam, and loses the first so many ham."""
    y_true = np.arange(spam + ham) < spam
    y_pred = y_true.copy()
    y_pred[:missed], y_pred[spam : spam + lost] = False, True
    return Scored(y_true, np.where(y_pred, 0.9, 0.1), y_pred)


EVERYWHERE = np.ones(200, np.bool_)

# ---- the ground


def table(*texts):
    ids = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]
    keys = [f"{key:016x}" for key in campaign_keys(texts)]
    return pd.DataFrame({"message_id": ids, "campaign_key": keys, "text": list(texts)})


def test_row_that_the_model_was_trained_on_is_not_its_ground():
    rows = table("see you at lunch", PRIZE.format(100, "0800 123"))
    assert unseen(rows, rows, rows.iloc[[1]]).tolist() == [True, False]


def test_row_of_a_campaign_that_it_saw_is_not_its_ground_though_the_seen_row_is_gone():
    rows = table("see you at lunch", PRIZE.format(100, "0800 123"))
    gone = table(PRIZE.format(2000, "0900 456"))
    assert gone["campaign_key"][0] == rows["campaign_key"][1]
    assert unseen(rows, rows, gone).tolist() == [True, False]


def test_near_copy_of_another_campaign_is_not_its_ground_while_the_seen_row_is_there():
    whole = "Dear customer, your parcel waits at the depot in town; pay the fee of two pounds to have it sent"
    near = f"Aa {whole}"
    rows = table("see you at lunch", near)
    seen = table(whole)
    seen["campaign_key"] = (
        "0" * 16
    )  # as if the shingle of the smallest hash were one that they do not share
    assert unseen(rows, pd.concat([rows, seen]), seen).tolist() == [True, False]
    assert unseen(rows, rows, seen).tolist() == [True, True]


def test_crowd_of_near_copies_is_taken_as_one(monkeypatch):
    monkeypatch.setattr("pipeline.text.CROWD", 3)
    crowd = table(*(f"{PRIZE.format(1, 2)} {letter * 3}" for letter in "abcdefgh"))
    crowd["campaign_key"] = [f"{number:016x}" for number in range(8)]
    kept, seen = crowd.iloc[:7], crowd.iloc[7:]
    assert unseen(kept, crowd, seen).tolist() == [False] * 7


def test_model_that_saw_nothing_leaves_every_row():
    rows = table("see you at lunch", "on my way")
    assert unseen(rows, rows, rows.iloc[:0]).tolist() == [True, True]


# ---- the fight


def test_surely_better_challenger_is_promoted_and_the_other_way_round_kept():
    better, worse = scored(missed=2, lost=0), scored(missed=14, lost=0)
    won, lost = compared(better, worse, RULE), compared(worse, better, RULE)
    assert (won.verdict, lost.verdict) == ("promote", "keep")
    assert won.figures["duel.challenger.f1"].value == pytest.approx(2 * 38 / (2 * 38 + 2))
    assert won.figures["duel.champion.f1"].value == pytest.approx(2 * 26 / (2 * 26 + 14))
    difference = won.figures["duel.difference.f1"]
    assert 0 < difference.low < difference.value < difference.high
    assert lost.figures["duel.difference.f1"].value == -difference.value
    assert (won.figures["duel.challenger_alone_right"].value, difference.n) == (12, 200)
    assert won.figures["duel.champion_alone_right"].value == 0
    assert won.figures["duel.mcnemar_p"].value == pytest.approx(2 / 2**12)


def test_equal_models_tie_and_so_does_a_lead_that_chance_explains():
    assert compared(scored(5, 1), scored(5, 1), RULE).verdict == "tie"
    assert compared(scored(4, 1), scored(5, 1), RULE).verdict == "tie"


def test_verdict_says_its_figures():
    sentence = compared(scored(2, 0), scored(14, 0), RULE).sentence
    assert sentence.startswith("f1 +0.1865 [+0.")
    assert sentence.endswith(
        "] against the champion's 0.7879 on 200 messages that neither has seen; "
        "12 right that it got wrong, 0 the other way"
    )


@pytest.mark.parametrize(("margin", "verdict"), [(0.1, "promote"), (0.25, "tie")])
def test_challenger_must_be_better_by_the_margin(margin, verdict):
    rule = replace(RULE, margin=margin)
    assert compared(scored(2, 0), scored(14, 0), rule).verdict == verdict


def test_margin_below_zero_lets_a_challenger_in_that_is_not_much_worse():
    assert compared(scored(6, 0), scored(5, 0), replace(RULE, margin=-0.1)).verdict == "promote"
    assert compared(scored(24, 0), scored(5, 0), replace(RULE, margin=-0.1)).verdict == "keep"


def test_of_a_criterion_that_counts_errors_less_is_better():
    rule = replace(RULE, criterion="log_loss")
    assert compared(scored(2, 0), scored(14, 0), rule).verdict == "promote"
    assert compared(scored(14, 0), scored(2, 0), rule).verdict == "keep"


@pytest.mark.parametrize(("spam", "ham"), [(0, 5), (5, 0), (0, 0)])
def test_rows_without_both_labels_decide_nothing(spam, ham):
    outcome = compared(scored(0, 0, spam, ham), scored(0, 0, spam, ham), RULE)
    assert (outcome.verdict, outcome.figures) == ("tie", {})
    assert outcome.sentence == f"{spam + ham} unseen messages, not of both labels"


def test_newest_span_is_the_main_ground():
    """The challenger is better on the last half, and on the whole it is not surely worse."""
    challenger, champion = scored(8, 0), scored(8, 0)
    new = np.arange(200) % 2 == 0
    better = np.where(new, challenger.y_true, challenger.y_pred)
    challenger = Scored(challenger.y_true, challenger.y_score, better)
    outcome = fight(challenger, champion, new, EVERYWHERE, RULE)
    assert outcome.verdict == "promote"
    assert outcome.sentence.startswith("of the newest days f1 +0.")
    assert "on 100 messages" in outcome.sentence
    assert outcome.figures["duel.newest.difference.f1"].n == 100
    assert outcome.figures["duel.difference.f1"].n == 200


def test_newest_rows_that_are_not_of_test_count_on_their_ground_alone():
    """Of the newest rows half are of test; elsewhere in test the challenger is as good as the champion."""
    new, test = np.arange(200) % 2 == 0, np.arange(200) % 4 != 0
    champion = scored(12, 0)
    better = np.where(new & ~test, champion.y_true, champion.y_pred)
    challenger = Scored(champion.y_true, champion.y_score, better)
    outcome = fight(challenger, champion, new, test, RULE)
    assert outcome.figures["duel.newest.challenger_alone_right"].value == 3
    assert outcome.figures["duel.challenger_alone_right"].value == 0
    assert outcome.figures["duel.difference.f1"].n == 150
    few = fight(challenger, champion, new, test, replace(RULE, newest_rows=21))
    assert few == compared(challenger.take(test), champion.take(test), RULE)


def test_challenger_that_wins_the_newest_span_but_loses_the_fixed_test_set_is_kept_out():
    new = np.zeros(200, np.bool_)
    new[:10], new[40:60] = True, True
    champion = scored(8, 0)  # misses eight of the ten new spam
    y_pred = champion.y_true.copy()
    y_pred[10:40] = False  # and the challenger all of the old ones
    challenger = Scored(champion.y_true, champion.y_score, y_pred)
    outcome = fight(challenger, champion, new, EVERYWHERE, RULE)
    assert outcome.verdict == "keep"
    assert ", but on all test rows f1 -0." in outcome.sentence


def test_margin_above_zero_does_not_let_a_regression_pass():
    new = np.zeros(200, np.bool_)
    new[:10], new[40:60] = True, True
    champion = scored(8, 0)
    y_pred = champion.y_true.copy()
    y_pred[10:30] = False
    challenger = Scored(champion.y_true, champion.y_score, y_pred)
    assert -0.3 < compared(challenger, champion, RULE).figures["duel.difference.f1"].value < 0
    assert fight(challenger, champion, new, EVERYWHERE, replace(RULE, margin=0.3)).verdict == "keep"


@pytest.mark.parametrize("new", [~EVERYWHERE, np.arange(200) < 40, np.arange(200) > 31])
def test_without_a_newest_span_of_enough_rows_of_both_labels_the_test_set_is_the_ground(new):
    outcome = fight(scored(2, 0), scored(14, 0), new, EVERYWHERE, RULE)
    assert outcome == compared(scored(2, 0), scored(14, 0), RULE)


@pytest.mark.parametrize(
    ("gained", "given", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (3, 3, 1.0), (1, 8, 20 / 512)],
)
def test_mcnemar_is_the_exact_chance_of_a_fair_coin(gained, given, p):
    assert mcnemar(gained, given) == pytest.approx(p)
    assert mcnemar(given, gained) == pytest.approx(p)


# ---- its params


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"criterion": "f2"}, "unknown criterion 'f2'; choose from accuracy, "),
        ({"confidence": 0.5}, "confidence must lie between 0.5 and 1"),
        ({"newest_rows": 0}, "newest_rows must be at least 1"),
        ({"resamples": 0}, "resamples must be 1 to 1,000,000 and seed at least 0"),
    ],
)
def test_rule_that_cannot_be_is_refused(change, line, tmp_path, monkeypatch):
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    rule = read_yaml()["register"]["duel"]
    set_params(tmp_path, {"register": {"duel": rule | change}})
    with pytest.raises(PipelineError) as refused:
        read_params(promotion.Params, "register")
    assert str(refused.value).startswith(f"params.yaml: register.duel: {line}")


def test_duels_are_the_same_each_time():
    assert compared(scored(3, 1), scored(6, 0), RULE) == compared(scored(3, 1), scored(6, 0), RULE)
    assert (
        champion_challenger.compared(scored(3, 1), scored(6, 0), RULE)
        .figures["duel.better_share"]
        .n
        == 500
    )


# ---- the operating curve: the short form of benchmarks/duel.py

OF_TWO_SEEDS = duel.CORRELATIONS["as of two seeds"]


@pytest.mark.parametrize(
    ("apart", "margin"), [(0.02, 0.0), (0.02, 0.01), (-0.01, 0.0), (-0.01, -0.02)]
)
def test_benchmark_says_what_the_duel_says(apart, margin):
    rule = Rule("f1", margin, 0.9, 10, 100, 3)
    world = duel.World.of(duel.CORRELATIONS["less alike"], 0.002, 0.15, apart)
    champions, challengers = world.labelled(np.random.default_rng(1), 40, ham=340, spam=60)
    y_true = np.arange(400) >= 340
    expected = [
        compared(
            Scored(y_true, ours * 1.0, ours), Scored(y_true, theirs * 1.0, theirs), rule
        ).verdict
        for ours, theirs in zip(challengers, champions, strict=True)
    ]
    assert duel.verdicts(challengers, champions, 340, rule).tolist() == expected
    assert len(set(expected)) > 1


def test_models_of_the_benchmark_are_as_far_apart_as_told():
    world = duel.World.of(OF_TWO_SEEDS, 0.002, 0.15, 0.02)
    pair = world.labelled(np.random.default_rng(1), 1, ham=850_000, spam=150_000)
    classes = np.split(np.arange(1_000_000), [850_000])
    lost, caught = ([int(flags[0][rows].sum()) for flags in pair] for rows in classes)
    champion, challenger = (
        2 * tp / (tp + fp + 150_000) for tp, fp in zip(caught, lost, strict=True)
    )
    assert champion == pytest.approx(world.f1, abs=0.001)
    assert challenger - champion == pytest.approx(0.02, abs=0.001)
    assert lost[0] / 850_000 == pytest.approx(0.002, abs=0.0003)


def test_equal_models_seldom_change_places_and_worse_ones_never():
    """The margins of the README's table, at the size of our test set."""
    promoted = {}
    for truth, apart in duel.TRUTHS.items():
        world = duel.World.of(OF_TWO_SEEDS, 0.002, 108 / 711, apart)
        champions, challengers = world.labelled(np.random.default_rng(1), 300, ham=603, spam=108)
        said = duel.verdicts(challengers, champions, 603, RULE)
        promoted[truth] = np.mean(said == "promote")
    assert promoted["equal"] <= 0.05
    assert promoted["better by 0.02"] >= 0.6
    assert promoted["worse by 0.01"] <= 0.01


def test_share_stands_with_its_exact_interval():
    assert duel.share(0, 500) == "0.0 [0.0, 0.7]"
    assert duel.share(353, 500) == "70.6 [66.4, 74.6]"
