"""Each corruption makes its edit, up to its share, from the given random numbers alone."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models import augmentation
from pipeline.models.augmentation import CORRUPTIONS, corrupted, may_train, row_corrupter
from tests.harness.toy_problem import TEXT_ROWS, TEXT_TOKENIZER, TEXTS

MESSAGE = "URGENT! You have won a £2000 prize. Call 09066364589 now to claim it"
WORDS = ["see", "you", "later"]


def edit(name, share=0.3, seed=1):
    return CORRUPTIONS[name](MESSAGE, share, Random(seed), WORDS)


@pytest.mark.slow
@given(message=st.text(max_size=40), seed=st.integers(0, 99))
@settings(derandomize=True, max_examples=50)
def test_edits_of_any_message_depend_on_the_random_numbers(message, seed):
    one, other = (corrupted(message, [*CORRUPTIONS], Random(seed), WORDS) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("name", ["leet", "slips", "separated"])
def test_a_larger_share_edits_more(name):
    words = set(MESSAGE.split())
    edits = ([edit(name, share, seed) for seed in range(50)] for share in (0.3, 0.1))
    many, few = (sum(len(words - set(text.split())) for text in texts) for texts in edits)
    assert many > few > 0
    assert edit(name, share=0.0) == MESSAGE


def test_leet_draws_one_table_for_each_message():
    tables = set()
    for seed in range(20):
        edited = edit("leet", 0.5, seed)
        table = {(a.lower(), b) for a, b in zip(MESSAGE, edited, strict=True) if a != b}
        assert {sign for _, sign in table} <= set(augmentation.SIGNS)
        assert len(dict(table)) == len(table)  # one sign for each letter
        tables.add(frozenset(table))
    assert len(tables) == 20


@pytest.mark.parametrize("name", ["ham_words", "padding"])
def test_words_of_ham_are_added_at_one_end(name):
    for seed in range(20):
        edited = edit(name, seed=seed)
        assert edited.startswith(f"{MESSAGE} ") or edited.endswith(f" {MESSAGE}")
        assert set(edited.replace(MESSAGE, "").split()) <= set(WORDS)
    assert CORRUPTIONS[name](MESSAGE, 0.3, Random(1), []).strip() == MESSAGE


def test_padding_is_a_run_of_words():
    words = [f"w{number}" for number in range(1000)]
    runs = [CORRUPTIONS["padding"]("free", 0.3, Random(seed), words) for seed in range(50)]
    numbers = [[int(word[1:]) for word in run.split() if word != "free"] for run in runs]
    assert all(run == [*range(run[0], run[0] + len(run))] for run in numbers)
    assert {run.startswith("free ") for run in runs} == {True, False}
    assert 4 <= min(map(len, numbers)) < 8 < 40 < max(map(len, numbers)) <= 60


def test_half_of_all_words_may_train_in_any_spelling():
    words = [f"word{i}" for i in range(2000)]
    assert 0.45 < sum(map(may_train, words)) / 2000 < 0.55
    for spelling in (str.upper, "{},".format, "({})!".format):
        assert all(may_train(word) == may_train(spelling(word)) for word in words)


def test_corrupted_makes_one_to_three_of_the_named_edits():
    edited = [corrupted("free", ["ham_words"], Random(seed), ["see"]) for seed in range(60)]
    counts = {message.count("see") for message in edited}
    assert all("free" in message for message in edited)
    assert min(counts) >= 2  # an edit adds 2 to 16 words
    assert 16 < max(counts) <= 16 * max(augmentation.EDIT_COUNTS)


def text_of(ids):
    return TEXT_TOKENIZER.decode(ids[1:].tolist()).strip()


def test_a_share_of_the_rows_is_edited_and_encoded_again():
    assert row_corrupter(TEXT_ROWS, TEXT_TOKENIZER, [])((1, 1), 1.0) is TEXT_ROWS
    corrupt = row_corrupter(TEXT_ROWS, TEXT_TOKENIZER, ["ham_words"])
    ham = {word for text in TEXTS[1:3] for word in text.split() if may_train(word)}
    for share, low, high in ((0.0, 0, 0), (0.5, 4, 20), (1.0, 24, 24)):
        edited = corrupt((1, 1), share)
        assert edited.labels is TEXT_ROWS.labels
        pairs = [*zip(edited.token_ids, TEXT_ROWS.token_ids, strict=True)]
        assert low <= sum(len(ids) > len(before) for ids, before in pairs) <= high
        for ids, before in pairs:
            if len(ids) < 60:  # not cut
                assert text_of(before) in text_of(ids)
                assert set(text_of(ids).split()) - set(text_of(before).split()) <= ham


def test_edited_rows_depend_on_seed_and_epoch():
    corrupt = row_corrupter(TEXT_ROWS, TEXT_TOKENIZER, list(CORRUPTIONS))
    seeds = ((1, 1), (1, 1), (1, 2), (2, 1))
    edited = ([ids.tolist() for ids in corrupt(seed, 0.7).token_ids] for seed in seeds)
    first, again, *others = edited
    assert first == again
    assert first not in others
