"""Each behavioural test passes for a model with that behaviour, and fails for one without."""

import numpy as np
import pytest

from pipeline.core.reports import Figure
from pipeline.core.tables import read_csv
from pipeline.evaluation import behavioural_tests
from pipeline.evaluation.behavioural_tests import (
    BEHAVIOURAL_TESTS,
    BUSINESS_HAM,
    CURRENT_SCAMS,
    UNDISPUTED_CASES,
    messages_of_today,
    near_miss_pairs,
    pass_rates,
)
from pipeline.preprocessing.near_duplicates import find_near_copies, number_wordings
from pipeline.sources import written
from tests.harness.small_project import ROOT

MESSAGES = ["Claim £2,000.50 now", "see you at 8", "lunch was £5. Thanks", "prize inside"]


def spam_if(is_spam):
    """A confident model, from a rule for one message."""
    return lambda texts: np.array([0.9 if is_spam(text) else 0.1 for text in texts])


def by_length(texts):
    """A model whose score changes with each character, and whose label does not."""
    return np.array([len(text) / 1000 for text in texts])


NOTICES, SCAMS = messages_of_today(BUSINESS_HAM), messages_of_today(CURRENT_SCAMS)
BY_LINK = spam_if(lambda text: ".example" in text)
BY_PRIZE = spam_if(lambda text: "prize" in text)
FAILING = {  # per test: a model, and which of its cases pass
    "names": (spam_if(lambda text: "Chidi" in text), [False] * 4),
    "greetings": (spam_if(lambda text: text.startswith("Dear all")), [False] * 4),
    "amounts": (spam_if(lambda text: "£350" in text), [False, False]),
    "premium_number": (BY_PRIZE, [False] * 3),
    "plain_cases": (BY_PRIZE, [not s or "prize" in text for text, s in UNDISPUTED_CASES.items()]),
    "business_ham": (BY_LINK, [".example" not in text for text in NOTICES]),
    "current_scams": (BY_LINK, [".example" in text for text in SCAMS]),
    "near_misses": (
        BY_LINK,
        [".example" not in ham and ".example" in spam for ham, spam in near_miss_pairs()],
    ),
}
PASSING = {
    "names": by_length,
    "greetings": BY_PRIZE,
    "amounts": spam_if(lambda text: "£" in text),
    "premium_number": spam_if(lambda text: "0906" in text or "prize" in text),
    "plain_cases": spam_if(lambda text: UNDISPUTED_CASES[text]),
    "business_ham": spam_if(lambda text: text in SCAMS),
    "current_scams": spam_if(lambda text: text in SCAMS),
    "near_misses": spam_if(lambda text: text in SCAMS),
}


@pytest.mark.parametrize("name", BEHAVIOURAL_TESTS)
def test_behavioural_test_fails_and_passes(name):
    model, passed = FAILING[name]
    assert BEHAVIOURAL_TESTS[name](model, 0.5, MESSAGES).tolist() == passed
    all_passed = BEHAVIOURAL_TESTS[name](PASSING[name], 0.5, MESSAGES)
    assert all_passed.tolist() == [True] * len(passed)


def test_messages_of_today_are_as_many_as_the_criteria_need():
    """One of 80 notices is 1.25 per cent, one of 60 scams 1.7."""
    assert len(NOTICES) >= 80
    assert len(SCAMS) >= 60
    assert len(near_miss_pairs()) >= 40
    assert len({*NOTICES, *SCAMS}) == len(NOTICES) + len(SCAMS)


@pytest.mark.slow
def test_messages_of_today_are_not_those_of_the_corpus():
    """No wording of data/written, and no near-copy of one, is among them."""
    corpus = [
        text
        for path in written.language_files(ROOT / "data" / "written")
        for text in read_csv(path)["text"]
    ]
    wordings, wording = number_wordings([*corpus, *NOTICES, *SCAMS])
    copies = find_near_copies(wordings)
    first_of_today = len(corpus)
    is_today = np.zeros(len(wordings), bool)
    is_today[wording[first_of_today:]] = True
    assert set(wording[first_of_today:]).isdisjoint(wording[:first_of_today])
    assert [pair for pair in copies.pairs.tolist() if is_today[pair].sum() == 1] == []


def test_an_amount_is_replaced_whole():
    queried = []
    behavioural_tests.label_ignores_amounts(
        lambda texts: queried.append(texts) or np.zeros(len(texts)), 0.5, MESSAGES
    )
    assert queried[0] == [MESSAGES[0], MESSAGES[2]]
    assert queried[1] == ["Claim £7 now", "lunch was £7. Thanks"]


def test_pass_rates_are_shares_of_the_cases():
    figures = pass_rates(FAILING["plain_cases"][0], 0.5, ["see you"], seed=1)
    assert list(figures) == [f"{name}.holds_percent" for name in BEHAVIOURAL_TESTS]
    passed = sum(FAILING["plain_cases"][1])
    assert figures["plain_cases.holds_percent"] == Figure(100 * passed / 12, n=12)
    assert figures["amounts.holds_percent"] == Figure(None, n=0)
