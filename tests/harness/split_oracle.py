"""Messages to split, and a brute-force split that the real one must equal."""

import itertools
import random

import pandas as pd

from pipeline.core.hashing import message_id, unit_hash
from pipeline.preprocessing import near_duplicates, normalize
from pipeline.preprocessing.splits import SplitParams, SplitShares, assign_splits

PARAMS = SplitParams(
    split=SplitShares(train=0.7, val=0.15, test=0.15),
    salt="2026",
    newest_days=7,
    window_days=10,
    reservoir_rows=3,
)
CAMPAIGN = (
    "URGENT! You have won a 2000 pound prize, call 09061701461 now to claim before the end of today"
)


def received_at(days):
    """A column of times, from numbers of days or None."""
    epoch = pd.Timestamp("2026-01-01", tz="UTC")
    times = [pd.NaT if day is None else epoch + pd.Timedelta(days=day) for day in days]
    return pd.Series(pd.DatetimeIndex(times, tz="UTC").as_unit("us"))


def message_table(texts, days=None):
    """Validated messages, as far as vectorize reads them; every third is spam."""
    return pd.DataFrame(
        {
            "message_id": [message_id(text) for text in texts],
            "text": texts,
            "label": ["spam" if i % 3 == 0 else "ham" for i in range(len(texts))],
            "copies": [1 + i % 4 for i in range(len(texts))],
            "received_at": received_at(days or [None] * len(texts)),
        }
    )


def campaign_texts(count, seed):
    """Distinct texts of few campaigns, some of them near-copies of each other."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(3, 9))) for _ in range(60)]
    bodies = [rng.choices(words, k=rng.randint(6, 16)) for _ in range(count // 5)]
    texts = set()
    while len(texts) < count:
        body = list(rng.choice(bodies))
        for _ in range(rng.randint(0, 2)):
            body[rng.randrange(len(body))] = rng.choice(words)
        texts.add(f"{' '.join(body)} {rng.randint(10, 99999)}")
    return sorted(texts)


def keys_of(texts):
    return [f"{key:016x}" for key in near_duplicates.campaign_keys(texts)]


def assigned(texts, days=None):
    """text -> (split, left out), by `assign_splits`."""
    rows, _ = assign_splits(message_table(texts, days), PARAMS)
    return {row.text: (row.split, row.left_out) for row in rows.itertuples()}


def near_copy_pairs(texts):
    """All pairs of texts with a Jaccard similarity of 0.8 or more."""
    sets = {text: near_duplicates.shingles(normalize.mask(text)) for text in texts}
    pairs = itertools.combinations(texts, 2)
    return [(a, b) for a, b in pairs if near_duplicates.jaccard(sets[a], sets[b]) >= 0.8]


def brute_force_split(texts, days=None):
    """text -> (split, left out), from all pairs of distinct texts.

    Args:
        days: day on which each text was received, or None.
    """
    keys = dict(zip(texts, keys_of(texts), strict=True))
    split = {text: _split_of_key(keys[text]) for text in texts}
    dated = {t: day for t, day in zip(texts, days or [], strict=bool(days)) if day is not None}
    last_day = sorted(dated.values())[int(0.999 * (len(dated) - 1))] if dated else 0
    movable = {text: day for text, day in dated.items() if split[text] != "test"}
    newest_start = last_day - PARAMS.newest_days
    old = [text for text, day in movable.items() if day <= newest_start - PARAMS.window_days]
    old.sort(key=lambda text: (unit_hash("reservoir", keys[text]), message_id(text)))
    retired = set(old[PARAMS.reservoir_rows :])
    split |= {text: "newest" for text, day in movable.items() if day > newest_start}

    left_out = {text: text in retired for text in texts}
    ranks = ["newest", "train", "val", "test"]
    for pair in near_copy_pairs([text for text in texts if text not in retired]):
        if split[pair[0]] != split[pair[1]]:
            left_out[min(pair, key=lambda text: ranks.index(split[text]))] = True
    used = {keys[text] for text in texts if split[text] != "newest" and not left_out[text]}
    left_out |= {text: True for text in texts if split[text] == "newest" and keys[text] in used}
    return {text: (split[text], left_out[text]) for text in texts}


def _split_of_key(key):
    position = unit_hash(PARAMS.salt, key)
    if position < PARAMS.split.train:
        return "train"
    return "val" if position < PARAMS.split.train + PARAMS.split.val else "test"
