"""Each attack edits as much as it is told to, the same each time, in ways that training has not seen."""

import re
import unicodedata
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation import attacks
from pipeline.evaluation.attacks import ATTACKS
from pipeline.models import augmentation
from pipeline.preprocessing import normalize

SPAM = (
    "URGENT! You have won a £2000 prize. Call 09066364589 now, or www.claim-it.com/x9z to claim it"
)
OF_LETTERS = ["leet", "homoglyphs"]
BY_SHARE = [*OF_LETTERS, "zero_width", "spaced_letters", "typos"]


def edited(name, strength, message=SPAM, seed=1):
    return attacks.attacked([message], ATTACKS[name], strength, seed)[0]


@pytest.mark.parametrize(("name", "strength"), attacks.EVERY)
def test_the_same_seed_makes_the_same_edit_and_another_one_another(name, strength):
    assert edited(name, strength) != SPAM
    assert edited(name, strength) == edited(name, strength)
    assert len({edited(name, strength, seed=seed) for seed in range(20)}) > 5


@pytest.mark.parametrize("name", ATTACKS)
@given(message=st.text(max_size=40), strength=st.integers(1, 100))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_any_message_can_be_edited(name, message, strength):
    strength = min(strength, len(attacks.FRIENDLY)) if name == "good_words" else strength
    assert isinstance(edited(name, strength, message), str)


def test_what_is_done_to_a_message_does_not_depend_on_the_others():
    attack = ATTACKS["typos"]
    assert attacks.attacked(["hello there", SPAM], attack, 15, 1)[1] == edited("typos", 15)


@pytest.mark.parametrize("name", OF_LETTERS)
@pytest.mark.parametrize("share", attacks.SHARES)
def test_that_share_of_the_characters_is_replaced(name, share):
    found = edited(name, share)
    changed = [(a, b) for a, b in zip(SPAM, found, strict=True) if a != b]
    assert len(changed) == round(len(SPAM) * share / 100)
    for before, after in changed:
        assert after in (
            attacks.LEET[before.lower()] if name == "leet" else attacks.LOOKALIKES[before]
        )


@pytest.mark.parametrize("name", ["homoglyphs", "zero_width", "spaced_letters"])
def test_what_a_reader_does_not_see_is_undone_by_canonicalise(name):
    for share in (5, 15):
        plain = re.sub(r"\W", "", normalize.canonicalise(edited(name, share)))
        assert plain == re.sub(r"\W", "", normalize.canonicalise(SPAM))


def test_zero_width_adds_that_share_of_invisible_characters():
    for share in attacks.SHARES:
        found = edited("zero_width", share)
        assert len(found) - len(SPAM) == round(len(SPAM) * share / 100)
        assert "".join(sign for sign in found if sign not in attacks.INVISIBLE) == SPAM
    assert all(unicodedata.category(sign) == "Cf" for sign in attacks.INVISIBLE)


def test_spaced_letters_spell_out_whole_words_until_the_share_is_reached():
    for share in attacks.SHARES:
        found = edited("spaced_letters", share)
        spelt = sum(
            len(run.replace(" ", "")) for run in re.findall(r"\b(?:[A-Za-z] ){2,}[A-Za-z]\b", found)
        )
        assert share / 100 * len(SPAM) - 1 <= spelt <= share / 100 * len(SPAM) + 8
        assert found.replace(" ", "") == SPAM.replace(" ", "")


def test_typos_are_near_the_letter_and_about_that_many():
    for share in attacks.SHARES:
        found = edited("typos", share)
        assert abs(len(found) - len(SPAM)) <= round(len(SPAM) * share / 100)
        assert re.sub(r"[^\d£!]", "", found) == re.sub(r"[^\d£!]", "", SPAM)
    assert attacks.NEAR_KEYS["g"] == "rtyfhvbn"
    assert attacks.NEAR_KEYS["q"] == "was"


@pytest.mark.parametrize("words", ATTACKS["good_words"].strengths)
def test_good_words_stand_at_the_end_once_each(words):
    found = edited("good_words", words)
    added = found.removeprefix(SPAM).split()
    assert len(set(added)) == len(added) == words
    assert set(added) <= set(attacks.FRIENDLY)


def test_link_shuffling_keeps_the_shape_of_links_and_long_numbers_and_all_else():
    found = edited("link_shuffling", 100)
    number, link = re.search(r"\d{11}", found)[0], re.search(r"www\.\S+", found)[0]
    assert number != "09066364589"
    assert link != "www.claim-it.com/x9z"
    assert re.fullmatch(r"www\.[a-z]{5}-[a-z]{2}\.com/[a-z]\d[a-z]", link)
    assert found.replace(number, "09066364589").replace(link, "www.claim-it.com/x9z") == SPAM
    assert edited("link_shuffling", 0) == SPAM


def test_what_training_may_see_is_not_what_judges():
    assert not [word for word in attacks.FRIENDLY if augmentation.may_train(word)]
    assert not set(attacks.ATTACKS) - {"leet"} & set(augmentation.CORRUPTIONS)
    assert not set(" ") & set(augmentation.SEPARATORS)


# ---- the adaptive attack


def by_prize(messages):
    """A model that looks for one word, and counts letters a little."""
    return np.array([0.9 * ("prize" in message) + len(message) / 1000 for message in messages])


def test_adaptive_attack_finds_the_word_that_decides_within_its_queries():
    asked = []

    def score(messages):
        asked.extend(messages)
        return by_prize(messages)

    others = ["lunch at one"] * 3
    (found, *rest) = attacks.adaptive([SPAM, *others], score, 0.5, seed=1)
    assert by_prize([found])[0] < 0.5
    assert rest == others  # below the threshold already, so nothing is tried
    assert len(asked) <= attacks.QUERIES + len(others)


def test_adaptive_attack_never_leaves_a_message_worse_for_the_attacker():
    def stubborn(messages):
        return np.array([0.9 + min(0.1, len(message) / 10_000) for message in messages])

    found = attacks.adaptive([SPAM], stubborn, 0.5, seed=1)
    assert stubborn(found)[0] <= stubborn([SPAM])[0]


def test_adaptive_attack_is_the_same_each_time():
    once, again, other = (attacks.adaptive([SPAM] * 3, by_prize, 0.5, seed) for seed in (1, 1, 2))
    assert once == again
    assert once != other


def test_small_edits_are_small():
    for attack in ATTACKS.values():
        found = attack.edit(SPAM, attack.least, Random(1))
        assert abs(len(found) - len(SPAM)) <= 12
