"""Compares the words that explain an answer with those that a person marked beforehand.

Labels and explains CASES with the champion. Prints the three strongest words of each answer beside
the person's, in how many cases they agree, the largest error of the sum, and the processor time of
an answer with and without reasons.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from pipeline.core.cli import argument_parser, run_command
from pipeline.registry import versions
from pipeline.serving.explanations import explain_message
from pipeline.serving.labels import label_messages
from pipeline.serving.verdict_text import strongest_words

EXAMPLE = "python -m benchmarks.explanations --rounds 9"
LENGTHS = (40, 160, 240, 1_000, 4_000, 20_000)  # characters of the messages that are timed


class Case(NamedTuple):
    """A message, and the words that a person would name as the reasons for its true label."""

    label: str
    text: str
    words: str  # folded, without punctuation marks, separated by spaces


# Written and marked before any explanation was computed, and not changed since.
CASES = [
    Case(
        "spam",
        "URGENT! Your mobile number has won a £2,000 prize. Call 09061 743 810 now to claim",
        "urgent won £2,000 prize claim call 09061",
    ),
    Case(
        "spam",
        "Royal Mail: your parcel is held. Pay the £1.99 redelivery fee at http://rm-redeliver.top",
        "pay £1.99 fee http://rm-redeliver.top parcel held redelivery",
    ),
    Case(
        "spam",
        "Your bank account was locked. Verify your identity here: http://secure-bank.example/login",
        "locked verify identity http://secure-bank.example/login account bank",
    ),
    Case(
        "spam",
        "Get 100 free spins today! No deposit needed. Join www.luckyslots.example",
        "free spins deposit www.luckyslots.example join",
    ),
    Case(
        "spam",
        "Earn £500 a day from home, no experience needed. Message us on WhatsApp +44 7700 900123",
        "earn £500 home experience whatsapp",
    ),
    Case(
        "spam",
        "Double your bitcoin in 24 hours. Guaranteed profit, invest now with our expert",
        "double bitcoin guaranteed profit invest",
    ),
    Case(
        "spam",
        "Congratulations! You have been selected for a FREE iPhone. Click the link to claim it",
        "congratulations selected free iphone click claim link",
    ),
    Case(
        "spam",
        "Hi Mum, my phone is broken, this is my new number. Can you send me money for rent today?",
        "mum broken new number send money",
    ),
    Case(
        "spam",
        "Instant loan up to £5,000, no credit check. Apply in 2 minutes: quickloan.example",
        "loan £5,000 credit check apply quickloan.example instant",
    ),
    Case(
        "spam",
        "Final notice: unpaid toll of $6.99. Pay today to avoid late fees http://toll-pay.example",
        "final unpaid toll pay fees http://toll-pay.example $6.99",
    ),
    Case(
        "ham",
        "Are we still on for lunch tomorrow? I can be at the cafe by one",
        "lunch tomorrow we still i cafe",
    ),
    Case(
        "ham",
        "Happy birthday! Hope you have a lovely day, see you on Saturday for cake",
        "birthday lovely saturday cake see hope happy",
    ),
    Case(
        "ham",
        "Your code is 482913. Do not share it with anyone. It expires in 10 minutes",
        "code share anyone expires not 482913",
    ),
    Case(
        "ham",
        "Reminder: your dental appointment is on Tuesday at 9:30. Reply C to cancel",
        "reminder dental appointment tuesday",
    ),
    Case(
        "ham",
        "Sorry, I'm running late, the train is stuck outside Leeds. Start without me",
        "sorry late train leeds start i'm me running",
    ),
    Case(
        "ham",
        "Your Amazon parcel was delivered at 14:02 and left with your neighbour",
        "delivered neighbour left parcel 14:02",
    ),
    Case(
        "ham",
        "Can you pick up some milk and bread on your way home? The kids ate everything",
        "milk bread home kids pick way",
    ),
    Case(
        "ham",
        "You spent £12.40 at Tesco with your card ending 4471. Available balance £318.22",
        "spent tesco card ending 4471 balance",
    ),
    Case(
        "ham",
        "Meeting moved to 3pm because Anna is ill. I'll send you the new invite",
        "meeting moved anna ill i'll invite 3pm",
    ),
    Case(
        "ham",
        "lol no way, did he really say that? tell me everything tonight",
        "lol he tell me tonight say really way",
    ),
]


def agreeing_words(case: Case, answer: dict[str, Any]) -> list[str]:
    """The strongest words of an answer that the person marked, too."""
    marked = case.words.split()
    return [word for word in strongest_words(answer) if word.casefold() in marked]


def sum_error(answer: dict[str, Any]) -> float:
    """How far base, weights and rest are from the logit."""
    reasons = answer["reasons"]
    weights = sum(word["weight"] for word in reasons["words"])
    return float(abs(reasons["base"] + weights + reasons["rest"] - reasons["logit"]))


def case_table(cases: Sequence[Case], answers: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row a case, with the three strongest words and the person's."""
    lines = ["| true label | answer | strongest words | a person's words | agree |"]
    lines.append("|---|---|---|---|---|")
    for case, answer in zip(cases, answers, strict=True):
        words = ", ".join(strongest_words(answer))
        agreeing = len(agreeing_words(case, answer))
        lines.append(f"| {case.label} | {answer['label']} | {words} | {case.words} | {agreeing} |")
    return "\n".join(lines)


def agreement_line(cases: Sequence[Case], answers: Sequence[dict[str, Any]]) -> str:
    """In how many cases one and two of the strongest words are the person's."""
    counts = [len(agreeing_words(*pair)) for pair in zip(cases, answers, strict=True)]
    one, two = (sum(count >= least for count in counts) for least in (1, 2))
    return f"at least one word agrees in {one} of {len(counts)} cases, at least two in {two}"


def milliseconds(calls: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """The median processor time of each call, after a round that compiles what is new."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds + 1):
        for call, taken in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            taken.append(1000 * (time.process_time() - start))
    return [statistics.median(taken[1:]) for taken in times]


def time_table(model: Any, rounds: int) -> str:
    """Markdown: a row a length, of messages that repeat the cases."""
    lines = ["| characters | plain answer, ms | with reasons, ms | ratio |", "|---|---|---|---|"]
    text = " ".join(case.text for case in CASES) + " "
    for length in LENGTHS:
        message = (text * (length // len(text) + 1))[:length]
        calls = [
            partial(label_messages, [message], model),
            partial(explain_message, message, model),
        ]
        plain, explained = milliseconds(calls, rounds)
        lines.append(f"| {length:,} | {plain:.1f} | {explained:.1f} | {explained / plain:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--rounds", type=int, default=9, help="of each time; default: 9")
    rounds = parser.parse_args().rounds
    model, version = versions.load_champion()
    answers = [explain_message(case.text, model) for case in CASES]
    print(f"Version {version}\n")
    print(case_table(CASES, answers))
    print(f"\n{agreement_line(CASES, answers)}")
    print(f"largest error of the sum: {max(map(sum_error, answers)):.1e}\n")
    print(time_table(model, max(1, rounds)))


if __name__ == "__main__":
    run_command(main)
