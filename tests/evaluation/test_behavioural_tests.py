"""Each behavioural test passes for a model with that behaviour, and fails for one without."""

import numpy as np
import pytest

from pipeline.core.reports import Figure
from pipeline.evaluation import behavioural_tests
from pipeline.evaluation.behavioural_tests import BEHAVIOURAL_TESTS, UNDISPUTED_CASES, pass_rates

MESSAGES = ["Claim £2,000.50 now", "see you at 8", "lunch was £5. Thanks", "prize inside"]


def spam_if(is_spam):
    """A confident model, from a rule for one message."""
    return lambda texts: np.array([0.9 if is_spam(text) else 0.1 for text in texts])


def by_length(texts):
    """A model whose score changes with each character, and whose label does not."""
    return np.array([len(text) / 1000 for text in texts])


BY_PRIZE = spam_if(lambda text: "prize" in text)
FAILING = {  # per test: a model, and which of its cases pass
    "names": (spam_if(lambda text: "Chidi" in text), [False] * 4),
    "greetings": (spam_if(lambda text: text.startswith("Dear all")), [False] * 4),
    "amounts": (spam_if(lambda text: "£350" in text), [False, False]),
    "premium_number": (BY_PRIZE, [False] * 3),
    "plain_cases": (BY_PRIZE, [not s or "prize" in text for text, s in UNDISPUTED_CASES.items()]),
}
PASSING = {
    "names": by_length,
    "greetings": BY_PRIZE,
    "amounts": spam_if(lambda text: "£" in text),
    "premium_number": spam_if(lambda text: "0906" in text or "prize" in text),
    "plain_cases": spam_if(lambda text: UNDISPUTED_CASES[text]),
}


@pytest.mark.parametrize("name", BEHAVIOURAL_TESTS)
def test_behavioural_test_fails_and_passes(name):
    model, passed = FAILING[name]
    assert BEHAVIOURAL_TESTS[name](model, 0.5, MESSAGES).tolist() == passed
    all_passed = BEHAVIOURAL_TESTS[name](PASSING[name], 0.5, MESSAGES)
    assert all_passed.tolist() == [True] * len(passed)


def test_an_amount_is_replaced_whole():
    queried = []
    behavioural_tests.label_ignores_amounts(
        lambda texts: queried.append(texts) or np.zeros(len(texts)), 0.5, MESSAGES
    )
    assert queried[0] == [MESSAGES[0], MESSAGES[2]]
    assert queried[1] == ["Claim £7 now", "lunch was £7. Thanks"]


def test_pass_rates_are_shares_of_the_cases():
    figures = pass_rates(FAILING["plain_cases"][0], 0.5, ["see you"])
    assert list(figures) == [f"{name}.holds_percent" for name in BEHAVIOURAL_TESTS]
    passed = sum(FAILING["plain_cases"][1])
    assert figures["plain_cases.holds_percent"] == Figure(100 * passed / 12, n=12)
    assert figures["amounts.holds_percent"] == Figure(None, n=0)
