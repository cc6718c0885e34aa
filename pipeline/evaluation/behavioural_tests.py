"""Tests of behaviour that every spam filter should have, whatever its training data.

Source: Ribeiro et al. 2020, Beyond Accuracy: Behavioral Testing of NLP Models with CheckList.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from pipeline.core.reports import Figure
from pipeline.evaluation.metrics import Scorer

Passed = NDArray[np.bool_]  # (cases,), whether the model behaves as it should in each case
BehaviouralTest = Callable[[Scorer, float, Sequence[str]], Passed]  # (model, threshold, messages)

EDITED_MESSAGES = 1000  # at most, of those that are given; each is scored in about 20 variants
PERSON_NAMES = ("Anna", "Mohammed", "Wei", "Chidi", "Siobhan")
GREETINGS = ("Hi", "Hello there", "Dear all", "Good morning")
AMOUNTS = ("£7", "£60", "£350", "£1250")
PREMIUM_NUMBER = "Call 09061701461 from a landline, 150p per minute"
UNDISPUTED_CASES = {  # message: whether it is spam
    "Ok, see you at eight then": False,
    "Can you pick up some milk on the way home?": False,
    "I'll call you later, in a meeting": False,
    "Happy birthday! Have a lovely day": False,
    "Where are you? We are at the station": False,
    "Thanks for dinner yesterday, it was great": False,
    "URGENT! You have won a £2000 prize. Call 09061701461 now to claim": True,
    "FREE entry in our weekly competition! Text WIN to 80086 now": True,
    "Congratulations! You have been selected to receive a free mobile phone. "
    "Call 08001234567": True,
    "Your loan of £5000 is approved. Reply YES to 87121 to get your cash today": True,
    "Hot singles in your area are waiting to chat! Text DATE to 69696, 150p/msg": True,
    "Claim your free ringtone now! Reply TONE to 83355. To stop, text STOP. 150p per text": True,
}
# Messages of today, written apart from data/written/ and never trained on. Columns: behaviour
# (business_ham or current_scams), kind, pair (of a notice and the scam that imitates it), text.
TODAY_FILE = Path(__file__).with_name("messages_of_today.csv")
BUSINESS_HAM, CURRENT_SCAMS = "business_ham", "current_scams"
_AMOUNT = re.compile(r"£\s?\d(?:[\d,.]*\d)?")


def label_ignores_names(score: Scorer, threshold: float, messages: Sequence[str]) -> Passed:
    """The name in a greeting does not change the label. A case is a message."""
    variants = [[f"Hi {name}, {message}" for message in messages] for name in PERSON_NAMES]
    return _labels_equal(score, threshold, variants)


def label_ignores_greetings(score: Scorer, threshold: float, messages: Sequence[str]) -> Passed:
    """A greeting does not change the label. A case is a message."""
    greeted = [[f"{greeting}, {message}" for message in messages] for greeting in GREETINGS]
    return _labels_equal(score, threshold, [list(messages), *greeted])


def label_ignores_amounts(score: Scorer, threshold: float, messages: Sequence[str]) -> Passed:
    """Another amount of money does not change the label. A case is a message with an amount."""
    with_amount = [message for message in messages if _AMOUNT.search(message)]
    others = [[_AMOUNT.sub(amount, message) for message in with_amount] for amount in AMOUNTS]
    return _labels_equal(score, threshold, [with_amount, *others])


def premium_number_raises_score(score: Scorer, threshold: float, messages: Sequence[str]) -> Passed:
    """A premium-rate number raises the score. A case is a message labelled ham."""
    before = score(messages)
    passing = [message for message, s in zip(messages, before, strict=True) if s < threshold]
    after = score([f"{message} {PREMIUM_NUMBER}" for message in passing])
    return after > before[before < threshold]


def undisputed_cases_are_right(score: Scorer, threshold: float, messages: Sequence[str]) -> Passed:
    """The labels of UNDISPUTED_CASES are correct. `messages` is not used."""
    y_true = np.array(list(UNDISPUTED_CASES.values()))
    return (score(list(UNDISPUTED_CASES)) >= threshold) == y_true


def business_ham_passes(score: Scorer, threshold: float, messages: Sequence[str]) -> Passed:
    """Notices of banks, carriers, doctors and the like are ham. `messages` is not used."""
    return score(messages_of_today(BUSINESS_HAM)) < threshold


def current_scams_are_caught(score: Scorer, threshold: float, messages: Sequence[str]) -> Passed:
    """Scams of today are spam. `messages` is not used."""
    return score(messages_of_today(CURRENT_SCAMS)) >= threshold


def near_misses_differ(score: Scorer, threshold: float, messages: Sequence[str]) -> Passed:
    """A notice is ham, and the scam that imitates it is spam. A case is such a pair."""
    pairs = near_miss_pairs()
    notices = score([notice for notice, _ in pairs])
    scams = score([scam for _, scam in pairs])
    return (notices < threshold) & (scams >= threshold)


BEHAVIOURAL_TESTS: dict[str, BehaviouralTest] = {
    "names": label_ignores_names,
    "greetings": label_ignores_greetings,
    "amounts": label_ignores_amounts,
    "premium_number": premium_number_raises_score,
    "plain_cases": undisputed_cases_are_right,
    BUSINESS_HAM: business_ham_passes,
    CURRENT_SCAMS: current_scams_are_caught,
    "near_misses": near_misses_differ,
}
OF_TODAY = (BUSINESS_HAM, CURRENT_SCAMS, "near_misses")  # those on TODAY_FILE


@cache
def messages_of_today(behaviour: str) -> list[str]:
    """The texts of one behaviour in TODAY_FILE."""
    return [row["text"] for row in _rows_of_today() if row["behaviour"] == behaviour]


def near_miss_pairs() -> list[tuple[str, str]]:
    """Each notice in TODAY_FILE that a scam imitates, and that scam."""
    pairs = defaultdict[str, dict[str, str]](dict)
    for row in _rows_of_today():
        if row["pair"]:
            pairs[row["pair"]][row["behaviour"]] = row["text"]
    return [(pair[BUSINESS_HAM], pair[CURRENT_SCAMS]) for pair in pairs.values()]


def _rows_of_today() -> Iterator[dict[str, str]]:
    with TODAY_FILE.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def pass_rates(
    score: Scorer,
    threshold: float,
    messages: Sequence[str],
    seed: int,
    names: Sequence[str] = tuple(BEHAVIOURAL_TESTS),
) -> dict[str, Figure]:
    """Percentage of cases that pass each of these BEHAVIOURAL_TESTS, as `TEST.holds_percent`.

    Args:
        score: calibrated probabilities of spam.
        threshold: probability from which a message is labelled spam.
        messages: of which EDITED_MESSAGES are chosen at random.
    """
    messages = Random(seed).sample(messages, min(len(messages), EDITED_MESSAGES))
    figures = {}
    for name in names:
        passed = BEHAVIOURAL_TESTS[name](score, threshold, messages)
        percent = 100 * float(passed.mean()) if len(passed) else None
        figures[f"{name}.holds_percent"] = Figure(percent, n=len(passed))
    return figures


def _labels_equal(score: Scorer, threshold: float, variants: Sequence[Sequence[str]]) -> Passed:
    """(n,): whether all variants of each of n messages get the same label."""
    spam = np.array([score(variant) >= threshold for variant in variants])
    return np.asarray((spam == spam[0]).all(axis=0))
