"""What any spam filter should do, whatever it was trained on.

Source: Ribeiro and others 2020, Beyond Accuracy: Behavioral Testing of NLP Models with CheckList.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.core.reports import Figure

Probability = Callable[[Sequence[str]], NDArray[np.float64]]  # of spam, of (n,) messages
Holds = NDArray[np.bool_]  # (cases,)

NAMES = "Anna", "Mohammed", "Wei", "Chidi", "Siobhan"
GREETINGS = "Hi", "Hello there", "Dear all", "Good morning"
AMOUNTS = "£7", "£60", "£350", "£1250"
PREMIUM = "Call 09061701461 from a landline, 150p per minute"
PLAIN = {  # cases that nobody disputes, and whether they are spam
    "Ok, see you at eight then": False,
    "Can you pick up some milk on the way home?": False,
    "I'll call you later, in a meeting": False,
    "Happy birthday! Have a lovely day": False,
    "Where are you? We are at the station": False,
    "Thanks for dinner yesterday, it was great": False,
    "URGENT! You have won a £2000 prize. Call 09061701461 now to claim": True,
    "FREE entry in our weekly competition! Text WIN to 80086 now": True,
    "Congratulations! You have been selected to receive a free mobile phone. Call 08001234567": True,
    "Your loan of £5000 is approved. Reply YES to 87121 to get your cash today": True,
    "Hot singles in your area are waiting to chat! Text DATE to 69696, 150p/msg": True,
    "Claim your free ringtone now! Reply TONE to 83355. To stop, text STOP. 150p per text": True,
}
_AMOUNT = re.compile(r"£\s?\d(?:[\d,.]*\d)?")

Behaviour = Callable[
    [Probability, float, Sequence[str]], Holds
]  # of a model, its threshold, and messages


def names(probability: Probability, threshold: float, messages: Sequence[str]) -> Holds:
    """Whom a message greets does not change its label."""
    return _same_label(
        probability,
        threshold,
        [[f"Hi {name}, {message}" for message in messages] for name in NAMES],
    )


def greetings(probability: Probability, threshold: float, messages: Sequence[str]) -> Holds:
    """A greeting does not change a message's label, nor which one it is."""
    greeted = [[f"{greeting}, {message}" for message in messages] for greeting in GREETINGS]
    return _same_label(probability, threshold, [list(messages), *greeted])


def amounts(probability: Probability, threshold: float, messages: Sequence[str]) -> Holds:
    """Another sum of money does not change a message's label."""
    about_money = [message for message in messages if _AMOUNT.search(message)]
    others = [[_AMOUNT.sub(amount, message) for message in about_money] for amount in AMOUNTS]
    return _same_label(probability, threshold, [about_money, *others])


def premium_number(probability: Probability, threshold: float, messages: Sequence[str]) -> Holds:
    """A premium number at its end makes a message that passes look more like spam."""
    before = probability(messages)
    passes = [message for message, value in zip(messages, before, strict=True) if value < threshold]
    return probability([f"{message} {PREMIUM}" for message in passes]) > before[before < threshold]


def plain_cases(probability: Probability, threshold: float, messages: Sequence[str]) -> Holds:
    """What nobody disputes is labelled right; it needs no message of the data."""
    return (probability(list(PLAIN)) >= threshold) == np.array(list(PLAIN.values()))


BEHAVIOURS: dict[str, Behaviour] = {
    "names": names,
    "greetings": greetings,
    "amounts": amounts,
    "premium_number": premium_number,
    "plain_cases": plain_cases,
}


def measure(
    probability: Probability, threshold: float, messages: Sequence[str]
) -> dict[str, Figure]:
    """Per cent of the cases in which each of BEHAVIOURS holds, as `NAME.holds_percent`."""
    held = {
        name: behaviour(probability, threshold, messages) for name, behaviour in BEHAVIOURS.items()
    }
    return {
        f"{name}.holds_percent": Figure(
            100 * float(holds.mean()) if len(holds) else None, n=len(holds)
        )
        for name, holds in held.items()
    }


def _same_label(
    probability: Probability, threshold: float, variants: Sequence[Sequence[str]]
) -> Holds:
    """(n,): whether all variants of each of n messages get one label."""
    spam = np.array([probability(variant) >= threshold for variant in variants])
    return np.asarray((spam == spam[0]).all(axis=0))
