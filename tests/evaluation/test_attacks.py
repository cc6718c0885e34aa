"""Each attack edits as much as it should, repeatably, in ways that training has not seen."""

import html
import re
import unicodedata

import numpy as np
import pandas as pd
import pytest

from pipeline.core.reports import Figure
from pipeline.evaluation import attacks
from pipeline.evaluation.attacks import ATTACKS, EDITED_PERCENTS, adaptive_attack
from pipeline.evaluation.behavioural_tests import BUSINESS_HAM, messages_of_today
from pipeline.models import augmentation
from pipeline.preprocessing import normalize

SPAM = "URGENT! You have won a £2000 prize. Call 09066364589 now, or www.claim-it.com/x9z to claim"


def edited(name, strength, message=SPAM, seed=1):
    return attacks.attack_messages([message], ATTACKS[name], strength, seed)[0]


def characters(percent):
    return round(len(SPAM) * percent / 100)


@pytest.mark.parametrize(("name", "strength"), attacks.ATTACK_STRENGTHS)
def test_an_edit_depends_on_the_seed_alone(name, strength):
    assert edited(name, strength) != SPAM
    assert edited(name, strength) == edited(name, strength)
    assert len({edited(name, strength, seed=seed) for seed in range(20)}) > 5


@pytest.mark.parametrize("name", ATTACKS)
def test_a_message_without_letters_can_be_edited(name):
    assert {type(edited(name, 15, message)) for message in ("", "?", "12 £!")} == {str}


@pytest.mark.parametrize("percent", EDITED_PERCENTS)
def test_that_share_of_the_characters_is_replaced(percent):
    for name in ("leet", "homoglyphs"):
        changes = [(a, b) for a, b in zip(SPAM, edited(name, percent), strict=True) if a != b]
        assert len(changes) == characters(percent)
        for before, after in changes:
            leet = attacks.LEET_CHARACTERS.get(before.lower(), "")
            assert after in (leet if name == "leet" else attacks.LOOKALIKES[before])


@pytest.mark.parametrize("percent", EDITED_PERCENTS)
def test_that_share_is_inserted_spaced_or_mistyped(percent):
    message = edited("zero_width", percent)
    assert len(message) - len(SPAM) == characters(percent)
    invisible = attacks.ZERO_WIDTH_CHARACTERS
    assert "".join(sign for sign in message if sign not in invisible) == SPAM
    assert {unicodedata.category(sign) for sign in invisible} == {"Cf"}

    message = edited("spaced_letters", percent)
    runs = re.findall(r"\b(?:[A-Za-z] ){2,}[A-Za-z]\b", message)
    spelt = sum(len(run.replace(" ", "")) for run in runs)
    assert characters(percent) - 1 <= spelt <= characters(percent) + 8
    assert message.replace(" ", "") == SPAM.replace(" ", "")

    message = edited("typos", percent)
    assert abs(len(message) - len(SPAM)) <= characters(percent)
    assert re.sub(r"[^\d£!]", "", message) == re.sub(r"[^\d£!]", "", SPAM)
    assert (attacks.NEIGHBOUR_KEYS["g"], attacks.NEIGHBOUR_KEYS["q"]) == ("rtyfhvbn", "was")


def test_all_characters_are_escaped_or_struck_through():
    escaped, struck = (edited(name, 100) for name in ("html_escapes", "strikethrough"))
    assert re.fullmatch(r"(&#(x[0-9a-f]+|\d+);)+", escaped)
    assert html.unescape(escaped) == SPAM
    assert (struck[::2], len(struck)) == (SPAM, 2 * len(SPAM))
    assert set(struck[1::2]) == set(attacks.STROKES)
    assert unicodedata.normalize("NFKC", struck) == struck


@pytest.mark.parametrize("characters", ATTACKS["padding_after"].strengths)
def test_padding_is_harmless_notices_before_or_after(characters):
    before = edited("padding_before", characters).removesuffix(f" {SPAM}")
    after = edited("padding_after", characters).removeprefix(f"{SPAM} ")
    assert len(before) == len(after) == characters
    notices = " ".join(messages_of_today(BUSINESS_HAM))
    assert before[:60] in notices
    assert after[:60] in notices


@pytest.mark.parametrize("seed", range(5))
def test_both_parts_are_the_message(seed):
    first, last = (edited(name, 50, seed=seed) for name in ("first_part", "last_part"))
    assert f"{first} {last}" == SPAM
    assert min(len(first), len(last)) > 0.15 * len(SPAM)
    word = [edited(name, 50, "overpriced", seed) for name in ("first_part", "last_part")]
    assert ("".join(word), all(word)) == ("overpriced", True)


def test_placeholders_of_ham_are_appended():
    added = edited("placeholders", 3).removeprefix(SPAM).split()
    assert len(added) == 3
    assert {normalize.undo_entities(one) for one in added} <= {"<#>", "<DECIMAL>"}


@pytest.mark.parametrize("words", ATTACKS["good_words"].strengths)
def test_good_words_are_appended_once_each(words):
    added = edited("good_words", words).removeprefix(SPAM).split()
    assert len(set(added)) == len(added) == words
    assert set(added) <= set(attacks.FRIENDLY_WORDS)


def test_link_shuffling_keeps_the_shape_and_the_rest():
    message = edited("link_shuffling", 100)
    number, link = re.search(r"\d{11}", message)[0], re.search(r"www\.\S+", message)[0]
    assert (number == "09066364589", link == "www.claim-it.com/x9z") == (False, False)
    assert re.fullmatch(r"www\.[a-z]{5}-[a-z]{2}\.com/[a-z]\d[a-z]", link)
    assert message.replace(number, "09066364589").replace(link, "www.claim-it.com/x9z") == SPAM
    assert edited("link_shuffling", 0) == SPAM


def test_training_does_not_see_what_evaluates():
    assert not [word for word in attacks.FRIENDLY_WORDS if augmentation.may_train(word)]
    assert not set(ATTACKS) - {"leet"} & set(augmentation.CORRUPTIONS)
    assert not set(" ") & set(augmentation.SEPARATORS)


# ---- the adaptive attack


def score_by_prize(messages):
    """A model that looks for one word, and counts letters a little."""
    return np.array([0.9 * ("prize" in message) + len(message) / 1000 for message in messages])


def test_adaptive_attack_finds_the_deciding_word():
    queried = []

    def score(messages):
        queried.extend(messages)
        return score_by_prize(messages)

    others = ["lunch at one"] * 3  # below the threshold
    message, *rest = adaptive_attack([SPAM, *others], score, 0.5, seed=1)
    assert score_by_prize([message])[0] < 0.5
    assert rest == others
    assert len(queried) <= attacks.QUERIES_PER_MESSAGE + len(others)
    assert adaptive_attack([SPAM], score_by_prize, 0.5, seed=1) == [message]
    assert adaptive_attack([SPAM], score_by_prize, 0.5, seed=2) != [message]
    shortened = adaptive_attack([SPAM], lambda texts: np.array([*map(len, texts)]), 0.5, seed=1)
    assert len(shortened[0]) <= len(SPAM)  # the score never rises


# ---- figures


def test_attack_figures_count_spam_caught_and_ham_lost():
    texts = ["a prize"] * 8 + ["lunch prize", "lunch"] * 2
    test = pd.DataFrame({"text": texts, "label": ["spam"] * 8 + ["ham"] * 4})
    strengths = [("good_words", 8), ("homoglyphs", 30)]
    figures = attacks.attack_figures(score_by_prize, 0.5, test, seed=1, strengths=strengths)
    assert figures["good_words_8.spam_caught_percent"] == Figure(100.0, n=8)
    assert figures["good_words_8.ham_blocked_percent"] == Figure(50.0, n=4)
    assert figures["homoglyphs_30.spam_caught_percent"].value < 100
    assert figures["adaptive.spam_caught_percent"] == Figure(0.0, n=8)
    assert len(figures) == 5
