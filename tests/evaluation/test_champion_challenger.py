"""Models are compared on unseen rows, and only a significantly better challenger is promoted."""

import numpy as np
import pandas as pd
import pytest

from pipeline.core.hashing import message_id
from pipeline.core.params import parse_params
from pipeline.evaluation.champion_challenger import (
    PromotionRule,
    compare_models,
    decide_promotion,
    mcnemar_p_value,
    unseen_rows,
)
from pipeline.evaluation.metrics import METRICS, Metric, Predictions
from pipeline.preprocessing import near_duplicates
from tests.harness.errors import error_of

RULE = PromotionRule(
    criterion="f1", margin=0.0, confidence=0.95, newest_rows=10, resamples=200, seed=3
)
PRIZE = "You have won a prize of {} pounds, call {} now to claim it before Friday"
ALL = np.ones(200, np.bool_)
EVEN = np.arange(200) % 2 == 0


def with_rule(**changes):
    return RULE.model_copy(update=changes)


def predictions(missed=0, lost=0, spam=40, ham=160, right=slice(0)):
    """A model that misses the first `missed` spam and loses the first `lost` ham.

    Args:
        right: rows that it labels correctly nevertheless.
    """
    y_true = np.arange(spam + ham) < spam
    y_pred = y_true.copy()
    y_pred[:missed] = False
    y_pred[spam : spam + lost] = True
    y_pred[right] = y_true[right]
    return Predictions(y_true=y_true, y_score=np.where(y_pred, 0.9, 0.1), y_pred=y_pred)


BETTER, WORSE = predictions(missed=2), predictions(missed=14)

# ---- unseen rows


def message_table(*texts):
    keys = [f"{key:016x}" for key in near_duplicates.campaign_keys(texts)]
    ids = [message_id(text) for text in texts]
    return pd.DataFrame({"message_id": ids, "campaign_key": keys, "text": list(texts)})


ROWS = message_table("see you at lunch", PRIZE.format(100, "0800 123"))


@pytest.mark.parametrize(
    ("seen", "unseen"),
    [
        (ROWS.iloc[[1]], [True, False]),
        (message_table(PRIZE.format(2000, "0900 456")), [True, False]),  # no longer in the data
        (ROWS.iloc[:0], [True, True]),
    ],
    ids=["the row itself", "its campaign", "nothing"],
)
def test_rows_of_a_seen_campaign_are_not_unseen(seen, unseen):
    assert unseen_rows(ROWS, ROWS, seen).tolist() == unseen


def test_a_near_copy_of_a_present_seen_row_is_not_unseen():
    rows = message_table("see you at lunch", f"Aa {PRIZE}")
    seen = message_table(PRIZE).assign(campaign_key="0" * 16)  # as if the keys differed
    assert unseen_rows(rows, pd.concat([rows, seen]), seen).tolist() == [True, False]
    assert unseen_rows(rows, rows, seen).tolist() == [True, True]


def test_a_crowd_of_near_copies_is_seen_as_one(monkeypatch):
    monkeypatch.setattr(near_duplicates, "CROWD_SIZE", 3)
    crowd = message_table(*(f"{PRIZE.format(1, 2)} {letter * 3}" for letter in "abcdefgh"))
    crowd["campaign_key"] = [f"{number:016x}" for number in range(8)]
    rows, seen = crowd.iloc[:7], crowd.iloc[7:]
    assert unseen_rows(rows, crowd, seen).tolist() == [False] * 7


# ---- the comparison


def test_figures_and_sentence_of_a_comparison():
    won = compare_models(BETTER, WORSE, RULE)
    lost = compare_models(WORSE, BETTER, RULE)
    assert (won.verdict, lost.verdict) == ("promote", "keep")
    values = {name.removeprefix("duel."): figure.value for name, figure in won.figures.items()}
    assert values["challenger.f1"] == pytest.approx(2 * 38 / (2 * 38 + 2))
    assert values["champion.f1"] == pytest.approx(2 * 26 / (2 * 26 + 14))
    assert (values["challenger_alone_right"], values["champion_alone_right"]) == (12, 0)
    assert values["mcnemar_p"] == pytest.approx(2 / 2**12)
    difference = won.figures["duel.difference.f1"]
    assert 0 < difference.low < difference.value < difference.high
    assert difference.n == 200
    assert lost.figures["duel.difference.f1"].value == -difference.value
    assert won.figures["duel.better_share"].n == 200
    assert won == compare_models(BETTER, WORSE, RULE)
    assert won.sentence.startswith("f1 +0.1865 [+0.")
    assert won.sentence.endswith(
        "] against the champion's 0.7879 on 200 messages that neither has seen; "
        "only the challenger is right on 12, only the champion on 0"
    )


@pytest.mark.parametrize(
    ("challenger_missed", "champion_missed", "margin", "verdict"),
    [
        (5, 5, 0, "tie"),
        (4, 5, 0, "tie"),  # chance explains the lead
        (2, 14, 0.1, "promote"),
        (2, 14, 0.4, "tie"),
        (6, 5, -0.1, "promote"),  # may be worse by 0.1
        (24, 5, -0.1, "keep"),
    ],
)
def test_margin_and_chance_decide_the_verdict(challenger_missed, champion_missed, margin, verdict):
    challenger, champion = predictions(challenger_missed), predictions(champion_missed)
    assert compare_models(challenger, champion, with_rule(margin=margin)).verdict == verdict


@pytest.mark.parametrize(("spam", "ham"), [(0, 5), (5, 0), (0, 0)])
def test_rows_without_both_labels_are_a_tie(spam, ham):
    model = predictions(spam=spam, ham=ham)
    outcome = compare_models(model, model, RULE)
    assert (outcome.verdict, outcome.figures) == ("tie", {})
    assert outcome.sentence == f"the {spam + ham} unseen messages lack ham or spam"


@pytest.mark.parametrize(
    ("alone_right", "alone_wrong", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (3, 3, 1.0), (1, 8, 20 / 512)],
)
def test_mcnemar_p_value_is_exact(alone_right, alone_wrong, p):
    assert mcnemar_p_value(alone_right, alone_wrong) == pytest.approx(p)
    assert mcnemar_p_value(alone_wrong, alone_right) == pytest.approx(p)


# ---- the rule


@pytest.mark.parametrize(("sign", "greater_is_better"), [(-1, True), (1, False)])
def test_a_new_metric_is_a_criterion_at_once(monkeypatch, sign, greater_is_better):
    errors = Metric(lambda model: sign * float(model.fp + model.fn), greater_is_better)
    monkeypatch.setitem(METRICS, "errors", errors)
    rule = parse_params(PromotionRule, RULE.model_dump() | {"criterion": "errors"}, "duel")
    assert compare_models(BETTER, WORSE, rule).verdict == "promote"
    assert compare_models(WORSE, BETTER, rule).verdict == "keep"


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("criterion", "f2", "unknown 'f2'; choose from accuracy, "),
        ("confidence", 0.5, "input should be greater than 0.5, not 0.5"),
        ("confidence", 1, "input should be less than 1, not 1"),
        ("newest_rows", 0, "input should be greater than or equal to 1, not 0"),
        ("resamples", 0, "input should be greater than or equal to 1, not 0"),
        ("seed", -1, "input should be greater than or equal to 0, not -1"),
    ],
)
def test_an_impossible_rule_is_refused(key, value, problem):
    error = error_of(parse_params, PromotionRule, RULE.model_dump() | {key: value}, "duel")
    assert error.startswith(f"duel.{key}: {problem}")


# ---- the decision on newest and test messages


def test_the_newest_messages_decide_if_they_are_enough():
    champion, challenger = predictions(missed=8), predictions(missed=8, right=EVEN)
    outcome = decide_promotion(challenger, champion, EVEN, ALL, RULE)
    assert outcome.verdict == "promote"
    assert outcome.sentence.startswith("newest messages: f1 +0.")
    assert "on 100 messages" in outcome.sentence
    assert outcome.figures["duel.newest.difference.f1"].n == 100
    assert outcome.figures["duel.difference.f1"].n == 200


def test_newest_rows_outside_test_do_not_count_for_test():
    test = np.arange(200) % 4 != 0
    champion, challenger = predictions(missed=12), predictions(missed=12, right=EVEN & ~test)
    figures = decide_promotion(challenger, champion, EVEN, test, RULE).figures
    assert figures["duel.newest.challenger_alone_right"].value == 3
    assert figures["duel.challenger_alone_right"].value == 0
    assert figures["duel.difference.f1"].n == 150
    few_newest = decide_promotion(challenger, champion, EVEN, test, with_rule(newest_rows=21))
    assert few_newest == compare_models(challenger.take(test), champion.take(test), RULE)


@pytest.mark.parametrize(("regression", "margin"), [(40, 0.0), (30, 0.3)])
def test_a_regression_on_test_keeps_the_challenger_out(regression, margin):
    """The champion misses 8 of the 10 newest spam, the challenger most of the older ones."""
    newest = np.zeros(200, np.bool_)
    newest[:10] = newest[40:60] = True
    champion = predictions(missed=8)
    challenger = predictions(missed=regression, right=np.arange(10))
    outcome = decide_promotion(challenger, champion, newest, ALL, with_rule(margin=margin))
    assert outcome.verdict == "keep"
    assert ", but on all test rows f1 -0." in outcome.sentence


@pytest.mark.parametrize("newest", [~ALL, np.arange(200) < 40, np.arange(200) > 31])
def test_too_few_newest_messages_of_a_label_leave_it_to_test(newest):
    outcome = decide_promotion(BETTER, WORSE, newest, ALL, RULE)
    assert outcome == compare_models(BETTER, WORSE, RULE)
