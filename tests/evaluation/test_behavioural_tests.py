"""Each behaviour holds for a model that has it, and fails for one that looks at what it should not."""

import numpy as np
import pytest

from pipeline.core.reports import Figure
from pipeline.evaluation import behavioural_tests
from pipeline.evaluation.behavioural_tests import BEHAVIOURS, PLAIN
from pipeline.models import baseline

MESSAGES = ["Claim £2,000.50 now", "see you at 8", "lunch was £5. Thanks", "prize inside"]


def spam_if(holds):
    """A model that is sure, by a rule about one message."""
    return lambda texts: np.array([0.9 if holds(message) else 0.1 for message in texts])


FOOLED = {  # by each behaviour: a model, and in which of its cases the behaviour holds
    "names": (spam_if(lambda m: "Chidi" in m), [False] * 4),
    "greetings": (spam_if(lambda m: m.startswith("Dear all")), [False] * 4),
    "amounts": (spam_if(lambda m: "£350" in m), [False, False]),
    "premium_number": (spam_if(lambda m: "prize" in m), [False] * 3),
    "plain_cases": (
        spam_if(lambda m: "prize" in m),
        [not spam or "prize" in m for m, spam in PLAIN.items()],
    ),
}
STEADY = {  # a model that has each behaviour
    "names": spam_if(lambda m: "prize" in m),
    "greetings": spam_if(lambda m: "prize" in m),
    "amounts": spam_if(lambda m: "£" in m),
    "premium_number": spam_if(lambda m: "0906" in m or "prize" in m),
    "plain_cases": spam_if(lambda m: PLAIN[m]),
}


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_behaviour_fails_for_a_model_that_is_fooled(name):
    model, holds = FOOLED[name]
    assert BEHAVIOURS[name](model, 0.5, MESSAGES).tolist() == holds


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_behaviour_holds_for_a_model_that_has_it(name):
    cases = FOOLED[name][1]
    assert BEHAVIOURS[name](STEADY[name], 0.5, MESSAGES).tolist() == [True] * len(cases)


def test_only_the_label_counts_where_a_label_is_to_stay():
    assert behavioural_tests.names(
        lambda texts: np.array([len(m) / 1000 for m in texts]), 0.5, MESSAGES
    ).all()


def test_an_amount_is_replaced_whole():
    asked = []
    behavioural_tests.amounts(
        lambda texts: asked.append(texts) or np.zeros(len(texts)), 0.5, MESSAGES
    )
    assert asked[0] == [MESSAGES[0], MESSAGES[2]]
    assert asked[1] == ["Claim £7 now", "lunch was £7. Thanks"]


def test_a_premium_number_is_added_only_to_what_passes_and_must_raise_the_score():
    model = STEADY["premium_number"]
    assert len(behavioural_tests.premium_number(model, 0.5, MESSAGES)) == 3
    assert not behavioural_tests.premium_number(
        lambda texts: np.full(len(texts), 0.2), 0.5, MESSAGES
    ).any()


def test_the_plain_cases_are_a_dozen_of_both_kinds():
    assert (len(PLAIN), sum(PLAIN.values())) == (12, 6)


def test_the_baseline_is_asked_about_no_message_too():
    score = baseline.baseline_scorer([*PLAIN], np.array([*PLAIN.values()]))
    figures = behavioural_tests.measure(
        score, 0.0, ["see you at 8", "you win $500"]
    )  # no pounds, and none passes
    assert (
        figures["amounts.holds_percent"]
        == figures["premium_number.holds_percent"]
        == Figure(None, n=0)
    )


def test_figures_are_shares_of_the_cases_and_none_without_a_case():
    figures = behavioural_tests.measure(FOOLED["plain_cases"][0], 0.5, ["see you"])
    assert list(figures) == [f"{name}.holds_percent" for name in BEHAVIOURS]
    right = sum(FOOLED["plain_cases"][1])
    assert figures["plain_cases.holds_percent"] == Figure(100 * right / 12, n=12)
    assert figures["amounts.holds_percent"] == Figure(None, n=0)
