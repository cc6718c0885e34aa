"""The corpora of the scale benchmark are seeded, with campaigns, copies and bad rows."""

from collections import Counter

import pandas as pd
import pytest

from benchmarks import scale
from pipeline.preprocessing import near_duplicates


@pytest.fixture(scope="module")
def rows(sms_messages):
    return list(scale.corpus(5_000, sms_messages.drop_duplicates("text")))


def test_corpus_depends_on_its_seed_alone(rows, sms_messages):
    messages = sms_messages.drop_duplicates("text")
    assert len(rows) == 5_000
    assert rows == list(scale.corpus(5_000, messages))
    assert rows != list(scale.corpus(5_000, messages, seed=2))


def test_corpus_has_copies_bad_rows_and_both_labels_at_their_rates(rows):
    labels = Counter(label for _, label in rows)
    assert 0.15 < labels["spam"] / 5_000 < 0.35
    assert 0 < labels["?"] < 20
    assert sum(message == "" for message, _ in rows) < 20
    copies = 5_000 - len({message for message, _ in rows})
    assert 0.04 < copies / 5_000 < 0.09


@pytest.mark.parametrize("rows", [10_000, 100_000])
def test_largest_campaign_grows_with_the_corpus(rows):
    sizes = scale.campaign_sizes(rows)
    assert sizes[0] == rows // 100
    assert sum(sizes) == rows // 5
    assert sizes == sorted(sizes, reverse=True) or sizes[-1] < sizes[-2]


def test_campaigns_are_near_copies_and_other_messages_are_not(rows):
    wordings, wording = near_duplicates.number_wordings([message for message, _ in rows if message])
    near = near_duplicates.find_near_copies(wordings)
    rows_of_wording = pd.Series(wording).value_counts()
    assert rows_of_wording.iloc[0] >= 10  # of one campaign, with other numbers
    assert 100 < len(near.pairs) < 20_000


@pytest.mark.slow
def test_data_stages_run_on_a_corpus(sms_messages):
    stages = [stage for stage in scale.STAGES if stage != "score"]  # which needs a champion
    results = scale.measure_stages(1_500, sms_messages.drop_duplicates("text"), stages)
    assert list(results) == stages
    for seconds, peak in results.values():
        assert seconds > 0.1
        assert 50e6 < peak < 5e9
