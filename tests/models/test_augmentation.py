"""Each corruption edits what it says, up to its share, and takes its chances from the random given."""

from random import Random
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline.models import augmentation
from pipeline.models.augmentation import CORRUPTIONS

MESSAGE = "URGENT! You have won a £2000 prize. Call 09066364589 now to claim it"
WORDS = ["see", "you", "later"]


def edited(name, share=0.3, seed=1, message=MESSAGE):
    return CORRUPTIONS[name](message, share, Random(seed), WORDS)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_random_makes_the_same_edit_and_another_one_another(name):
    assert edited(name) == edited(name)
    assert len({edited(name, seed=seed) for seed in range(20)}) > 5


@pytest.mark.parametrize("name", CORRUPTIONS)
@given(message=st.text(max_size=40), share=st.floats(0, augmentation.STRONGEST))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_any_message_can_be_edited(name, message, share):
    assert isinstance(edited(name, share, message=message), str)


@pytest.mark.parametrize("name", ["leet", "slips", "separated"])
def test_a_share_of_nothing_edits_nothing_and_a_larger_one_more(name):
    assert edited(name, 0.0) == MESSAGE

    def kept(share):
        found = [set(edited(name, share, seed).split()) for seed in range(50)]
        return sum(len(words & set(MESSAGE.split())) for words in found)

    assert kept(0.3) < kept(0.1) < kept(0.0)


def test_leet_draws_a_table_for_each_message_and_keeps_to_it():
    tables = set()
    for seed in range(20):
        found = edited("leet", 0.5, seed)
        pairs = {(a.lower(), b) for a, b in zip(MESSAGE, found, strict=True) if a != b}
        assert all(b in augmentation.SIGNS for _, b in pairs)
        assert len({a for a, _ in pairs}) == len(pairs)  # a letter is always the same sign
        tables.add(frozenset(pairs))
    assert len(tables) == 20


def test_ham_words_stand_at_one_end():
    for seed in range(20):
        found = edited("ham_words", seed=seed)
        assert found.startswith(f"{MESSAGE} ") or found.endswith(f" {MESSAGE}")
        assert set(found.replace(MESSAGE, "").split()) <= set(WORDS)
    assert CORRUPTIONS["ham_words"](MESSAGE, 0.3, Random(1), []).strip() == MESSAGE


def test_half_of_all_words_may_train_however_they_are_written():
    words = [f"word{i}" for i in range(2000)]
    assert 0.45 < sum(map(augmentation.may_train, words)) / 2000 < 0.55
    for written in (str.upper, "{},".format, "({})!".format):
        assert all(augmentation.may_train(word) == augmentation.may_train(written(word)) for word in words)


def test_corrupted_takes_those_named():
    assert all(
        MESSAGE in augmentation.corrupted(MESSAGE, ["ham_words"], Random(seed), WORDS) for seed in range(10)
    )


def test_corrupted_edits_a_message_once_or_more():
    found = [augmentation.corrupted("free", ["ham_words"], Random(seed), ["see"]) for seed in range(60)]
    sizes = {message.count("see") for message in found}
    assert min(sizes) >= 2  # words that one edit adds
    assert 16 < max(sizes) <= 16 * max(augmentation.EDITS)
