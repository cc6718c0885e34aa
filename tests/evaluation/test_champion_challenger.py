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


def with_margin(margin):
    return RULE.model_copy(update={"margin": margin})


def predictions(missed=0, spam=40, ham=160, right=slice(0)):
    """A model that misses the first `missed` spam, except for the rows `right`."""
    y_true = np.arange(spam + ham) < spam
    y_pred = y_true.copy()
    y_pred[:missed] = False
    y_pred[right] = y_true[right]
    return Predictions(y_true=y_true, y_score=np.where(y_pred, 0.9, 0.1), y_pred=y_pred)


BETTER, WORSE = predictions(missed=2), predictions(missed=14)

# ---- unseen rows


def message_table(*texts):
    keys = [f"{key:016x}" for key in near_duplicates.campaign_keys(texts)]
    ids = [message_id(text) for text in texts]
    return pd.DataFrame({"message_id": ids, "campaign_key": keys, "text": list(texts)})


def test_rows_of_a_seen_campaign_are_not_unseen():
    rows = message_table("see you at lunch", PRIZE.format(100, "0800 123"))
    seen = message_table(PRIZE.format(2000, "0900 456"))  # no longer in the data
    assert unseen_rows(rows, rows, seen).tolist() == [True, False]


def test_a_near_copy_of_a_present_seen_row_is_not_unseen():
    rows = message_table("see you at lunch", f"Aa {PRIZE}")
    seen = message_table(PRIZE).assign(campaign_key="0" * 16)  # as if the keys differed
    assert unseen_rows(rows, pd.concat([rows, seen]), seen).tolist() == [True, False]
    earlier = seen.assign(message_id=seen["message_id"].str[:16])  # as earlier versions wrote it
    assert unseen_rows(rows, pd.concat([rows, seen]), earlier).tolist() == [True, False]
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
    values = {name.removeprefix("duel."): figure.value for name, figure in won.figures.items()}
    assert values["challenger.f1"] == pytest.approx(2 * 38 / (2 * 38 + 2))
    assert values["champion.f1"] == pytest.approx(2 * 26 / (2 * 26 + 14))
    assert (values["challenger_alone_right"], values["champion_alone_right"]) == (12, 0)
    assert values["mcnemar_p"] == pytest.approx(2 / 2**12)
    difference = won.figures["duel.difference.f1"]
    assert 0 < difference.low < difference.value < difference.high
    assert difference.n == 200
    assert won == compare_models(BETTER, WORSE, RULE)
    assert won.sentence.startswith("f1 +0.1865 [+0.")
    assert won.sentence.endswith(
        "] against the champion's 0.7879 on 200 messages that neither has seen; "
        "only the challenger is right on 12, only the champion on 0"
    )


@pytest.mark.parametrize(
    ("challenger_missed", "champion_missed", "margin", "verdict"),
    [
        (4, 5, 0, "tie"),  # chance explains the lead
        (2, 14, 0.1, "promote"),
        (2, 14, 0.4, "tie"),
        (6, 5, -0.1, "promote"),  # may be worse by 0.1
        (24, 5, -0.1, "keep"),
    ],
)
def test_margin_and_chance_decide_the_verdict(challenger_missed, champion_missed, margin, verdict):
    challenger, champion = predictions(challenger_missed), predictions(champion_missed)
    assert compare_models(challenger, champion, with_margin(margin)).verdict == verdict


@pytest.mark.parametrize(("spam", "ham"), [(0, 5), (5, 0)])
def test_rows_without_both_labels_are_a_tie(spam, ham):
    model = predictions(spam=spam, ham=ham)
    outcome = compare_models(model, model, RULE)
    assert (outcome.verdict, outcome.figures) == ("tie", {})
    assert outcome.sentence == f"the {spam + ham} unseen messages lack ham or spam"


def test_mcnemar_p_value_is_exact_and_symmetric():
    assert mcnemar_p_value(1, 8) == mcnemar_p_value(8, 1) == pytest.approx(20 / 512)
    assert mcnemar_p_value(0, 0) == 1


# ---- the rule


@pytest.mark.parametrize(("sign", "greater_is_better"), [(-1, True), (1, False)])
def test_a_new_metric_is_a_criterion_at_once(monkeypatch, sign, greater_is_better):
    errors = Metric(lambda model: sign * float(model.fp + model.fn), greater_is_better)
    monkeypatch.setitem(METRICS, "errors", errors)
    rule = parse_params(PromotionRule, RULE.model_dump() | {"criterion": "errors"}, "duel")
    assert compare_models(BETTER, WORSE, rule).verdict == "promote"
    assert compare_models(WORSE, BETTER, rule).verdict == "keep"


def test_an_unknown_criterion_is_refused():
    values = RULE.model_dump() | {"criterion": "f2"}
    error = error_of(parse_params, PromotionRule, values, "duel")
    assert error.startswith("duel.criterion: unknown 'f2'; choose from accuracy, ")


# ---- the decision on newest and test messages


def test_the_newest_messages_decide_if_they_are_enough():
    test = np.arange(200) % 4 != 0  # half of the newest rows are outside of it
    champion, challenger = predictions(missed=12), predictions(missed=12, right=EVEN)
    outcome = decide_promotion(challenger, champion, EVEN, test, RULE)
    assert outcome.verdict == "promote"
    assert outcome.sentence.startswith("newest messages: f1 +0.")
    counts = {name: figure.n for name, figure in outcome.figures.items()}
    assert (counts["duel.newest.difference.f1"], counts["duel.difference.f1"]) == (100, 150)
    assert outcome.figures["duel.newest.challenger_alone_right"].value == 6
    assert outcome.figures["duel.challenger_alone_right"].value == 3


@pytest.mark.parametrize(("regression", "margin"), [(40, 0.0), (30, 0.3)])
def test_a_regression_on_test_keeps_the_challenger_out(regression, margin):
    """The champion misses 8 of the 10 newest spam, the challenger most of the older ones."""
    newest = np.zeros(200, np.bool_)
    newest[:10] = newest[40:60] = True
    champion = predictions(missed=8)
    challenger = predictions(missed=regression, right=np.arange(10))
    outcome = decide_promotion(challenger, champion, newest, ALL, with_margin(margin))
    assert outcome.verdict == "keep"
    assert ", but on all test rows f1 -0." in outcome.sentence


@pytest.mark.parametrize("newest", [np.arange(200) < 40, np.arange(200) > 31])
def test_too_few_newest_messages_of_a_label_leave_it_to_test(newest):
    outcome = decide_promotion(BETTER, WORSE, newest, ALL, RULE)
    assert outcome == compare_models(BETTER, WORSE, RULE)
