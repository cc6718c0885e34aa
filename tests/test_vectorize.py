"""The split is a function of one row and of time, near-copies never straddle it, and train alone learns."""

import itertools
import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import ruamel.yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipeline import vectorize
from pipeline.core.errors import PipelineError
from pipeline.core.files import read_json
from pipeline.core.hashing import message_id, unit_hash
from pipeline.core.schemas import SHARD, SPLITS
from pipeline.core.tables import read_parquet
from pipeline.preprocessing import near_duplicates, normalize
from pipeline.preprocessing.params import Params, Shares
from pipeline.preprocessing.splits import (
    RANK,
    RETIRED,
    assign_splits,
    figures_of,
    leaking_mask,
    left_out_mask,
    random_split_leak,
)
from pipeline.preprocessing.tokenizer import encode_texts, fit_tokenizer
from tests.harness.small_project import stage_arguments

ROOT = Path(__file__).parents[1]
NEWER = [  # characters whose NFKC came after Unicode 11, which `tokenizers` knows
    (0x32FF, 0x32FF),
    (0xA7F2, 0xA7F4),
    (0xAB69, 0xAB69),
    (0x10780, 0x107BF),
    (0x1E030, 0x1E06D),
    (0x1F16C, 0x1F16C),
    (0x1FBF0, 0x1FBF9),
]
PARAMS = Params(
    Shares(0.7, 0.15, 0.15),
    "2026",
    newest_days=7,
    window_days=10,
    reservoir_rows=3,
    vocabulary_size=400,
    sequence_length=30,
    shard_rows=50,
)


CAMPAIGN = (
    "URGENT! You have won a 2000 pound prize, call 09061701461 now to claim before the end of today"
)
MESSAGES = st.one_of(  # strangers, and near-copies of one campaign with a few characters changed
    st.text("abcdefgh ", min_size=5, max_size=40),
    st.builds(
        lambda at, by: CAMPAIGN[:at] + by + CAMPAIGN[at + len(by) :],
        st.integers(0, len(CAMPAIGN) - 8),
        st.text("xyz ", min_size=1, max_size=8),
    ),
)


def slow_split(messages, params, days=None):
    """message -> (split, left out), by all pairs of messages and nothing clever.

    days: the number of the day on which each message came, or None.
    """
    split, keys = (
        {},
        {message: f"{near_duplicates.campaign_keys([message])[0]:016x}" for message in messages},
    )
    for message in messages:
        position = unit_hash(params.salt, keys[message])
        shares = params.split
        bound = shares.train, shares.train + shares.val
        split[message] = (
            "train" if position < bound[0] else "val" if position < bound[1] else "test"
        )
    retired = set()
    dated = {m: day for m, day in zip(messages, days or [], strict=bool(days)) if day is not None}
    if dated:
        end = sorted(dated.values())[int(0.999 * (len(dated) - 1))]
        dated = {message: day for message, day in dated.items() if split[message] != "test"}
        old = [
            m for m, day in dated.items() if day <= end - params.newest_days - params.window_days
        ]
        old.sort(key=lambda m: (unit_hash("reservoir", keys[m]), message_id(m)))
        retired = set(old[params.reservoir_rows :])
        split |= {m: "newest" for m, day in dated.items() if day > end - params.newest_days}
    sets = {message: near_duplicates.shingles(normalize.mask(message)) for message in messages}
    out = {message: message in retired for message in messages}
    for a, b in itertools.combinations([m for m in messages if m not in retired], 2):
        if split[a] != split[b] and near_duplicates.jaccard(sets[a], sets[b]) >= 0.8:
            lower = min(
                (a, b), key=lambda message: ["newest", "train", "val", "test"].index(split[message])
            )
            out[lower] = True
    used = {
        keys[message] for message in messages if split[message] != "newest" and not out[message]
    }
    out |= {m: True for m in messages if split[m] == "newest" and keys[m] in used}
    return {message: (split[message], out[message]) for message in messages}


def received(days):
    """A column of times, from numbers of days or None."""
    epoch = pd.Timestamp("2026-01-01", tz="UTC")
    times = [pd.NaT if day is None else epoch + pd.Timedelta(days=day) for day in days]
    return pd.Series(pd.DatetimeIndex(times, tz="UTC").as_unit("us"))


def table(texts, labels=None, copies=None, days=None):
    """Rows as validate writes them, as far as vectorize reads them."""
    return pd.DataFrame(
        {
            "message_id": [message_id(message) for message in texts],
            "text": texts,
            "label": labels or ["spam" if i % 3 == 0 else "ham" for i in range(len(texts))],
            "copies": copies or [1 + i % 4 for i in range(len(texts))],
            "received_at": received(days or [None] * len(texts)),
        }
    )


def divided(texts, params=PARAMS, days=None):
    rows, _ = assign_splits(table(list(texts), days=days), params)
    return {row.text: (row.split, row.left_out) for row in rows.itertuples()}


def templates(count, seed):
    """Messages of few campaigns, some near-copies of each other, none equal."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(3, 9))) for _ in range(60)]
    bodies = [rng.choices(words, k=rng.randint(6, 16)) for _ in range(count // 5)]
    made = set()
    while len(made) < count:
        body = list(rng.choice(bodies))
        for _ in range(rng.randint(0, 2)):
            body[rng.randrange(len(body))] = rng.choice(words)
        made.add(f"{' '.join(body)} {rng.randint(10, 99999)}")
    return sorted(made)


@pytest.fixture(scope="module")
def real(sms_messages):
    """The default data with exact copies folded, as validate folds them."""
    groups = sms_messages.groupby("text", sort=False)
    return groups.first().reset_index().assign(copies=groups.size().to_numpy())


@pytest.fixture(scope="module")
def of_real(real):
    return assign_splits(real, PARAMS)


# ---- the split


@pytest.mark.parametrize("salt", ["2026", "another"])
def test_the_split_is_what_brute_force_over_all_pairs_finds(real, salt):
    params = replace(PARAMS, salt=salt)
    spam = real["text"][real["label"] == "spam"].tolist()[:200]
    messages = [*spam, *real["text"].tolist()[:150], *templates(150, seed=5)]
    messages = list(dict.fromkeys(messages))
    expected = slow_split(messages, params)
    assert {split for split, _ in expected.values()} == {"train", "val", "test"}
    assert sum(out for _, out in expected.values()) > 5
    assert divided(messages, params) == expected


def test_rows_that_come_later_move_no_earlier_row():
    messages = templates(200, seed=7)
    before, after = divided(messages[:100]), divided(messages)
    assert {m: before[m][0] for m in before} == {m: after[m][0] for m in before}


@given(st.permutations(templates(60, seed=9)))
@settings(derandomize=True, deadline=None, max_examples=15)
def test_the_order_of_the_rows_changes_nothing(messages):
    assert divided(messages) == divided(sorted(messages))


@given(st.lists(MESSAGES, min_size=2, max_size=24, unique=True))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_whatever_the_messages_no_near_copies_straddle_the_split(messages):
    rows, _ = assign_splits(table(messages), PARAMS)
    used = rows[~rows["left_out"]]
    shingles = {one: near_duplicates.shingles(normalize.mask(one)) for one in messages}
    for (a, of_a), (b, of_b) in itertools.combinations(
        zip(used["text"], used["split"], strict=True), 2
    ):
        assert (
            of_a == of_b or near_duplicates.jaccard(shingles[a], shingles[b]) < near_duplicates.NEAR
        )
    expected = slow_split(messages, PARAMS)
    assert (
        dict(zip(rows["text"], zip(rows["split"], rows["left_out"], strict=True), strict=True))
        == expected
    )


@given(st.lists(MESSAGES, min_size=2, max_size=24, unique=True), st.data())
@settings(derandomize=True, deadline=None, max_examples=40)
def test_a_row_of_test_never_was_in_train_whatever_came_before(messages, data):
    ends = sorted(data.draw(st.lists(st.integers(1, len(messages)), min_size=1, max_size=4)))
    was_in_train, split_of = set(), {}
    for end in [*ends, len(messages)]:
        rows, _ = assign_splits(table(messages[:end]), PARAMS)
        used = rows[~rows["left_out"]]
        now = dict(zip(rows["text"], rows["split"], strict=True))
        assert all(
            now[one] == split for one, split in split_of.items()
        )  # what comes later moves nothing
        assert not was_in_train & set(used.loc[used["split"] == "test", "text"])
        was_in_train |= set(used.loc[used["split"] == "train", "text"])
        split_of |= now


def crowd(count):
    """Wordings of one campaign, each a few words from the next, in several splits."""
    words = ["".join(pair) for pair in itertools.product("bcdfgh", "aeiou")]
    rng = random.Random(3)
    return sorted(
        {
            f"dear customer your parcel from the {rng.choice(words)} depot is waiting for collection at the "
            f"{rng.choice(words)} counter until friday evening please bring your identity card "
            f"{rng.choice(words)}"
            for _ in range(count)
        }
    )


def test_of_a_crowd_only_the_highest_split_stays():
    messages = crowd(300)
    rows, near = assign_splits(table(messages), PARAMS)
    assert max(map(len, near.crowds)) > near_duplicates.CROWD
    assert rows["split"].nunique() > 1
    used = rows[~rows["left_out"]]
    shingles = {one: near_duplicates.shingles(normalize.mask(one)) for one in messages}
    for (a, of_a), (b, of_b) in itertools.combinations(
        zip(used["text"], used["split"], strict=True), 2
    ):
        assert (
            of_a == of_b or near_duplicates.jaccard(shingles[a], shingles[b]) < near_duplicates.NEAR
        )
    figures = figures_of(rows, near, PARAMS)
    assert figures["leak"].value == 0
    assert figures["crowded"].value > near_duplicates.CROWD
    together = rows.assign(left_out=False)
    assert figures_of(together, near, PARAMS)["leak"].value > 0


def test_no_kept_message_has_a_near_copy_in_another_split(of_real):
    rows, near = of_real
    wordings = rows.drop_duplicates("wording").reset_index()
    assert wordings["wording"].tolist() == list(range(len(wordings)))
    kept = [None if row.left_out else row.split for row in wordings.itertuples()]
    assert [(i, j) for i, j in near.pairs if kept[i] and kept[j] and kept[i] != kept[j]] == []
    assert sum(wordings["split"][i] != wordings["split"][j] for i, j in near.pairs) > 5
    assert (
        rows.groupby("wording")[["campaign_key", "split", "left_out"]].nunique().to_numpy().max()
        == 1
    )


def test_only_the_lower_split_loses_a_row():
    split = ["train", "test", "val", "test", "val", "train", "newest"]
    rank = np.array([*(RANK[name] for name in split), RETIRED])
    pairs = np.array([[0, 1], [1, 2], [1, 3], [4, 5], [6, 7]])
    out = left_out_mask(rank, near_duplicates.Near(pairs, []))
    assert out.tolist() == [True, False, True, False, False, True, False, True]
    crowd = left_out_mask(rank, near_duplicates.Near(pairs[:0], [np.array([0, 2, 6, 7])]))
    assert crowd.tolist() == [True, False, False, False, False, False, True, True]


def test_the_shares_of_the_default_data_are_near_those_asked_for(of_real):
    rows, near = of_real
    shares = rows["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.7, abs=0.02)
    assert shares["val"] == pytest.approx(0.15, abs=0.02)
    assert shares["test"] == pytest.approx(0.15, abs=0.02)
    figures = figures_of(rows, near, PARAMS)
    assert figures["leak"].value == 0
    assert figures["leak"].n == len(rows) == 4534
    assert not rows["left_out"][rows["split"] == "test"].any()
    assert 3 <= rows["left_out"].sum() <= 13
    assert sum(figures[f"{name}.rows"].value for name in RANK) == 4534 - rows["left_out"].sum()
    assert sum(figures[f"{name}.left_out"].value for name in RANK) == rows["left_out"].sum()
    assert figures["random_split_leak.messages"].n == 4862
    assert figures["random_split_leak.spam"].n == 642


def test_the_leak_of_a_random_split_is_what_random_splits_leak(real, of_real):
    """200 real splits of the rows as they came, copies included, against the closed form."""
    rows, near = of_real
    of_row = np.repeat(np.arange(len(rows)), rows["copies"])  # the message of each row as it came
    wording = rows["wording"].to_numpy()[of_row]
    spam = (rows["label"] == "spam").to_numpy()[of_row]
    rng = np.random.default_rng(4)
    leaked = []
    for _ in range(200):
        order = rng.permutation(len(of_row))
        train, test = np.split(order, [int(0.7 * len(order)), int(0.85 * len(order))])[::2]
        in_train = np.bincount(wording[train], minlength=wording.max() + 1) > 0
        leaks = in_train.copy()
        leaks[near.pairs[in_train[near.pairs[:, 0]], 1]] = True
        leaks[near.pairs[in_train[near.pairs[:, 1]], 0]] = True
        found = leaks[wording[test]]
        leaked.append((found.mean(), found[spam[test]].mean()))
    messages, of_spam = np.mean(leaked, axis=0)
    figures = figures_of(rows, near, PARAMS)
    assert figures["random_split_leak.messages"].value == pytest.approx(messages, abs=0.003)
    assert figures["random_split_leak.spam"].value == pytest.approx(of_spam, abs=0.015)


def test_the_leak_of_a_random_split_by_hand():
    rows = pd.DataFrame(
        {"wording": [0, 1, 1, 2], "copies": [1, 2, 1, 1], "label": ["ham", "spam", "spam", "ham"]}
    )
    near = near_duplicates.Near(
        np.array([[0, 1]]), []
    )  # rows 0 and 1 and 2 are near; row 3 is alone
    everyone, spam = rows["label"].notna(), rows["label"] == "spam"
    assert random_split_leak(rows, near, 0.5, everyone) == pytest.approx((4 * (1 - 0.5**3) + 0) / 5)
    assert random_split_leak(rows, near, 0.5, spam) == pytest.approx(1 - 0.5**3)
    apart, crowd = (
        near_duplicates.Near(near.pairs[:0], []),
        near_duplicates.Near(near.pairs[:0], [np.array([0, 1])]),
    )
    assert random_split_leak(rows, apart, 0.5, spam) == pytest.approx(1 - 0.5**2)
    assert random_split_leak(rows, crowd, 0.5, spam) == pytest.approx(1 - 0.5**3)


def test_a_campaign_of_many_numbers_is_one_wording():
    """Two thousand one-time codes took a minute when they were compared in pairs."""
    rows, near = assign_splits(table([f"Your code is {i:06d}" for i in range(30_000)]), PARAMS)
    assert rows["split"].nunique() == 1
    assert near.pairs.shape == (0, 2)
    assert random_split_leak(rows, near, 0.7, rows["label"].notna()) == 1


# ---- time

DATED = st.lists(  # messages and the days on which they came
    st.tuples(MESSAGES, st.one_of(st.none(), st.integers(0, 40))),
    min_size=2,
    max_size=24,
    unique_by=lambda row: row[0],
)


@given(DATED)
@settings(derandomize=True, deadline=None, max_examples=150)
def test_whenever_messages_came_they_are_split_as_brute_force_says(rows):
    messages, days = map(list, zip(*rows, strict=True))
    assert divided(messages, days=days) == slow_split(messages, PARAMS, days)


@given(DATED)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_no_newest_row_shares_a_campaign_or_a_wording_with_what_was_learned(rows):
    messages, days = map(list, zip(*rows, strict=True))
    found, near = assign_splits(table(messages, days=days), PARAMS)
    used = found[~found["left_out"]]
    newest, learned = used[used["split"] == "newest"], used[used["split"].isin(["train", "val"])]
    assert not set(newest["campaign_key"]) & set(learned["campaign_key"])
    shingles = {one: near_duplicates.shingles(normalize.mask(one)) for one in messages}
    for a, b in itertools.product(newest["text"], used["text"][used["split"] != "newest"]):
        assert near_duplicates.jaccard(shingles[a], shingles[b]) < near_duplicates.NEAR
    assert not leaking_mask(found, near).any()


@given(DATED, st.data())
@settings(derandomize=True, deadline=None, max_examples=60)
def test_rows_of_test_are_test_for_ever_and_a_newest_one_becomes_what_its_key_says(rows, data):
    """Of any prefix of growing data, whenever its rows came."""
    messages, days = map(list, zip(*rows, strict=True))
    of_key = {message: split for message, (split, _) in divided(messages).items()}
    for end in data.draw(st.lists(st.integers(1, len(messages)), min_size=1, max_size=4)):
        for message, (split, left_out) in divided(messages[:end], days=days[:end]).items():
            assert split in (of_key[message], "newest")
            if of_key[message] == "test":
                assert (split, left_out) == ("test", False)


@given(DATED)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_the_newest_span_costs_train_and_val_no_row_but_its_own(rows):
    messages, days = map(list, zip(*rows, strict=True))
    found = divided(messages, replace(PARAMS, window_days=100), days)  # in which nothing retires
    older = [message for message in messages if found[message][0] != "newest"]
    assert {message: found[message] for message in older} == divided(older)


def test_a_newest_row_is_train_or_val_or_test_as_its_key_says_once_a_week_has_passed():
    messages = templates(120, seed=21)
    days = [0] * 60 + [20] * 60
    of_key, now = divided(messages), divided(messages, days=days)
    late = messages[60:]
    assert {now[m][0] for m in late} == {"newest", "test"}
    assert all((now[m][0] == "test") == (of_key[m][0] == "test") for m in late)
    more = templates(60, seed=22)
    then = divided([*messages, *more], days=[*days, *[27] * 60])
    assert {m: then[m][0] for m in late} == {m: of_key[m][0] for m in late}


def test_a_clock_that_says_2099_moves_nothing_but_its_own_row():
    messages = templates(120, seed=21)
    days = [i // 4 for i in range(120)]  # of 30 days, the last week is newest
    right, wrong = divided(messages, days=days), divided(messages, days=[*days[:-1], 365 * 73])
    assert right == wrong
    assert {split for split, _ in right.values()} == {"train", "val", "test", "newest"}
    stray, days[3] = messages[3], 365 * 73
    stopped = divided(messages, days=days)
    assert stopped[stray][0] in ("newest", "test")
    moved = {m for m in messages if stopped[m][0] != right[m][0]}
    assert moved <= {stray}


def test_the_reservoir_keeps_its_rows_while_data_grows_but_those_displaced():
    params = replace(PARAMS, reservoir_rows=40)
    messages = templates(400, seed=23)
    days = [i // 20 for i in range(400)]
    kept, gone = {}, set()
    for end in range(
        100, 401, 60
    ):  # the last 17 days are newest, or in the window; 60 rows retire a round
        later = [*days[:end], *[days[end - 1] + 17] * 20]
        rows, _ = assign_splits(
            table([*messages[:end], *templates(20, seed=end)], days=later), params
        )
        old = rows[
            (rows["received_at"] <= received([days[end - 1]])[0]) & (rows["split"] != "test")
        ]
        now = set(old["text"][~old["retired"]])
        assert len(now) == min(40, len(old))
        assert not now & gone  # what was displaced does not come back
        hashes = {key: unit_hash("reservoir", key) for key in old["campaign_key"]}
        of_text = dict(zip(old["text"], old["campaign_key"].map(hashes), strict=True))
        displaced = set(kept) - now
        assert all(of_text[one] >= max(of_text[other] for other in now) for one in displaced)
        gone |= set(old["text"]) - now
        kept = now
        cut = old.groupby("campaign_key")["retired"].nunique().eq(2).sum()
        assert cut <= 1  # a campaign stays or goes whole, but for the last one
    assert gone


def test_a_near_copy_of_a_retired_row_is_not_left_out_for_it():
    variants = [f"{CAMPAIGN[:i]}x{CAMPAIGN[i:]}" for i in range(len(CAMPAIGN))]
    other = next(
        one for one in variants if len({*near_duplicates.campaign_keys([CAMPAIGN, one])}) == 2
    )
    salted = (replace(PARAMS, reservoir_rows=0, salt=str(salt)) for salt in itertools.count())
    apart = {CAMPAIGN: ("train", True), other: ("val", False)}
    params = next(params for params in salted if divided([CAMPAIGN, other], params) == apart)
    messages = [CAMPAIGN, other, "see you at lunch", "on my way"]
    for days, expected in {
        (5, 5, 17, 17): apart,
        (5, 0, 17, 17): {CAMPAIGN: ("train", False), other: ("val", True)},
        (17, 0, 17, 17): {CAMPAIGN: ("newest", False), other: ("val", True)},
        (17, 5, 17, 17): {CAMPAIGN: ("newest", True), other: ("val", False)},
        (5, 17, 17, 17): {CAMPAIGN: ("train", False), other: ("newest", True)},
    }.items():
        found = divided(messages, params, list(days))
        assert {message: found[message] for message in apart} == expected


def test_a_campaign_in_two_times_is_newest_only_where_no_row_of_it_is_learned():
    """Rows of one wording, which differ in their numbers, of which one is of before the newest span."""
    texts = [f"Your code is {i:06d}" for i in range(4)]
    assert divided(texts)[texts[0]][0] in ("train", "val")
    rows, near = assign_splits(table(texts, days=[10, 20, 20, None]), PARAMS)
    assert rows["wording"].nunique() == 1
    assert rows["left_out"].tolist() == [False, True, True, False]
    assert not leaking_mask(rows, near).any()
    assert leaking_mask(rows.assign(left_out=False), near).all()
    late, _ = assign_splits(table(texts, days=[20, 20, 20, 20]), PARAMS)
    assert late["left_out"].tolist() == [False] * 4
    gone, _ = assign_splits(table(texts, days=[0, 20, 20, 20]), replace(PARAMS, reservoir_rows=0))
    assert gone["left_out"].tolist() == [
        True,
        False,
        False,
        False,
    ]  # nobody learns of the retired one


def test_figures_count_what_is_retired_apart_from_what_is_like_another():
    messages = templates(400, seed=25)
    days = [i % 40 for i in range(400)]
    rows, near = assign_splits(table(messages, days=days), PARAMS)
    figures = {name: figure.value for name, figure in figures_of(rows, near, PARAMS).items()}
    expected = slow_split(messages, PARAMS, days)
    for name in RANK:
        of_split = [out for split, out in expected.values() if split == name]
        assert figures[f"{name}.rows"] == of_split.count(False)
        retired = figures.get(f"{name}.retired", 0)
        assert figures[f"{name}.left_out"] + retired == of_split.count(True)
    without = assign_splits(table(messages, days=days), replace(PARAMS, window_days=100))[0]
    assert figures["train.retired"] + figures["val.retired"] > 100
    assert figures["newest.left_out"] > 0
    assert not without["retired"].any()
    assert figures["leak"] == 0


# ---- the tokenizer

VOICES = [
    "call me now please",
    "free prize call now",
    "are you coming home",
    "win a free prize",
    "ok lar...",
] * 4


@pytest.fixture(scope="module")
def tokenizer():
    return fit_tokenizer(VOICES, PARAMS)


def test_the_ids_of_padding_and_start_are_0_and_1(tokenizer):
    assert tokenizer.token_to_id("[PAD]") == 0
    assert tokenizer.token_to_id("[START]") == 1


@pytest.mark.parametrize(
    "message", ["", " ", "\u200b\u2060", "\ufe0f", "a", "💰", "\0", "free prize"]
)
def test_every_message_has_at_least_one_token(tokenizer, message):
    (ids,) = encode_texts([message], tokenizer)
    assert ids[0] == 1
    assert (len(ids) == 1) == (normalize.canonicalise(message) == "")


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), min_size=1, max_size=5)
)
@settings(derandomize=True, deadline=None)
def test_no_message_is_empty_too_long_unknown_or_holds_the_padding(messages):
    tokenizer = fit_tokenizer(VOICES, PARAMS)
    for ids in encode_texts(messages, tokenizer):
        assert 1 <= len(ids) <= PARAMS.sequence_length
        assert ids[0] == 1
        assert min(ids) > 0


@pytest.mark.parametrize("word", ["[PAD]", "[START]"])
def test_the_name_of_a_special_token_in_a_message_is_plain_text(tokenizer, word):
    (ids,) = encode_texts([f"free {word} prize{word}"], tokenizer)
    assert ids[0] == 1
    assert min(ids[1:]) > 1
    assert tokenizer.decode(ids[1:]).strip() == f"free {word} prize{word}"


def test_a_message_is_cut_at_sequence_length(tokenizer):
    short, long, longer = encode_texts(["call me", "qz " * 29, "qz " * 400], tokenizer)
    assert len(short) == 3
    assert len(longer) == PARAMS.sequence_length
    assert long[:30] == longer


def test_equal_canonical_texts_have_equal_tokens(tokenizer):
    same = [
        "free prize é",
        "fr\u200bee pr\u00adize e\u0301",
        "ｆｒｅｅ ｐｒｉｚｅ é",
        "free prize e\u200b\u0301\ufe0f",
    ]
    ids = encode_texts(same, tokenizer)
    assert ids == [ids[0]] * 4


def test_the_normaliser_is_canonicalise_for_every_character_of_unicode_11(tokenizer):
    normalise = tokenizer.normalizer.normalize_str
    codes = (code for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    differ = [code for code in codes if normalise(chr(code)) != normalize.canonicalise(chr(code))]
    assert [code for code in differ if not any(low <= code <= high for low, high in NEWER)] == []
    for combined in ("e\u0301", "e\u200b\u0301", "\u1100\u200b\u1161", "A\u030a\ufe0f"):
        assert normalise(combined) == normalize.canonicalise(combined)
        assert len(normalise(combined)) == 1


DISGUISED = st.text(
    st.sampled_from("abAB0139 .-_*'é\n" + "".join(normalize.CONFUSABLES)[:40] + "\u200b"),
    max_size=30,
)


@given(DISGUISED)
@settings(derandomize=True, deadline=None, max_examples=500)
def test_the_normaliser_undoes_disguises_as_canonicalise_does(written):
    normalise = fit_tokenizer(VOICES, PARAMS).normalizer.normalize_str
    assert normalise(written) == normalize.canonicalise(written)


def test_the_tokenizer_never_sees_val_or_test(tmp_path, project):
    words = {"train": "trainonlyword", "val": "valonlyword", "test": "testonlyword"}
    texts = []
    for number, body in enumerate(templates(400, seed=13)):
        split = list(words)[number % 3]
        message = f"{words[split]} {body}"
        if divided([message])[message][0] == split:
            texts.append(message)
    assert min(sum(word in message for message in texts) for word in words.values()) > 5
    project(table(texts), vocabulary_size=5000)  # enough for every word that is seen twice
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokens = {split: len(tokenizer.encode(word).ids) - 1 for split, word in words.items()}
    assert tokens["train"] == 1
    assert tokens["val"] > 3
    assert tokens["test"] > 3


def test_the_order_of_the_messages_changes_no_token(real):
    texts = real["text"].tolist()[:1000]
    shuffled = random.Random(1).sample(texts, len(texts))
    one, two = (fit_tokenizer(order, PARAMS).to_str() for order in (texts, shuffled))
    assert one == two


def test_the_vocabulary_is_as_large_as_asked_for(real):
    tokenizer = fit_tokenizer(real["text"], replace(PARAMS, vocabulary_size=1234))
    assert tokenizer.get_vocab_size() == 1234


# ---- the stage


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Runs vectorize on a table, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    section = {
        "split": {"train": 0.7, "val": 0.15, "test": 0.15},
        "salt": "2026",
        "newest_days": 7,
        "window_days": 10,
        "reservoir_rows": 3,
        "vocabulary_size": 400,
        "sequence_length": 30,
        "shard_rows": 50,
    }

    def run(rows, **changes):
        ruamel.yaml.YAML().dump({"vectorize": section | changes}, tmp_path / "params.yaml")
        rows.to_parquet("messages.parquet")
        vectorize.main(stage_arguments("vectorize", *PATHS))

    return run


PATHS = [
    "messages.parquet",
    "tokenizer.json",
    "splits.parquet",
    "train",
    "val",
    "report.json",
    "profile.json",
    "profile",
]


def outputs(folder):
    files = [path for path in sorted(folder.rglob("*.*")) if path.is_file()]  # but the stage's lock
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_files_are_the_contract(tmp_path, project):
    messages = templates(200, seed=3)
    rows = table(messages).sample(frac=1, random_state=1)
    project(rows)
    by_id = {message_id(message): message for message in messages}
    expected = slow_split(messages, PARAMS)
    tokenizer = Tokenizer.from_file("tokenizer.json")

    splits = read_parquet(tmp_path / "splits.parquet")
    assert splits.schema.equals(SPLITS)
    found = splits.to_pylist()
    assert [row["message_id"] for row in found] == sorted(by_id)
    assert {by_id[row["message_id"]]: (row["split"], row["left_out"]) for row in found} == expected
    keys = {row["message_id"]: row["campaign_key"] for row in found}
    assert keys == {
        id_: f"{near_duplicates.campaign_keys([message])[0]:016x}" for id_, message in by_id.items()
    }

    labels = dict(zip(rows["message_id"], rows["label"], strict=True))
    for split in ("train", "val"):
        files = sorted(path.name for path in Path(split).iterdir())
        assert files == [f"shard-{number:05d}.parquet" for number in range(len(files))]
        sizes = [pq.read_metadata(Path(split, name)).num_rows for name in files]
        assert sizes[:-1] == [50] * (len(files) - 1)
        shards = read_parquet(Path(split))
        assert shards.schema.equals(SHARD)
        wanted = [id_ for id_ in sorted(by_id) if expected[by_id[id_]] == (split, False)]
        assert shards["message_id"].to_pylist() == wanted
        assert shards["label"].to_pylist() == [int(labels[id_] == "spam") for id_ in wanted]
        assert shards["campaign_key"].to_pylist() == [keys[id_] for id_ in wanted]
        assert shards["token_ids"].to_pylist() == [
            tokenizer.encode(by_id[id_]).ids for id_ in wanted
        ]
    assert len(list(Path("train").iterdir())) > 1

    report = read_json(tmp_path / "report.json")
    assert report["rows"] == 200
    assert report["figures"]["train.rows"]["value"] == read_parquet(Path("train")).num_rows
    assert report["figures"]["vocabulary_size"]["value"] == tokenizer.get_vocab_size()


def test_the_order_of_the_rows_changes_no_byte(tmp_path, project):
    rows = table(templates(150, seed=3))
    project(rows)
    Path("messages.parquet").unlink()
    before = outputs(tmp_path)
    project(rows[::-1].reset_index(drop=True))
    Path("messages.parquet").unlink()
    assert outputs(tmp_path) == before


def test_equal_messages_are_equal_bytes_whatever_the_hash_seed(tmp_path, project):
    project(table(templates(150, seed=3)))
    before = outputs(tmp_path)
    for seed in ("1", "2"):
        command = [
            sys.executable,
            "-m",
            "pipeline.vectorize",
            *stage_arguments("vectorize", *PATHS),
        ]
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        subprocess.run(command, env=env, cwd=tmp_path, check=True, capture_output=True)
        assert outputs(tmp_path) == before


@pytest.mark.parametrize(
    ("keep", "line"),
    [
        (lambda rows: rows[rows["label"] == "ham"], "no ham or no spam in train, val, test"),
        (lambda rows: rows[rows["split"] == "train"], "no ham or no spam in val, test"),
        (
            lambda rows: rows[(rows["label"] == "ham") | (rows["split"] != "test")],
            "no ham or no spam in test",
        ),
        (lambda rows: rows[:0], "no ham or no spam in train, val, test"),
    ],
)
def test_a_split_without_both_classes_is_refused_before_anything_is_written(
    tmp_path, project, keep, line
):
    rows, _ = assign_splits(table(templates(200, seed=3)), PARAMS)
    with pytest.raises(PipelineError) as refused:
        project(keep(rows)[table([]).columns])
    assert str(refused.value) == f"messages.parquet: {line}; bring more messages"
    assert sorted(outputs(tmp_path)) == ["messages.parquet", "params.yaml"]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"split": {"train": 0.8, "val": 0.15, "test": 0.15}},
            ".split: the shares must be above 0 and add up to 1",
        ),
        (
            {"split": {"train": 1, "val": 0, "test": 0}},
            ".split: the shares must be above 0 and add up to 1",
        ),
        (
            {"newest_days": -1},
            ": newest_days must be 0 to 36,500 and window_days above 0 and no more",
        ),
        (
            {"window_days": 0},
            ": newest_days must be 0 to 36,500 and window_days above 0 and no more",
        ),
        (
            {"window_days": 36_501},
            ": newest_days must be 0 to 36,500 and window_days above 0 and no more",
        ),
        ({"reservoir_rows": -1}, ": reservoir_rows must be 0 to 1,000,000,000"),
        ({"reservoir_rows": 10**30}, ": reservoir_rows must be 0 to 1,000,000,000"),
        ({"salt": 2026}, ".salt: input should be a valid string, not 2026"),
        (
            {"vocabulary_size": 200},
            ": vocabulary_size must be 300 to 1,000,000: 256 bytes, and some words",
        ),
        (
            {"sequence_length": 1},
            ": sequence_length must be 2 to 100,000 and shard_rows 1 to 1,000,000",
        ),
        ({"shard_rows": 0}, ": sequence_length must be 2 to 100,000 and shard_rows 1 to 1,000,000"),
    ],
)
def test_params_out_of_bounds_are_refused(project, changes, line):
    with pytest.raises(PipelineError) as refused:
        project(table(["hi"]), **changes)
    assert str(refused.value) == f"params.yaml: vectorize{line}"


def test_the_tokenizer_file_holds_no_word_that_a_message_could_say_to_it(project):
    project(table(templates(150, seed=3)))
    spec = json.loads(Path("tokenizer.json").read_text(encoding="utf-8"))
    assert spec["added_tokens"] == []
    assert spec["truncation"]["max_length"] == 30


# ---- the stage, on messages with dates


def growing(count, seed):
    """Messages of forty days, so that every span has some."""
    messages = templates(count, seed)
    return messages, [40 * i // count for i in range(count)]


def test_no_newest_row_nor_a_near_copy_of_one_is_among_the_shards(project):
    messages, days = growing(600, seed=31)
    project(table(messages, days=days))
    by_id = {message_id(message): message for message in messages}
    splits = read_parquet(Path("splits.parquet")).to_pandas()
    newest = splits[splits["split"] == "newest"]
    assert len(newest[newest["left_out"]]) > 5
    assert len(newest[~newest["left_out"]]) > 20
    learned = [
        by_id[i]
        for name in ("train", "val")
        for i in read_parquet(Path(name))["message_id"].to_pylist()
    ]
    used = [by_id[i] for i in newest["message_id"][~newest["left_out"]]]
    assert not set(learned) & {by_id[i] for i in newest["message_id"]}
    shingles = {one: near_duplicates.shingles(normalize.mask(one)) for one in messages}
    assert (
        max(
            near_duplicates.jaccard(shingles[a], shingles[b])
            for a, b in itertools.product(learned, used)
        )
        < near_duplicates.NEAR
    )
    retired = splits["left_out"] & splits["split"].isin(["train", "val"])
    assert not set(learned) & {by_id[i] for i in splits["message_id"][retired]}


def test_the_tokenizer_sees_neither_newest_nor_retired_rows(tmp_path, project):
    body, days = growing(600, seed=31)
    word = {True: "newestonlyword", False: "oldestonlyword"}
    texts = [
        f"{word[day > 32]} {one}" if not 20 < day <= 32 else one
        for one, day in zip(body, days, strict=True)
    ]
    project(table(texts, days=days), vocabulary_size=5000, reservoir_rows=0)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for one in word.values():
        assert len(tokenizer.encode(one).ids) > 4
    project(table(texts), vocabulary_size=5000)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for one in word.values():
        assert len(tokenizer.encode(one).ids) == 2


def test_report_and_profile_say_what_is_newest_and_what_has_retired(tmp_path, project, caplog):
    caplog.set_level("INFO")
    messages, days = growing(600, seed=31)
    project(table(messages, days=days))
    figures = read_json(tmp_path / "report.json")["figures"]
    rows = {name: figures[f"{name}.rows"]["value"] for name in RANK}
    alike = sum(figures[f"{name}.left_out"]["value"] for name in RANK)
    retired = sum(figures[f"{name}.retired"]["value"] for name in ("train", "val"))
    assert sum(rows.values()) + alike + retired == 600
    assert 0 < figures["newest.spam_share"]["value"] < 1
    assert caplog.messages[-1] == (
        f"vectorize: train {rows['train']}, val {rows['val']}, test {rows['test']}, newest {rows['newest']}; "
        f"left out: {alike} like a row of a higher split, {retired} retired"
    )
    assert read_json(tmp_path / "profile.json")["figures"]["newest.rows"]["value"] == rows["newest"]
    assert Path("profile/lengths_newest.csv").exists()
    project(table(messages))
    figures = read_json(tmp_path / "report.json")["figures"]
    assert figures["newest.rows"]["value"] == 0
    assert figures["newest.spam_share"] == {"value": None, "n": 0}
    assert not Path("profile/lengths_newest.csv").exists()


def test_without_dates_no_setting_of_time_changes_a_byte(tmp_path, project):
    project(table(templates(150, seed=3)))
    Path("params.yaml").unlink()
    before = outputs(tmp_path)
    project(table(templates(150, seed=3)), newest_days=0, window_days=1, reservoir_rows=0)
    Path("params.yaml").unlink()
    assert outputs(tmp_path) == before


def test_where_all_rows_are_newest_the_way_out_is_named(project):
    messages = templates(200, seed=3)
    with pytest.raises(PipelineError) as refused:
        project(table(messages, days=[20] * 200))
    line = "messages.parquet: no ham or no spam in train, val; bring more messages"
    assert str(refused.value) == f"{line}, or lower vectorize.newest_days"
    project(table(messages, days=[20] * 200), newest_days=0)
