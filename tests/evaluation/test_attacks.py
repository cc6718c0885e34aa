"""Each attack edits as much as it should, repeatably, in ways that training has not seen."""

import re
import unicodedata
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.reports import Figure
from pipeline.evaluation import attacks
from pipeline.evaluation.attacks import ATTACKS, EDITED_PERCENTS, adaptive_attack
from pipeline.models import augmentation
from pipeline.preprocessing.normalize import canonicalise

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
@given(message=st.text(max_size=40), strength=st.integers(1, len(attacks.FRIENDLY_WORDS)))
@settings(derandomize=True, deadline=None, max_examples=10)
def test_any_message_can_be_edited(name, message, strength):
    assert isinstance(edited(name, strength, message), str)


@pytest.mark.parametrize("percent", EDITED_PERCENTS)
@pytest.mark.parametrize("name", ["leet", "homoglyphs"])
def test_that_share_of_the_characters_is_replaced(name, percent):
    changes = [(a, b) for a, b in zip(SPAM, edited(name, percent), strict=True) if a != b]
    assert len(changes) == characters(percent)
    for before, after in changes:
        leet = attacks.LEET_CHARACTERS.get(before.lower(), "")
        assert after in (leet if name == "leet" else attacks.LOOKALIKES[before])


@pytest.mark.parametrize("name", ["homoglyphs", "zero_width", "spaced_letters"])
def test_canonicalise_undoes_what_a_reader_does_not_see(name):
    plain = re.sub(r"\W", "", canonicalise(edited(name, 15)))
    assert plain == re.sub(r"\W", "", canonicalise(SPAM))


@pytest.mark.parametrize("percent", EDITED_PERCENTS)
def test_zero_width_inserts_invisible_characters(percent):
    message = edited("zero_width", percent)
    assert len(message) - len(SPAM) == characters(percent)
    invisible = attacks.ZERO_WIDTH_CHARACTERS
    assert "".join(sign for sign in message if sign not in invisible) == SPAM
    assert {unicodedata.category(sign) for sign in invisible} == {"Cf"}


@pytest.mark.parametrize("percent", EDITED_PERCENTS)
def test_spaced_letters_spell_words_until_the_share(percent):
    message = edited("spaced_letters", percent)
    runs = re.findall(r"\b(?:[A-Za-z] ){2,}[A-Za-z]\b", message)
    spelt = sum(len(run.replace(" ", "")) for run in runs)
    assert characters(percent) - 1 <= spelt <= characters(percent) + 8
    assert message.replace(" ", "") == SPAM.replace(" ", "")


@pytest.mark.parametrize("percent", EDITED_PERCENTS)
def test_typos_change_about_that_many_letters(percent):
    message = edited("typos", percent)
    assert abs(len(message) - len(SPAM)) <= characters(percent)
    assert re.sub(r"[^\d£!]", "", message) == re.sub(r"[^\d£!]", "", SPAM)
    assert (attacks.NEIGHBOUR_KEYS["g"], attacks.NEIGHBOUR_KEYS["q"]) == ("rtyfhvbn", "was")


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
    shortened = adaptive_attack([SPAM], lambda texts: np.array([*map(len, texts)]), 0.5, seed=1)
    assert len(shortened[0]) <= len(SPAM)  # the score never rises


def test_adaptive_attack_depends_on_the_seed_alone():
    results = [adaptive_attack([SPAM] * 3, score_by_prize, 0.5, seed) for seed in (1, 1, 2)]
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize("name", ATTACKS)
def test_a_step_of_the_adaptive_attack_is_small(name):
    message = ATTACKS[name].edit(SPAM, ATTACKS[name].smallest_strength, Random(1))
    assert abs(len(message) - len(SPAM)) <= 12


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
