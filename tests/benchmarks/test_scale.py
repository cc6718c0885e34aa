"""The corpora of the scale benchmark are what it says: seeded, with campaigns, copies and noise."""

from collections import Counter

import pandas as pd
import pytest

from benchmarks import scale
from pipeline.preprocessing import near_duplicates


@pytest.fixture(scope="module")
def rows(sms_messages):
    return list(scale.corpus(5_000, sms_messages.drop_duplicates("text")))


def test_a_corpus_has_the_rows_asked_for_and_the_same_seed_makes_the_same(rows, sms_messages):
    again = list(scale.corpus(5_000, sms_messages.drop_duplicates("text")))
    other = list(scale.corpus(5_000, sms_messages.drop_duplicates("text"), seed=2))
    assert len(rows) == 5_000
    assert rows == again != other


def test_a_corpus_has_copies_noise_and_both_labels_at_their_rates(rows):
    labels = Counter(label for _, label in rows)
    assert 0.15 < labels["spam"] / 5_000 < 0.35
    assert 0 < labels["?"] < 20
    assert sum(message == "" for message, _ in rows) < 20
    copies = 5_000 - len({message for message, _ in rows})
    assert 0.04 < copies / 5_000 < 0.09


def test_the_largest_campaign_grows_with_the_corpus():
    for rows in (10_000, 100_000):
        sizes = scale.campaign_sizes(rows)
        assert sizes[0] == rows // 100
        assert sum(sizes) == rows // 5
        assert sizes == sorted(sizes, reverse=True) or sizes[-1] < sizes[-2]


def test_campaigns_are_near_copies_and_strangers_are_not(rows):
    wordings, wording = near_duplicates.wordings([message for message, _ in rows if message])
    near = near_duplicates.near_copies(wordings)
    together = pd.Series(wording).value_counts()
    assert together.iloc[0] >= 10  # rows of one campaign whose numbers alone differ
    assert 100 < len(near.pairs) < 20_000


@pytest.mark.slow
def test_the_three_stages_run_on_a_corpus(sms_messages):
    stages = [name for name in scale.STAGES if name != "score"]  # which needs a champion
    found = scale.measured_stages(1_500, sms_messages.drop_duplicates("text"), stages)
    assert list(found) == stages
    for seconds, peak in found.values():
        assert seconds > 0.1
        assert 50e6 < peak < 5e9
